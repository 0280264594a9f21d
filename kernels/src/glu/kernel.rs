//! The operation as a backend extension.

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::Activation;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait GluKernel: Backend {
    /// `activation(gate) · up`.
    #[fusion(dtype = gate, shape = gate)]
    fn glu(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;

    /// The gradients of `gate` and `up`.
    #[fusion(meta = gradients)]
    fn glu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "cube")]
fn gradients(
    gate: &TensorSpec,
    up: &TensorSpec,
    _grad: &TensorSpec,
    _activation: &Activation,
) -> (TensorSpec, TensorSpec) {
    (gate.clone(), up.clone())
}
