//! The composition of Burn's own operations in chunks of rows, with the logits of one chunk in memory: for types that
//! have no kernel.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Slice;

use crate::token_log_probs::composition as from_logits;

/// Elements of one chunk of logits: 64 MiB of f64, half of the smallest buffer limit (software Vulkan's).
const CHUNK: usize = 1 << 23;

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
) -> (FloatTensor<B>, FloatTensor<B>) {
    gradients::<B>(&hidden, &head, |rows, logits| {
        from_logits::backward::<B>(
            logits,
            B::int_slice(targets.clone(), &[rows]),
            B::float_slice(statistics.clone(), &[rows]),
            B::float_slice(grad.clone(), &[rows]),
            softcap,
        )
    })
}

/// The gradients of `hidden` and `head`, from those of every chunk's logits.
pub(crate) fn gradients<B: Backend>(
    hidden: &FloatTensor<B>,
    head: &FloatTensor<B>,
    logits_gradient: impl Fn(Slice, FloatTensor<B>) -> FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let mut hidden_grads = vec![];
    let mut head_grad: Option<FloatTensor<B>> = None;
    for rows in chunks::<B>(hidden, head) {
        let hidden = B::float_slice(hidden.clone(), &[rows]);
        let grad = logits_gradient(rows, logits::<B>(hidden.clone(), head.clone()));
        hidden_grads.push(B::float_matmul(grad.clone(), head.clone()));
        let part = B::float_matmul(B::float_swap_dims(grad, 0, 1), hidden);
        head_grad = Some(match head_grad {
            Some(sum) => B::float_add(sum, part),
            None => part,
        });
    }
    (B::float_cat(hidden_grads, 0), head_grad.expect("there is at least one token"))
}

/// The rows of each chunk.
pub(crate) fn chunks<B: Backend>(hidden: &FloatTensor<B>, head: &FloatTensor<B>) -> impl Iterator<Item = Slice> {
    let (n, vocabulary) = (hidden.shape()[0], head.shape()[0]);
    let rows = (CHUNK / vocabulary).max(1);
    (0..n).step_by(rows).map(move |start| Slice::from(start..(start + rows).min(n)))
}

pub(crate) fn logits<B: Backend>(hidden: FloatTensor<B>, head: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(hidden, B::float_swap_dims(head, 0, 1))
}
