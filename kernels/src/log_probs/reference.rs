//! The naive composition, which stores all logits several times over: what the kernels are checked against.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

pub(super) fn log_probs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
) -> Tensor<1> {
    let n = targets.dims()[0];
    let mut logits = hidden.matmul(head.transpose());
    if let Some(cap) = softcap {
        logits = logits.div_scalar(cap).tanh().mul_scalar(cap);
    }
    log_softmax(logits, 1)
        .gather(1, targets.reshape([n, 1]))
        .reshape([n])
}
