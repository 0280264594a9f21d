//! Losses on single answers, each good or bad.

use std::fmt::Debug;

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;

/// A loss on single answers.
pub trait UnpairedLoss: Debug {
    /// A number that the losses of a batch share, from `log π(y)/π_ref(y)` of answers to other prompts than their own, nats.
    /// No gradient flows through it.
    fn reference_point(&self, mismatched_log_ratios: &[f64]) -> f64;

    /// `[answers]`
    fn losses(&self, answers: &UnpairedScore, reference_point: f64) -> Tensor<1>;

    /// The implicit reward of answers, `[answers]`.
    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1>;
}

/// Single answers: their scores, and whether each is good.
#[derive(Debug, Clone)]
pub struct UnpairedScore {
    /// Under the policy, `[answers]`.
    pub policy: SequenceScore,
    /// Under the reference, `[answers]`.
    pub reference: SequenceScore,
    /// Whether each is good.
    pub desirable: Vec<bool>,
}
