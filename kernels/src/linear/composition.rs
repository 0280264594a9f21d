//! The three products in Burn's own operations: for types that have no kernel.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::DType;

/// See [`LinearKernel::linear_product`](super::kernel::LinearKernel::linear_product).
pub(super) fn product<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    let weight = B::float_cast(weight, x.dtype().into());
    B::float_matmul(x, B::float_swap_dims(weight, 0, 1))
}

/// See [`LinearKernel::linear_input_grad`](super::kernel::LinearKernel::linear_input_grad).
pub(super) fn input_grad<B: Backend>(weight: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let weight = B::float_cast(weight, grad.dtype().into());
    B::float_matmul(grad, weight)
}

/// See [`LinearKernel::linear_weight_grad`](super::kernel::LinearKernel::linear_weight_grad).
pub(super) fn weight_grad<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    let product = B::float_matmul(B::float_swap_dims(grad, 0, 1), x);
    B::float_cast(product, dtype.into())
}
