//! The plain composition.

use burn::tensor::Tensor;

pub(super) fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let weight = weight.cast(x.dtype());
    x.matmul(weight.transpose())
}
