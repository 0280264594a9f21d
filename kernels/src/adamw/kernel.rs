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

    /// `sum` `[1]` with Σ x² added; of f32 for the 16-bit types, whose squares vanish or overflow, and on the CPU of f64.
    #[fusion(dtype = sum, shape = sum)]
    fn add_squares(sum: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;
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
