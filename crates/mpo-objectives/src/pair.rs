//! Preference pairs: their scores, and losses on them.

use std::fmt::Debug;

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;

/// A safe and an unsafe answer to the same prompt, scored by one model.
#[derive(Debug, Clone)]
pub struct PairScore {
    /// The safe answers, `[pairs]`.
    pub chosen: SequenceScore,
    /// The unsafe answers, `[pairs]`.
    pub rejected: SequenceScore,
}

impl PairScore {
    /// Mean log p(chosen) − mean log p(rejected), nats per token, `[pairs]` (MPO, eq. 4).
    pub fn reward_gap(&self) -> Tensor<1> {
        self.chosen.mean() - self.rejected.mean()
    }

    /// `Δ = log π(chosen)/π_ref(chosen) − log π(rejected)/π_ref(rejected)`, nats, `[pairs]`: what DPO and related losses raise.
    pub fn margin_over(&self, reference: &Self) -> Tensor<1> {
        log_ratio(&self.chosen, &reference.chosen) - log_ratio(&self.rejected, &reference.rejected)
    }
}

/// A loss on pairs.
pub trait PairLoss: Debug {
    /// `[pairs]`
    fn losses(&self, policy: &PairScore) -> Tensor<1>;

    /// The implicit reward of answers, `[answers]`.
    fn rewards(&self, answers: &SequenceScore) -> Tensor<1>;
}

/// A loss on pairs, given their scores under the reference.
pub trait ReferencedPairLoss: Debug {
    /// `[pairs]`
    fn losses(&self, policy: &PairScore, reference: &PairScore) -> Tensor<1>;

    /// The implicit reward of answers, `[answers]`.
    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1>;
}

/// `log π(y)/π_ref(y)`, nats, `[sequences]`.
pub(crate) fn log_ratio(policy: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
    policy.sum.clone() - reference.sum.clone()
}
