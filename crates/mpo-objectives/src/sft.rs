//! Supervised fine-tuning on the safe answers.

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::objective::{Definition, DemonstrationLoss, Loss, Objective};

/// `−m_w`: the mean over an answer's tokens, the prompt masked. A batch is the mean over its rows, so that a short
/// answer counts as much as a long one (Transformers takes the mean over all tokens of a batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sft {}

impl Sft {
    pub(crate) const DEFINITION: Definition =
        Definition::of::<Self>("sft", "SFT, supervised fine-tuning on safe answers", &[]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, numbers, score, scored};

    #[test]
    fn by_hand() {
        // −3 over two tokens: 1.5
        check(&numbers(Sft {}.losses(&score(&[-3.0], &[2.0]))), &[1.5]);
        check_gradients(&[&[-3.0, -40.0]], |t| {
            Sft {}.losses(&scored(t[0].clone(), &[2.0, 7.0]))
        });
    }
}
