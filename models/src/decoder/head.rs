//! From hidden states to logits, and to the log-probabilities of tokens.

use burn::tensor::{DType, Tensor};
use mpo_kernels::{HeadInputs, linear, linear_token_log_probs};

use super::{indices, select_rows};
use crate::batch::Head;

impl Head {
    /// log p of `targets[i]` after the token whose hidden state is row `rows[i]`; `[targets]`, nats. Up to `keep` bytes of logits are
    /// kept for a backward, which makes the rest again.
    pub(super) fn token_log_probs(
        &self,
        hidden_states: &Tensor<2>,
        rows: &[usize],
        targets: &[u32],
        keep: usize,
    ) -> Tensor<1> {
        let HeadInputs { hidden, head } = self.inputs(select_rows(hidden_states, rows));
        let targets = indices(targets, &hidden_states.device());
        linear_token_log_probs(hidden, head, targets, self.softcap, keep)
    }

    /// The logits of a few rows of hidden states, `[rows, vocab_size]`: for generation, never for training.
    pub(super) fn logits(&self, hidden_states: Tensor<2>) -> Tensor<2> {
        let HeadInputs { hidden, head } = self.inputs(hidden_states);
        let logits = linear(hidden, head).cast(DType::F32);
        match self.softcap {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        }
    }
}
