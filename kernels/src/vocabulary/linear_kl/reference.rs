//! The naive composition, which stores both models' logits several times over: what the kernels are checked against.

use burn::tensor::Tensor;

use super::HeadInputs;
use crate::vocabulary::softmax::reference::log_softmax;

pub(super) fn linear_kl(policy: HeadInputs, reference: HeadInputs, softcap: Option<f64>) -> Tensor<1> {
    let log_probs = |inputs: HeadInputs| {
        let head = inputs.head.cast(inputs.hidden.dtype());
        let logits = inputs.hidden.matmul(head.transpose());
        log_softmax(logits, softcap)
    };
    let (policy, reference) = (log_probs(policy), log_probs(reference));
    let [tokens, _] = policy.dims();
    (policy.clone().exp() * (policy - reference)).sum_dim(1).reshape([tokens])
}
