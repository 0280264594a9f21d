//! The naive composition, which stores all logits several times over: what the kernels are checked against.

use burn::tensor::activation;
use burn::tensor::{Int, Tensor};

use crate::vocabulary::targets::IGNORED;

pub(crate) fn token_log_probs(logits: Tensor<2>, targets: Tensor<1, Int>, softcap: Option<f64>) -> Tensor<1> {
    let n = targets.dims()[0];
    let ignored = targets.clone().equal_elem(IGNORED);
    let targets = targets.mask_fill(ignored.clone(), 0);
    log_softmax(logits, softcap).gather(1, targets.reshape([n, 1])).reshape([n]).mask_fill(ignored, 0.0)
}

/// `log_softmax(softcap · tanh(logits / softcap))`, `[tokens, vocabulary]`.
pub(crate) fn log_softmax(logits: Tensor<2>, softcap: Option<f64>) -> Tensor<2> {
    let logits = match softcap {
        Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
        None => logits,
    };
    activation::log_softmax(logits, 1)
}
