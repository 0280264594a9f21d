//! The head in Burn's own operations, in chunks of rows, with the logits of one chunk in memory.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};

use super::Wanted;

/// Elements of one chunk of logits: 64 MiB of f64, half of the smallest buffer limit (software Vulkan's).
const CHUNK: usize = 1 << 23;

/// The gradients of `hidden` and `head`, those that are wanted, from those of every chunk's logits.
pub(crate) fn gradients<B: Backend>(
    hidden: &FloatTensor<B>,
    head: &FloatTensor<B>,
    wanted: Wanted,
    logits_gradient: impl Fn(Slice, FloatTensor<B>) -> FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let mut hidden_grads = vec![];
    let mut head_grad: Option<FloatTensor<B>> = None;
    for rows in chunks::<B>(hidden, head) {
        let hidden = B::float_slice(hidden.clone(), &[rows]);
        let grad = logits_gradient(rows, logits::<B>(hidden.clone(), head.clone()));
        if wanted.hidden {
            let head = B::float_cast(head.clone(), grad.dtype().into());
            hidden_grads.push(B::float_matmul(grad.clone(), head));
        }
        if wanted.head {
            let part = B::float_matmul(B::float_swap_dims(grad, 0, 1), hidden);
            head_grad = Some(match head_grad {
                Some(sum) => B::float_add(sum, part),
                None => part,
            });
        }
    }
    let none =
        |like: &FloatTensor<B>| B::float_zeros(Shape::new([0, like.shape()[1]]), &like.device(), like.dtype().into());
    (
        if wanted.hidden { B::float_cat(hidden_grads, 0) } else { none(hidden) },
        head_grad.map_or_else(|| none(head), |grad| B::float_cast(grad, head.dtype().into())),
    )
}

/// The rows of each chunk.
pub(crate) fn chunks<B: Backend>(hidden: &FloatTensor<B>, head: &FloatTensor<B>) -> impl Iterator<Item = Slice> {
    let (n, vocabulary) = (hidden.shape()[0], head.shape()[0]);
    let rows = (CHUNK / vocabulary).max(1);
    (0..n).step_by(rows).map(move |start| Slice::from(start..(start + rows).min(n)))
}

/// `hidden · headᵀ`, in the type of `hidden`.
pub(crate) fn logits<B: Backend>(hidden: FloatTensor<B>, head: FloatTensor<B>) -> FloatTensor<B> {
    let head = B::float_cast(head, hidden.dtype().into());
    B::float_matmul(hidden, B::float_swap_dims(head, 0, 1))
}
