//! Sequence scores: the two numbers every objective is made of.

mod autodiff;
mod composition;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor, TensorData};
use kernel::SegmentKernel;

/// Σ log p over the tokens of each sequence, and how many tokens it has: kept apart, so that a sum is never taken for
/// a mean.
#[derive(Debug, Clone)]
pub struct SequenceScore {
    /// Σ log p(token | prefix), nats, `[sequences]`.
    pub sum: Tensor<1>,
    /// Tokens, at least one each, `[sequences]`.
    pub tokens: Tensor<1>,
}

impl SequenceScore {
    /// Mean log p per token, `[sequences]` (the length-normalised score of MPO, eq. 4).
    pub fn mean(&self) -> Tensor<1> {
        self.sum.clone() / self.tokens.clone()
    }
}

/// Sums consecutive runs of `lengths` tokens of `token_log_probs` `[Σ lengths]`, f32 or f64. Differentiable.
///
/// # Panics
/// If a length is zero, the lengths do not add up to the tokens, or on another type.
pub fn sequence_log_probs(token_log_probs: Tensor<1>, lengths: &[usize]) -> SequenceScore {
    let [tokens] = token_log_probs.dims();
    assert!(
        lengths.iter().all(|&length| length > 0) && lengths.iter().sum::<usize>() == tokens,
        "sequence_log_probs: lengths {lengths:?} must be positive and add up to {tokens} tokens"
    );
    let dtype = token_log_probs.dtype();
    assert!(matches!(dtype, DType::F32 | DType::F64), "sequence_log_probs: expected f32 or f64, got {dtype:?}");
    let options = (&token_log_probs.device(), dtype);
    let counts: Vec<f32> = lengths.iter().map(|&length| length as f32).collect();
    let sum = match lengths {
        [] => token_log_probs,
        _ => Tensor::from_dispatch(<Dispatch as SegmentKernel>::segment_sums(
            token_log_probs.into_dispatch(),
            lengths.to_vec(),
        )),
    };
    SequenceScore { sum, tokens: Tensor::from_data(TensorData::new(counts, [lengths.len()]), options) }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::testing::{Case, check_gradients, check_kernel, everywhere, random};

    #[test]
    fn ragged_sums_and_means() {
        let device = Device::flex();
        let log_probs = Tensor::<1>::from_data([-1.0, -2.0, -3.0, -10.0], &device);
        let score = sequence_log_probs(log_probs, &[3, 1]);
        assert_eq!(score.sum.to_data().try_to_vec::<f32>().unwrap(), [-6.0, -10.0]);
        assert_eq!(score.mean().into_data().try_to_vec::<f32>().unwrap(), [-2.0, -10.0]);
    }

    fn plain(x: Tensor<1>, lengths: &[usize]) -> Tensor<1> {
        let mut end = 0;
        let sums = lengths.iter().map(|&length| {
            end += length;
            x.clone().narrow(0, end - length, length).sum()
        });
        Tensor::cat(sums.collect(), 0)
    }

    #[test]
    fn no_worse_than_the_composition() {
        let cases: Vec<Case> = everywhere().into_iter().filter(|case| case.dtype == DType::F32).collect();
        for lengths in [vec![1], vec![3, 1, 700, 255, 256, 257], vec![1; 400]] {
            check_kernel(
                &cases,
                &[random(&[lengths.iter().sum()], 1)],
                |t| sequence_log_probs(t[0].d1(), &lengths).sum,
                |t| plain(t[0].d1(), &lengths),
            );
        }
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        check_gradients(&[random(&[6], 1)], |t| sequence_log_probs(t[0].d1(), &[1, 3, 2]).mean());
    }

    #[test]
    fn no_sequences() {
        let score = sequence_log_probs(Tensor::zeros([0], &Device::flex()), &[]);
        assert_eq!((score.sum.dims(), score.tokens.dims()), ([0], [0]));
    }

    #[test]
    #[should_panic(expected = "add up to 4 tokens")]
    fn lengths_must_cover_the_tokens() {
        sequence_log_probs(Tensor::<1>::zeros([4], &Device::flex()), &[3]);
    }
}
