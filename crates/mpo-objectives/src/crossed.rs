//! Losses on answers of both languages to one prompt: a row in two languages has more to compare than its two pairs.

use std::fmt::Debug;

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;

use crate::pair::log_ratio;

/// A side of a row in two languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The dominant language's.
    Dominant,
    /// The target language's.
    Target,
}

/// An answer of a row, and the prompt that it is taken for an answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossedAnswer {
    /// Whose prompt it is.
    pub prompt: Side,
    /// Whose answer it is.
    pub answer: Side,
    /// Whether it is the safe one.
    pub is_chosen: bool,
}

/// A loss on answers of both languages.
pub trait CrossedLoss: Debug {
    /// The answers that it is computed from. Those to one prompt stand together, so that it passes through the model once.
    fn answers(&self) -> &'static [CrossedAnswer];

    /// Which two of them the log shows as the better and the worse one.
    fn logged(&self) -> [usize; 2];

    /// The losses of rows, given the scores of these answers under the policy and under the reference, `[rows]` each.
    fn losses(&self, policy: &[SequenceScore], reference: &[SequenceScore]) -> CrossedLosses;
}

/// The losses of rows and what they are made of, for the log; each `[rows]`.
#[derive(Debug, Clone)]
pub struct CrossedLosses {
    /// What is minimized.
    pub losses: Tensor<1>,
    /// The implicit reward of each answer.
    pub rewards: Vec<Tensor<1>>,
    /// Its parts by name.
    pub columns: Vec<(&'static str, Tensor<1>)>,
}

impl CrossedAnswer {
    pub(crate) const fn chosen(prompt: Side, answer: Side) -> Self {
        Self { prompt, answer, is_chosen: true }
    }

    pub(crate) const fn rejected(prompt: Side, answer: Side) -> Self {
        Self { is_chosen: false, ..Self::chosen(prompt, answer) }
    }
}

/// `β(s − s^ref)` of each answer.
pub(crate) fn rewards(beta: f64, policy: &[SequenceScore], reference: &[SequenceScore]) -> Vec<Tensor<1>> {
    let ratios = policy.iter().zip(reference).map(|(policy, reference)| log_ratio(policy, reference));
    ratios.map(|ratio| ratio.mul_scalar(beta)).collect()
}

/// `(1 − α)·(−m) + α·preferences`, with the mean log-probability m of the answer to imitate, and these parts by name.
pub(crate) fn beside_likelihood(
    alpha: f64,
    imitated: &SequenceScore,
    preferences: Tensor<1>,
) -> (Tensor<1>, Vec<(&'static str, Tensor<1>)>) {
    let likelihood = imitated.mean().neg();
    let losses = likelihood.clone().mul_scalar(1.0 - alpha) + preferences.clone().mul_scalar(alpha);
    (losses, vec![("loss/likelihood", likelihood), ("loss/preferences", preferences)])
}
