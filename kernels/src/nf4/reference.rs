//! The plain composition.

use burn::tensor::Tensor;

use super::Nf4;

pub(super) fn linear_nf4(x: Tensor<2>, weight: &Nf4) -> Tensor<2> {
    let weight = weight.values().cast(x.dtype());
    x.matmul(weight.transpose())
}
