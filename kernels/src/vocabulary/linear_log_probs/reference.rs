//! The naive composition, which stores all logits several times over: what the kernels are checked against.

use burn::tensor::{Int, Tensor};

use crate::vocabulary::softmax::reference::token_log_probs;

pub(super) fn linear_token_log_probs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
) -> Tensor<1> {
    let head = head.cast(hidden.dtype());
    token_log_probs(hidden.matmul(head.transpose()), targets, softcap)
}
