//! Losses on pairs in two languages.

use std::fmt::Debug;

use burn::tensor::Tensor;

use crate::{GapSource, PairScore};

/// A loss on pairs in a dominant language and the same pairs in a target language.
pub trait BilingualLoss: Debug {
    /// What it is computed from, beside the policy's scores of target pairs.
    fn needs(&self) -> BilingualNeeds;

    /// Where it draws target gaps that are above their goal down to; none if it lowers no gap.
    fn lowers_to(&self) -> Option<Goal<'_>> {
        None
    }

    /// The losses of rows, given what it needs.
    fn losses(&self, scores: &BilingualScores) -> BilingualLosses;
}

/// What a loss on pairs in two languages is computed from, beside the policy's scores of target pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BilingualNeeds {
    /// The policy's scores of dominant pairs, with gradients.
    pub dominant: bool,
    /// The reference's scores of target pairs.
    pub reference_target: bool,
    /// The reference's scores of these pairs.
    pub reference: Option<ReferencePairs>,
    /// What of both models is compared on dominant pairs.
    pub held: Option<Hold>,
}

/// What target gaps are drawn to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal<'a> {
    /// Factor on a target gap.
    pub beta: f64,
    /// What that is drawn to.
    pub dominant_gap: &'a GapSource,
    /// Whether gaps are of mean log-probs per token, or of sums.
    pub length_normalized: bool,
}

/// Pairs that the reference scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferencePairs {
    /// Those of the dominant language.
    Dominant,
    /// The same pairs in this language, by its code.
    Language(String),
}

/// What of a model is held in place on dominant pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The hidden state at the prompt's last token.
    LastToken,
    /// The mean hidden state of prompt and answer, for both answers.
    MaskedMean,
    /// The same over all positions of both padded sequences, padding included.
    MeanPool {
        /// Sequences are padded to the longer one's length, rounded up to a multiple of this.
        pad_multiple: usize,
    },
    /// The next-token distributions of both answers.
    Distributions,
}

/// What was held, of both models.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each micro-batch")]
pub enum Held {
    /// Hidden states, `[rows, elements]` each.
    States {
        /// The policy's.
        policy: Tensor<2>,
        /// The reference's.
        reference: Tensor<2>,
    },
    /// KL(policy ‖ reference), the mean over both answers' tokens, nats, `[rows]`.
    Divergence(Tensor<1>),
}

/// What a loss asked for, for some rows.
#[derive(Debug, Clone)]
pub struct BilingualScores {
    /// The policy's scores of target pairs, `[rows]`.
    pub target: PairScore,
    /// The policy's scores of dominant pairs.
    pub dominant: Option<PairScore>,
    /// The reference's scores of target pairs.
    pub reference_target: Option<PairScore>,
    /// The reference's scores of the [`ReferencePairs`].
    pub reference: Option<PairScore>,
    /// What is held in place.
    pub held: Option<Held>,
}

/// The losses of rows and what they are made of, for the log; each `[rows]`.
#[derive(Debug, Clone)]
pub struct BilingualLosses {
    /// What is minimized.
    pub losses: Tensor<1>,
    /// The implicit reward of safe target answers.
    pub chosen_rewards: Tensor<1>,
    /// The implicit reward of unsafe target answers.
    pub rejected_rewards: Tensor<1>,
    /// Its parts by name.
    pub columns: Vec<(&'static str, Tensor<1>)>,
}

/// What a loss asked for.
///
/// # Panics
/// If the loss did not ask for it.
pub(crate) fn asked<T>(given: &Option<T>) -> &T {
    given.as_ref().expect("what a loss needs is given to it")
}
