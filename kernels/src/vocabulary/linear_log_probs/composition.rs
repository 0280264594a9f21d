//! Both directions in Burn's own operations, in chunks of rows: for types that have no kernel.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, Shape, Slice};

use super::kernel::Options;
use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::composition::{chunks, gradients, logits};
use crate::vocabulary::softmax::composition as from_logits;

/// See [`LinearLogProbsKernel::linear_token_log_probs`](super::kernel::LinearLogProbsKernel::linear_token_log_probs).
pub(super) fn forward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    options: Options,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (log_probs, statistics) = chunks::<B>(&hidden, &head)
        .map(|rows| {
            let hidden = B::float_slice(hidden.clone(), &[rows]);
            let logits = logits::<B>(hidden, head.clone());
            from_logits::forward::<B>(logits, B::int_slice(targets.clone(), &[rows]), options.softcap)
        })
        .unzip();
    let none = nothing_kept::<B>(&hidden.device());
    (B::float_cat(log_probs, 0), B::float_cat(statistics, 0), none)
}

/// The logits that are kept, where none are.
pub(super) fn nothing_kept<B: Backend>(device: &B::Device) -> FloatTensor<B> {
    B::float_zeros(Shape::new([0]), device, DType::F32.into())
}

/// See [`LinearLogProbsKernel::linear_token_log_probs_backward`](super::kernel::LinearLogProbsKernel::linear_token_log_probs_backward).
pub(super) fn backward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    statistics: FloatTensor<B>,
    grad: FloatTensor<B>,
    options: Options,
    wanted: Wanted,
) -> (FloatTensor<B>, FloatTensor<B>) {
    gradients::<B>(&hidden, &head, wanted, |rows, logits| {
        from_logits::backward::<B>(
            logits,
            B::int_slice(targets.clone(), &[rows]),
            B::float_slice(statistics.clone(), &[rows]),
            B::float_slice(grad.clone(), &[rows]),
            options.softcap,
        )
    })
}

/// See
/// [`LinearLogProbsKernel::add_linear_token_log_probs_head_grad`](super::kernel::LinearLogProbsKernel::add_linear_token_log_probs_head_grad).
#[allow(clippy::too_many_arguments)]
pub(super) fn add_head_grad<B: Backend>(
    sum: FloatTensor<B>,
    first: usize,
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    statistics: FloatTensor<B>,
    grad: FloatTensor<B>,
    softcap: Option<f64>,
) -> FloatTensor<B> {
    let rows = Slice::from(first..first + sum.shape()[0]);
    let (options, wanted) = (Options { softcap, keep: 0 }, Wanted { hidden: false, head: true });
    let (_, head_grad) = backward::<B>(hidden, head, targets, statistics, grad, options, wanted);
    B::float_add(sum, B::float_slice(head_grad, &[rows]))
}
