//! The operation as a backend extension.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
#[cfg(feature = "cube")]
use burn::{
    backend::fusion::custom::TensorSpec,
    tensor::{DType, Shape},
};

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait RmsNormKernel: Backend {
    /// The normalised rows `[rows, width]` and each row's 1/rms `[rows]`, f32.
    #[fusion(meta = outputs)]
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        offset: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `x` and `weight`.
    #[fusion(meta = gradients)]
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        inverse_rms: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        offset: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "cube")]
fn outputs(x: &TensorSpec, _weight: &TensorSpec, _eps: &f64, _offset: &f32) -> (TensorSpec, TensorSpec) {
    let inverse_rms = TensorSpec::new(Shape::new([x.shape[0]]), DType::F32);
    (x.clone(), inverse_rms)
}

#[cfg(feature = "cube")]
fn gradients(
    x: &TensorSpec,
    weight: &TensorSpec,
    _inverse_rms: &TensorSpec,
    _grad: &TensorSpec,
    _offset: &f32,
) -> (TensorSpec, TensorSpec) {
    (x.clone(), weight.clone())
}
