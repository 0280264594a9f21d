//! log p(target | prefix) from logits: soft-cap, log-softmax and gather in one pass over memory.

//!
//! The reference and the composition are those of the [`softmax`](crate::vocabulary::softmax).

mod autodiff;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};
use kernel::TokenLogProbsKernel;

use super::dtypes::{assert_supported, output_dtype};
use super::softcap::assert_softcap;
use super::softmax::reference;

/// `log_softmax(softcap(logits))[i, targets[i]]`.
///
/// `logits` `[tokens, vocabulary]` of f32, f64, f16 or bf16; `targets` `[tokens]` with values in `0..vocabulary`, or
/// [`IGNORED`](crate::IGNORED); result `[tokens]`, f32 for the 16-bit types, which are widened as they are read. With `softcap` c
/// (Gemma 2), logits z become c · tanh(z / c) first. Differentiable in `logits`; the gradient is written over the logits
/// if nothing else holds them. A NaN among a row's logits makes that row's result NaN, and no other's.
///
/// # Panics
/// On other shapes or types, or on a target outside the vocabulary. On a GPU such a target cannot be seen without
/// waiting for it: its log-prob is NaN.
pub fn token_log_probs(logits: Tensor<2>, targets: Tensor<1, Int>, softcap: Option<f64>) -> Tensor<1> {
    let ([tokens, vocabulary], [count]) = (logits.dims(), targets.dims());
    assert!(
        tokens == count && (vocabulary > 0 || tokens == 0),
        "token_log_probs: logits {:?} and targets {:?} must be [N, V] and [N]",
        logits.dims(),
        targets.dims()
    );
    assert_supported("token_log_probs", logits.dtype());
    assert_softcap("token_log_probs", softcap);
    if tokens == 0 {
        let dtype = output_dtype(logits.dtype());
        return logits.sum_dim(1).reshape([0]).cast(dtype);
    }
    if crate::device::wants_reference() {
        let dtype = output_dtype(logits.dtype());
        return reference::token_log_probs(logits, targets, softcap).cast(dtype);
    }
    let (log_probs, _) =
        <Dispatch as TokenLogProbsKernel>::token_log_probs(logits.into_dispatch(), targets.into_dispatch(), softcap);
    Tensor::from_dispatch(log_probs)
}

#[cfg(test)]
mod tests;
