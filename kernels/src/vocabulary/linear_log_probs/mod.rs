//! log p(target | prefix) straight from hidden states: the head, the log-softmax and the gather as one operation.
//!
//! Never more than a tile of logits is alive, forward or backward. The backward takes one gradient per token and knows
//! nothing of objectives: a sequence's sum hands every token the same one, its mean that divided by the length.

mod autodiff;
mod by_hand;
mod composition;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};
pub use by_hand::LinearLogProbs;
use kernel::{LinearLogProbsKernel, Options};

use super::dtypes::{assert_together, output_dtype};
use super::softcap::assert_softcap;

/// `log_softmax(softcap(hidden · headᵀ))[i, targets[i]]`.
///
/// `hidden` `[tokens, hidden_size]` and `head` `[vocabulary, hidden_size]` (f32, f16 or bf16 each, or both f64), `targets`
/// `[tokens]` with values in `0..vocabulary`, or [`IGNORED`](crate::IGNORED) (which costs nothing on the CPU; on a GPU it
/// still takes part in the products); result `[tokens]`, f32 for the 16-bit types. With `softcap` c (Gemma 2), logits z
/// become c · tanh(z / c) first.
///
/// As in [`linear`](crate::linear) the products are made in the type of `hidden`, and the head is cast for them, a tile at a
/// time. Differentiable in `hidden` and `head`; a gradient that nobody asks for costs nothing. The gradients need the logits
/// again. On the CPU up to `keep` bytes of them are kept, and the rest is made again; on a GPU all are made again. It makes no
/// difference to the numbers.
///
/// # Panics
/// On other shapes or types, or on a target outside the vocabulary. On a GPU such a target cannot be seen without
/// waiting for it: its log-prob is NaN.
pub fn linear_token_log_probs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
    keep: usize,
) -> Tensor<1> {
    assert_inputs(&hidden, &head, &targets, softcap);
    let [tokens, _] = hidden.dims();
    if tokens == 0 {
        let dtype = output_dtype(hidden.dtype());
        return hidden.sum_dim(1).reshape([0]).cast(dtype);
    }
    if crate::device::wants_reference() {
        let dtype = output_dtype(hidden.dtype());
        return reference::linear_token_log_probs(hidden, head, targets, softcap).cast(dtype);
    }
    let (log_probs, _, _) = <Dispatch as LinearLogProbsKernel>::linear_token_log_probs(
        hidden.into_dispatch(),
        head.into_dispatch(),
        targets.into_dispatch(),
        Options { softcap, keep },
    );
    Tensor::from_dispatch(log_probs)
}

fn assert_inputs(hidden: &Tensor<2>, head: &Tensor<2>, targets: &Tensor<1, Int>, softcap: Option<f64>) {
    let ([tokens, width], [vocabulary, head_width], [count]) = (hidden.dims(), head.dims(), targets.dims());
    assert!(
        width == head_width && tokens == count && (vocabulary > 0 && width > 0 || tokens == 0),
        "linear_token_log_probs: hidden {:?}, head {:?} and targets {:?} must be [N, H], [V, H] and [N]",
        hidden.dims(),
        head.dims(),
        targets.dims()
    );
    assert_together("linear_token_log_probs", hidden.dtype(), head.dtype());
    assert_softcap("linear_token_log_probs", softcap);
}

#[cfg(test)]
mod tests;
