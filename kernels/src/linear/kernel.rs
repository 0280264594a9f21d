//! The operation as a backend extension.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

#[backend_extension(Autodiff, Flex)]
pub(crate) trait LinearKernel: Backend {
    /// `x · weightᵀ`.
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `grad · weight`: the gradient of `x`.
    fn linear_input_grad(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `gradᵀ · x`: the gradient of `weight`.
    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
}
