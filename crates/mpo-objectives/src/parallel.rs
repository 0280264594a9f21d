//! Losses on hidden states of prompts in several languages.

use std::fmt::Debug;

use burn::tensor::Tensor;

use crate::lens::LanguageSpaces;

/// A loss on the states of prompts in several languages, of the policy and of the reference. No answer enters it.
pub trait ParallelLoss: Debug {
    /// The losses of rows, in spaces that were found from the reference's states.
    fn losses(&self, states: &ParallelStates, spaces: &LanguageSpaces) -> ParallelLosses;
}

/// Hidden states of the last layer, after the final norm.
#[derive(Debug, Clone)]
pub struct ParallelStates {
    /// The policy's at the last token of every prompt, `[prompts, width]`: those of a row together, the dominant one first.
    pub policy: Tensor<2>,
    /// The reference's.
    pub reference: Tensor<2>,
    /// The policy's mean over the tokens of each dominant prompt, `[rows, width]`.
    pub policy_means: Tensor<2>,
    /// The reference's.
    pub reference_means: Tensor<2>,
    /// The languages of each row, by their number in the spaces; the first is the dominant one.
    pub languages: Vec<Vec<usize>>,
}

/// The losses of rows and what they are made of, for the log; each `[rows]`.
#[derive(Debug, Clone)]
pub struct ParallelLosses {
    /// What is minimized.
    pub losses: Tensor<1>,
    /// Its parts by name.
    pub columns: Vec<(&'static str, Tensor<1>)>,
}
