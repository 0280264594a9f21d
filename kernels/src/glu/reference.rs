//! The plain composition.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu_approximate, silu};

use super::Activation;

pub(super) fn gated_linear_unit(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    let gate = match activation {
        Activation::Silu => silu(gate),
        Activation::GeluTanh => gelu_approximate(gate),
    };
    gate * up
}
