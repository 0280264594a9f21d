//! What a model makes of a batch.

use burn::tensor::Tensor;
use mpo_kernels::{HeadInputs, SequenceScore};

use super::{Scores, States};
use crate::Precision;

/// What was wanted of a batch, differentiable where the model's weights are.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Of all answers, in the order in which they were asked for; none if none was.
    pub(crate) scores: Option<SequenceScore>,
    /// One for each wish.
    pub(crate) states: Vec<Tensor<2>>,
    pub(crate) head: Head,
}

/// What turns hidden states into logits.
#[derive(Debug, Clone)]
pub struct Head {
    /// `[vocab_size, hidden_size]`
    pub weight: Tensor<2>,
    /// What logits are multiplied by first, if by anything.
    pub scale: Option<f64>,
    /// Logits are `cap · tanh(logits / cap)`.
    pub softcap: Option<f64>,
    /// What logits are made in.
    pub precision: Precision,
}

impl Head {
    /// Hidden states and the head, as they are multiplied.
    pub fn inputs(&self, hidden: Tensor<2>) -> HeadInputs {
        HeadInputs { hidden: self.given(hidden), head: self.weight.clone() }
    }

    /// Hidden states as the head is given them.
    pub fn given(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.precision.of(match self.scale {
            // The product of scaled states is scaled, and they are far fewer numbers than logits.
            Some(scale) => hidden.mul_scalar(scale),
            None => hidden,
        })
    }
}

impl Outputs {
    /// Scores of answers, in the order in which they were given.
    ///
    /// # Panics
    /// If they were asked of another batch.
    pub fn scores(&self, of: Scores) -> SequenceScore {
        let all = self.scores.as_ref().expect("scores were wanted");
        let narrow = |all: &Tensor<1>| all.clone().narrow(0, of.first, of.count);
        SequenceScore { sum: narrow(&all.sum), tokens: narrow(&all.tokens) }
    }

    /// Hidden states, `[states, hidden_size]`, in the order of their places.
    ///
    /// # Panics
    /// If they were asked of another batch.
    pub fn states(&self, of: States) -> Tensor<2> {
        self.states[of.0].clone()
    }

    /// The model's head, for distributions over the vocabulary.
    pub fn head(&self) -> &Head {
        &self.head
    }
}
