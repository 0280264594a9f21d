//! Pairs in one language, each for itself.

use burn::tensor::Tensor;
use mpo_data::{LanguagePair, Origin, TokenizedPair};
use mpo_models::CausalLm;
use mpo_objectives::{PairLoss, PairScore, ReferencedPairLoss};

use super::{MicroBatch, Shared, Task, reference_score};
use crate::error::TrainError;
use crate::events::RowValues;
use crate::pack::Packer;
use crate::reference::{PairSums, Reference, digest};

/// Pairs and what is minimized over them.
#[derive(Debug)]
pub(super) struct PairTask<'a> {
    loss: Loss<'a>,
    pairs: Vec<LanguagePair>,
}

#[derive(Debug)]
enum Loss<'a> {
    Alone(&'a dyn PairLoss),
    /// With the reference's score of every pair.
    Referenced(&'a dyn ReferencedPairLoss, Vec<PairSums>),
}

impl<'a> PairTask<'a> {
    pub(super) fn new(loss: &'a dyn PairLoss, pairs: Vec<LanguagePair>) -> Self {
        Self {
            loss: Loss::Alone(loss),
            pairs,
        }
    }

    pub(super) fn with_reference(
        loss: &'a dyn ReferencedPairLoss,
        pairs: Vec<LanguagePair>,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let of: Vec<(&TokenizedPair, &Origin)> =
            pairs.iter().map(|row| (&row.pair, &row.origin)).collect();
        let sums = reference.pair_sums(&of)?;
        Ok(Self {
            loss: Loss::Referenced(loss, sums),
            pairs,
        })
    }
}

impl Task for PairTask<'_> {
    fn rows(&self) -> usize {
        self.pairs.len()
    }

    fn tokens(&self, row: usize) -> usize {
        self.pairs[row].pair.tokens()
    }

    fn losses(&self, model: &CausalLm, rows: &[usize], _: &Shared) -> MicroBatch {
        let mut packer = Packer::default();
        let pairs: Vec<_> = rows
            .iter()
            .map(|&row| packer.pair(&self.pairs[row].pair))
            .collect();
        let hidden_states = packer.hidden_states(model);
        let policy = packer.pair_scores(model, &hidden_states, &pairs);
        let (losses, chosen, rejected) = match &self.loss {
            Loss::Alone(loss) => (
                loss.losses(&policy),
                loss.rewards(&policy.chosen),
                loss.rewards(&policy.rejected),
            ),
            Loss::Referenced(loss, sums) => {
                let of = rows.iter().map(|&row| sums[row]);
                let (chosen, rejected) = of.map(|pair| (pair.chosen, pair.rejected)).unzip();
                let reference = PairScore {
                    chosen: reference_score(&policy.chosen, chosen),
                    rejected: reference_score(&policy.rejected, rejected),
                };
                (
                    loss.losses(&policy, &reference),
                    loss.rewards(&policy.chosen, &reference.chosen),
                    loss.rewards(&policy.rejected, &reference.rejected),
                )
            }
        };
        MicroBatch {
            losses,
            columns: columns(&policy, chosen, rejected),
        }
    }

    fn describe(&self, row: usize) -> RowValues {
        let row = &self.pairs[row];
        RowValues::new(Some(row.language), row.origin.to_string())
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for LanguagePair { pair, .. } in &self.pairs {
            hasher.update(&digest(&[pair.prompt(), pair.chosen(), pair.rejected()]));
        }
        format!("pairs {}", hasher.finalize())
    }
}

/// What is logged of pairs, given the rewards of their answers.
pub(super) fn columns(
    policy: &PairScore,
    chosen: Tensor<1>,
    rejected: Tensor<1>,
) -> Vec<(&'static str, Tensor<1>)> {
    vec![
        ("rg/target", policy.reward_gap()),
        ("logps/chosen", policy.chosen.sum.clone()),
        ("logps/rejected", policy.rejected.sum.clone()),
        (
            "rewards/accuracies",
            chosen.clone().greater(rejected.clone()).float(),
        ),
        ("rewards/margins", chosen.clone() - rejected.clone()),
        ("rewards/chosen", chosen),
        ("rewards/rejected", rejected),
    ]
}
