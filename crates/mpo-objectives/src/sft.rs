//! Supervised fine-tuning on the safe answers.

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::objective::{Definition, DemonstrationLoss, Loss, Objective, Variant};

/// `−m_w`: the mean over an answer's tokens, the prompt masked. A batch is the mean over its rows, so that a short
/// answer counts as much as a long one (Transformers takes the mean over all tokens of a batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sft {}

/// What CLA trains with, beside whatever demonstrations there are (`recipes/cla.yaml`).
const CONTRAST: Variant = Variant {
    name: "contrast",
    help: "CLA's contrast of translations at the first layer",
    settings: &[
        ("consistency_weight", "0.667"),
        ("consistency", "contrast"),
        ("consistency_layer", "1"),
        ("consistency_temperature", "0.05"),
        ("consistency_batch_size", "32"),
    ],
};

impl Sft {
    pub(crate) const DEFINITION: Definition = Definition {
        variants: &[CONTRAST],
        ..Definition::of::<Self>("sft", "SFT, supervised fine-tuning on safe answers", &[])
    };
}

impl Objective for Sft {
    fn loss(&self) -> Loss<'_> {
        Loss::Demonstrations(self)
    }
}

impl DemonstrationLoss for Sft {
    fn losses(&self, answers: &SequenceScore) -> Tensor<1> {
        answers.mean().neg()
    }
}

/// `losses + weight·(−m_w)`, `[pairs]`: a loss on pairs beside the likelihood of the safe answer per token, which keeps its
/// probability from falling along with the unsafe answer's (Pang et al., NeurIPS 2024, eq. 2; TRL's `rpo_alpha`).
pub fn sft_losses(losses: Tensor<1>, chosen: &SequenceScore, weight: f64) -> Tensor<1> {
    match weight {
        0.0 => losses,
        weight => losses - chosen.mean().mul_scalar(weight),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, constant, numbers, score, scored};

    #[test]
    fn added_to_a_loss_on_pairs_by_hand() {
        // 2 + 0.5·3/2
        let loss = |sums: &[Tensor<1>]| {
            let chosen = scored(sums[0].clone(), &[2.0]);
            sft_losses(sums[1].clone(), &chosen, 0.5)
        };
        check_gradients(&[&[-3.0], &[2.0]], loss);
        check(&numbers(loss(&[constant(&[-3.0]), constant(&[2.0])])), &[2.75]);
    }

    #[test]
    fn by_hand() {
        // −3 over two tokens: 1.5
        check(&numbers(Sft {}.losses(&score(&[-3.0], &[2.0]))), &[1.5]);
        check_gradients(&[&[-3.0, -40.0]], |t| Sft {}.losses(&scored(t[0].clone(), &[2.0, 7.0])));
    }
}
