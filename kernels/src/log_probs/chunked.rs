//! The plain composition in chunks of rows, with the logits of one chunk in memory.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IndexingUpdateOp, Shape, Slice};

/// Elements of one chunk of logits: 32 MiB of f32, a quarter of the smallest buffer limit (software Vulkan's).
const CHUNK: usize = 1 << 23;

/// See [`LogProbKernel::linear_token_log_probs`](super::kernel::LogProbKernel::linear_token_log_probs).
pub(super) fn forward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    softcap: Option<f64>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let n = targets.shape()[0];
    let (log_probs, log_sum_exp): (Vec<_>, Vec<_>) = chunks::<B>(&hidden, &head)
        .map(|rows| {
            let hidden = B::float_slice(hidden.clone(), &[rows]);
            let logits = logits::<B>(hidden, head.clone(), softcap);
            let targets = column::<B>(B::int_slice(targets.clone(), &[rows]));
            let max = B::float_max_dim(logits.clone(), 1);
            let sum = B::float_sum_dim(B::float_exp(B::float_sub(logits.clone(), max.clone())), 1);
            let log_sum_exp = B::float_add(max, B::float_log(sum));
            (
                B::float_sub(B::float_gather(1, logits, targets), log_sum_exp.clone()),
                log_sum_exp,
            )
        })
        .unzip();
    let join = |parts| B::float_reshape(B::float_cat(parts, 0), Shape::new([n]));
    (join(log_probs), join(log_sum_exp))
}

/// See [`LogProbKernel::linear_token_log_probs_backward`](super::kernel::LogProbKernel::linear_token_log_probs_backward).
pub(super) fn backward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    log_sum_exp: FloatTensor<B>,
    grad: FloatTensor<B>,
    softcap: Option<f64>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let mut hidden_grads = vec![];
    let mut head_grad: Option<FloatTensor<B>> = None;
    for rows in chunks::<B>(&hidden, &head) {
        let hidden = B::float_slice(hidden.clone(), &[rows]);
        let n = hidden.shape()[0];
        let column_of = |t: &FloatTensor<B>| {
            B::float_reshape(B::float_slice(t.clone(), &[rows]), Shape::new([n, 1]))
        };
        let (grad, log_sum_exp) = (column_of(&grad), column_of(&log_sum_exp));
        let logits = logits::<B>(hidden.clone(), head.clone(), softcap);
        // d log p / d logit = onehot − softmax
        let softmax = B::float_exp(B::float_sub(logits.clone(), log_sum_exp));
        let targets = column::<B>(B::int_slice(targets.clone(), &[rows]));
        let minus = B::float_neg(B::float_mul(softmax, grad.clone()));
        let mut logits_grad = B::float_scatter(1, minus, targets, grad, IndexingUpdateOp::Add);
        if let Some(cap) = softcap {
            // d (c tanh(z/c)) / dz = 1 − (capped / c)²
            let ratio = B::float_div_scalar(logits, cap.into());
            let slope =
                B::float_add_scalar(B::float_neg(B::float_mul(ratio.clone(), ratio)), 1.0.into());
            logits_grad = B::float_mul(logits_grad, slope);
        }
        hidden_grads.push(B::float_matmul(logits_grad.clone(), head.clone()));
        let part = B::float_matmul(B::float_swap_dims(logits_grad, 0, 1), hidden);
        head_grad = Some(match head_grad {
            Some(sum) => B::float_add(sum, part),
            None => part,
        });
    }
    (
        B::float_cat(hidden_grads, 0),
        head_grad.expect("there is at least one token"),
    )
}

/// The rows of each chunk.
fn chunks<B: Backend>(
    hidden: &FloatTensor<B>,
    head: &FloatTensor<B>,
) -> impl Iterator<Item = Slice> {
    let (n, vocabulary) = (hidden.shape()[0], head.shape()[0]);
    let rows = (CHUNK / vocabulary).max(1);
    (0..n)
        .step_by(rows)
        .map(move |start| Slice::from(start..(start + rows).min(n)))
}

fn logits<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    softcap: Option<f64>,
) -> FloatTensor<B> {
    let logits = B::float_matmul(hidden, B::float_swap_dims(head, 0, 1));
    match softcap {
        None => logits,
        Some(cap) => B::float_mul_scalar(
            B::float_tanh(B::float_div_scalar(logits, cap.into())),
            cap.into(),
        ),
    }
}

fn column<B: Backend>(indices: IntTensor<B>) -> IntTensor<B> {
    let n = indices.shape()[0];
    B::int_reshape(indices, Shape::new([n, 1]))
}
