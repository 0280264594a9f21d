//! Both directions in Burn's own operations, in chunks of rows: for types that have no kernel.

use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};

use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::composition::{chunks, gradients, logits};
use crate::vocabulary::softmax::composition as from_logits;

/// See [`LinearLogProbsKernel::linear_token_log_probs`](super::kernel::LinearLogProbsKernel::linear_token_log_probs).
pub(super) fn forward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    softcap: Option<f64>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (log_probs, statistics) = chunks::<B>(&hidden, &head)
        .map(|rows| {
            let hidden = B::float_slice(hidden.clone(), &[rows]);
            let logits = logits::<B>(hidden, head.clone());
            from_logits::forward::<B>(logits, B::int_slice(targets.clone(), &[rows]), softcap)
        })
        .unzip();
    (B::float_cat(log_probs, 0), B::float_cat(statistics, 0))
}

/// See [`LinearLogProbsKernel::linear_token_log_probs_backward`](super::kernel::LinearLogProbsKernel::linear_token_log_probs_backward).
pub(super) fn backward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    statistics: FloatTensor<B>,
    grad: FloatTensor<B>,
    softcap: Option<f64>,
    wanted: Wanted,
) -> (FloatTensor<B>, FloatTensor<B>) {
    gradients::<B>(&hidden, &head, wanted, |rows, logits| {
        from_logits::backward::<B>(
            logits,
            B::int_slice(targets.clone(), &[rows]),
            B::float_slice(statistics.clone(), &[rows]),
            B::float_slice(grad.clone(), &[rows]),
            softcap,
        )
    })
}
