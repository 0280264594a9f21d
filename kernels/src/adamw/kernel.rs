//! The operations as a backend extension.

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::AdamWStep;

#[backend_extension(Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait AdamWKernel: Backend {
    /// The parameter and its moments after the step.
    #[fusion(meta = outputs)]
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        momentum: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Σ x², `[1]`.
    #[fusion(default)]
    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_sum(Self::float_mul(x.clone(), x))
    }
}

#[cfg(feature = "cube")]
fn outputs(
    param: &TensorSpec,
    _grad: &TensorSpec,
    momentum: &TensorSpec,
    variance: &TensorSpec,
    _step: &AdamWStep,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    (param.clone(), momentum.clone(), variance.clone())
}
