//! Pairs in one language, each for itself.

use burn::tensor::Tensor;
use mpo_data::{LanguagePair, Origin, TokenizedPair};
use mpo_models::{Batch, Outputs};
use mpo_objectives::{PairLoss, PairScore, ReferencedPairLoss, sft_losses};

use super::{MicroBatch, Task, Work};
use crate::error::TrainError;
use crate::events::RowValues;
use crate::pairs::{PairParts, PairScores};
use crate::reference::{KnownPairs, Reference, digest};

/// Pairs and what is minimized over them.
#[derive(Debug)]
pub(super) struct PairTask<'a> {
    loss: Loss<'a>,
    /// Weight of the safe answers' likelihood beside it.
    sft_weight: f64,
    pairs: Vec<LanguagePair>,
}

#[derive(Debug)]
enum Loss<'a> {
    Alone(&'a dyn PairLoss),
    /// With the reference's score of every pair.
    Referenced(&'a dyn ReferencedPairLoss, KnownPairs),
}

impl<'a> PairTask<'a> {
    pub(super) fn new(loss: &'a dyn PairLoss, pairs: Vec<LanguagePair>, sft_weight: f64) -> Self {
        Self { loss: Loss::Alone(loss), sft_weight, pairs }
    }

    pub(super) fn with_reference(
        loss: &'a dyn ReferencedPairLoss,
        pairs: Vec<LanguagePair>,
        sft_weight: f64,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let of: Vec<(&TokenizedPair, &Origin)> = pairs.iter().map(|row| (&row.pair, &row.origin)).collect();
        let known = reference.pairs(&of)?;
        Ok(Self { loss: Loss::Referenced(loss, known), sft_weight, pairs })
    }
}

impl Task for PairTask<'_> {
    fn rows(&self) -> usize {
        self.pairs.len()
    }

    fn tokens(&self, row: usize) -> usize {
        self.pairs[row].pair.tokens()
    }

    fn losses<'t>(&'t self, rows: &'t [usize], _: Option<f64>) -> Work<'t, MicroBatch> {
        let mut batch = Batch::default();
        let pairs: Vec<PairParts> = rows.iter().map(|&row| PairParts::add(&mut batch, &self.pairs[row].pair)).collect();
        let scores = PairScores::want(&mut batch, &pairs);
        Work::new(batch, move |outputs: &Outputs| {
            let policy = scores.of(outputs);
            let (losses, [chosen, rejected]) = match &self.loss {
                Loss::Alone(loss) => {
                    let rewards = [&policy.chosen, &policy.rejected];
                    (loss.losses(&policy), rewards.map(|of| loss.rewards(of)))
                }
                Loss::Referenced(loss, known) => {
                    let reference = known.scores(rows, &policy.chosen.sum.device());
                    let rewards = [(&policy.chosen, &reference.chosen), (&policy.rejected, &reference.rejected)];
                    (loss.losses(&policy, &reference), rewards.map(|(of, reference)| loss.rewards(of, reference)))
                }
            };
            MicroBatch {
                losses: sft_losses(losses, &policy.chosen, self.sft_weight),
                columns: columns(&policy, chosen, rejected),
            }
        })
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
pub(super) fn columns(policy: &PairScore, chosen: Tensor<1>, rejected: Tensor<1>) -> Vec<(&'static str, Tensor<1>)> {
    vec![
        ("rg/target", policy.reward_gap()),
        ("logps/chosen", policy.chosen.sum.clone()),
        ("logps/rejected", policy.rejected.sum.clone()),
        ("rewards/accuracies", chosen.clone().greater(rejected.clone()).float()),
        ("rewards/margins", chosen.clone() - rejected.clone()),
        ("rewards/chosen", chosen),
        ("rewards/rejected", rejected),
    ]
}
