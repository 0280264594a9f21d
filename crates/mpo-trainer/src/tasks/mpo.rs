//! MPO (reward gap): the target pair and the dominant prompt through the policy, the reference from its cache.

use burn::tensor::{Int, Tensor, TensorData};
use mpo_data::TokenizedRow;
use mpo_models::CausalLm;
use mpo_objectives::{RetainNorm, gap_loss, retain_loss};

use super::{MicroBatch, Task};
use crate::config::{Retain, RetainScale};
use crate::events::RowValues;
use crate::pack::{Packer, mean_rows};
use crate::reference::{Reference, Retained, row_digest};

/// The hyper-parameters that enter the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MpoOptions {
    /// β, the factor on the target gap.
    pub beta: f64,
    /// Which hidden states are held in place.
    pub retain: Retain,
    /// How their distance is measured.
    pub retain_scale: RetainScale,
    /// Weight of the retain term.
    pub retain_weight: f64,
    /// Mean pool: padding token and the multiple its length is rounded up to.
    pub padding: Padding,
}

/// The padding that enters the authors' unmasked mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// The padding token.
    pub token: u32,
    /// Sequences of a pair are padded to the longer one, rounded up to a multiple of this.
    pub multiple: usize,
}

/// Bilingual rows and the reference's numbers for them.
#[derive(Debug)]
pub struct MpoTask {
    rows: Vec<TokenizedRow>,
    reference: Reference,
    options: MpoOptions,
}

impl MpoTask {
    /// Trains on `rows`, with the reference computed for those rows and options.
    pub fn new(rows: Vec<TokenizedRow>, reference: Reference, options: MpoOptions) -> Self {
        assert_eq!(rows.len(), reference.rows(), "one reference entry a row");
        Self {
            rows,
            reference,
            options,
        }
    }

    /// The rows it trains on.
    pub fn bilingual_rows(&self) -> &[TokenizedRow] {
        &self.rows
    }
}

impl Task for MpoTask {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, row: usize) -> usize {
        let row = &self.rows[row];
        row.target.tokens()
            + match self.options.retain {
                Retain::None => 0,
                Retain::LastToken => row.dominant.prompt().len(),
                Retain::MeanPool => {
                    row.dominant.tokens()
                        + row
                            .dominant
                            .chosen()
                            .len()
                            .abs_diff(row.dominant.rejected().len())
                }
            }
    }

    fn losses(&self, model: &CausalLm, rows: &[usize]) -> MicroBatch {
        let mut packer = Packer::default();
        let targets: Vec<_> = rows
            .iter()
            .map(|&row| packer.pair(&self.rows[row].target))
            .collect();
        let mut retained = Retained::new(self.options.retain, self.options.padding);
        for &row in rows {
            retained.pack(&mut packer, &self.rows[row].dominant);
        }
        let hidden_states = packer.hidden_states(model);
        let device = hidden_states.device();
        let scores = packer.pair_scores(model, &hidden_states, &targets);
        let gap = scores.reward_gap();
        let dominant_gaps: Vec<f32> = rows.iter().map(|&row| self.reference.gap(row)).collect();
        let dominant_gap =
            Tensor::<1>::from_data(TensorData::new(dominant_gaps, [rows.len()]), &device);
        let gap_losses = gap_loss(gap.clone(), dominant_gap.clone(), self.options.beta);
        let rewards = |mean: Tensor<1>| mean.mul_scalar(self.options.beta);
        let (chosen, rejected) = (
            rewards(scores.chosen.mean()),
            rewards(scores.rejected.mean()),
        );
        let mut columns = vec![
            ("loss/gap", gap_losses.clone()),
            ("rg/target", gap),
            ("rg/dominant", dominant_gap),
            ("logps/chosen", scores.chosen.sum),
            ("logps/rejected", scores.rejected.sum),
            (
                "rewards/accuracies",
                chosen.clone().greater(rejected.clone()).float(),
            ),
            ("rewards/margins", chosen.clone() - rejected.clone()),
            ("rewards/chosen", chosen),
            ("rewards/rejected", rejected),
        ];
        let mut losses = gap_losses;
        if let Some(hidden) = retained.hidden(&hidden_states) {
            let norm = match self.options.retain_scale {
                RetainScale::Mean => RetainNorm::Mean,
                RetainScale::Squared => RetainNorm::Squared,
            };
            let reference = self.reference.hidden(rows, &device);
            let retain = retain_loss(hidden, reference, norm);
            columns.push(("loss/retain", retain.clone()));
            losses = losses + retain.mul_scalar(self.options.retain_weight);
        }
        MicroBatch { losses, columns }
    }

    fn describe(&self, row: usize) -> RowValues {
        let row = &self.rows[row];
        RowValues::new(Some(row.language), row.origin.to_string())
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.rows
            .iter()
            .for_each(|row| row_digest(&mut hasher, row));
        format!("mpo {:?} {}", self.options, hasher.finalize())
    }
}

impl Retained {
    /// The hidden states to hold, `[rows, elements]`, from the packed batch's; `None` if nothing is held.
    pub(crate) fn hidden(&self, hidden_states: &Tensor<2>) -> Option<Tensor<2>> {
        let device = hidden_states.device();
        let [_, width] = hidden_states.dims();
        match self {
            Self::Nothing => None,
            Self::LastTokens(rows) => {
                let indices: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
                let indices =
                    Tensor::<1, Int>::from_data(TensorData::new(indices, [rows.len()]), &device);
                Some(hidden_states.clone().select(0, indices))
            }
            Self::Means { groups, .. } => {
                let means = mean_rows(hidden_states, groups);
                Some(means.reshape([groups.len() / 2, 2 * width]))
            }
        }
    }
}
