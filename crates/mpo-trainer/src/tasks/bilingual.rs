//! Pairs in two languages: the target's and what is held of the dominant one through the policy, the reference from its
//! cache (MPO).

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorData};
use mpo_data::{Language, Origin, TokenizedPair, TokenizedRow};
use mpo_kernels::{HeadInputs, linear_kl, sequence_log_probs};
use mpo_models::CausalLm;
use mpo_objectives::{GapSource, Mpo, Retain};

use super::pairs::columns;
use super::{MicroBatch, Shared, Task};
use crate::error::TrainError;
use crate::events::RowValues;
use crate::pack::Packer;
use crate::reference::{Held, HeldReference, Holding, Padding, PairSums, Reference, digest};

/// Bilingual rows and the reference's numbers for them.
#[derive(Debug)]
pub(super) struct BilingualTask<'a> {
    mpo: &'a Mpo,
    rows: Vec<TokenizedRow>,
    /// The gap that each row's target is drawn towards; none if it is the policy's.
    dominant_gaps: Option<Vec<f32>>,
    held: HeldReference,
}

impl<'a> BilingualTask<'a> {
    pub(super) fn new(
        mpo: &'a Mpo,
        rows: Vec<TokenizedRow>,
        padding: Padding,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let dominant_gaps = match &mpo.dominant_gap {
            GapSource::Policy => None,
            GapSource::Constant(gap) => Some(vec![*gap as f32; rows.len()]),
            GapSource::Reference => {
                let pairs: Vec<_> = rows
                    .iter()
                    .map(|row| (&row.dominant, &row.origin))
                    .collect();
                Some(gaps(mpo, &pairs, reference)?)
            }
            GapSource::Language(code) => Some(gaps(mpo, &translations(&rows, code)?, reference)?),
        };
        let holding = Holding {
            retain: mpo.retain,
            padding,
        };
        let dominant: Vec<&TokenizedPair> = rows.iter().map(|row| &row.dominant).collect();
        Ok(Self {
            held: reference.held(&dominant, holding)?,
            mpo,
            dominant_gaps,
            rows,
        })
    }

    /// The retain losses of rows, `[rows]`, if anything is held.
    fn retain(
        &self,
        model: &CausalLm,
        held: &Held,
        hidden_states: &Tensor<2>,
        rows: &[usize],
    ) -> Option<Tensor<1>> {
        if self.mpo.retain == Retain::None {
            return None;
        }
        let states = held.states(hidden_states);
        let reference = self.held.states(rows);
        if self.mpo.retain == Retain::Kl {
            let policy = HeadInputs {
                hidden: states,
                head: model.head(),
            };
            let reference = HeadInputs {
                hidden: reference,
                head: self.held.head.clone(),
            };
            let kl = linear_kl(policy, reference, model.config().final_softcap);
            return Some(sequence_log_probs(kl, &held.lengths()).mean());
        }
        let elements = states.shape().num_elements() / rows.len();
        let flat = |states: Tensor<2>| states.reshape([rows.len(), elements]);
        Some(self.mpo.retain_losses(flat(states), flat(reference)))
    }
}

/// Whether MPO can be trained on these rows.
pub(super) fn check(mpo: &Mpo, rows: &[TokenizedRow]) -> Result<(), TrainError> {
    match &mpo.dominant_gap {
        GapSource::Language(code) => translations(rows, code).map(drop),
        _ => Ok(()),
    }
}

/// Reward gaps of pairs under the reference.
fn gaps(
    mpo: &Mpo,
    pairs: &[(&TokenizedPair, &Origin)],
    reference: &mut Reference<'_>,
) -> Result<Vec<f32>, TrainError> {
    let gap = |(sums, (pair, _)): (PairSums, &(&TokenizedPair, &Origin))| match mpo
        .length_normalized
    {
        true => {
            sums.chosen / pair.chosen().len() as f32 - sums.rejected / pair.rejected().len() as f32
        }
        false => sums.chosen - sums.rejected,
    };
    Ok(reference
        .pair_sums(pairs)?
        .into_iter()
        .zip(pairs)
        .map(gap)
        .collect())
}

/// For every row, the pair that says the same in this language: that of another row with the same dominant side.
fn translations<'r>(
    rows: &'r [TokenizedRow],
    code: &str,
) -> Result<Vec<(&'r TokenizedPair, &'r Origin)>, TrainError> {
    let expected = |what: String| TrainError::setting("dominant_gap", what, code);
    let language: Language = code
        .parse()
        .map_err(|_| expected("reference, policy, a number or a language's code".into()))?;
    let known: HashMap<&TokenizedPair, &TokenizedPair> = rows
        .iter()
        .filter(|row| row.language == language)
        .map(|row| (&row.dominant, &row.target))
        .collect();
    rows.iter()
        .map(|row| {
            let pair = match row.dominant_language == language {
                true => Some(&row.dominant),
                false => known.get(&row.dominant).copied(),
            };
            pair.map(|pair| (pair, &row.origin)).ok_or_else(|| {
                expected(format!(
                    "a language that every prompt is translated to (that of {} is not)",
                    row.origin
                ))
            })
        })
        .collect()
}

impl Task for BilingualTask<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, row: usize) -> usize {
        let row = &self.rows[row];
        let dominant = match self.dominant_gaps {
            Some(_) => 0,
            None => row.dominant.tokens(),
        };
        row.target.tokens() + dominant.max(self.held.holding.tokens(&row.dominant))
    }

    fn losses(&self, model: &CausalLm, rows: &[usize], _: &Shared) -> MicroBatch {
        let mut packer = Packer::default();
        let targets: Vec<_> = rows
            .iter()
            .map(|&row| packer.pair(&self.rows[row].target))
            .collect();
        let mut held = self.held.holding.collect();
        let mut dominants = vec![];
        for &row in rows {
            let dominant = &self.rows[row].dominant;
            match self.dominant_gaps {
                Some(_) => held.pack(&mut packer, dominant),
                None => {
                    let pair = packer.pair(dominant);
                    held.add(&mut packer, &pair);
                    dominants.push(pair);
                }
            }
        }
        let hidden_states = packer.hidden_states(model);
        let policy = packer.pair_scores(model, &hidden_states, &targets);
        let gap = self.mpo.gap(&policy);
        let dominant_gap = match &self.dominant_gaps {
            Some(gaps) => {
                let gaps: Vec<f32> = rows.iter().map(|&row| gaps[row]).collect();
                Tensor::from_data(TensorData::new(gaps, [rows.len()]), &gap.device())
            }
            None => self
                .mpo
                .gap(&packer.pair_scores(model, &hidden_states, &dominants)),
        };
        let gap_losses = self.mpo.gap_losses(gap, dominant_gap.clone());
        // MPO's implicit reward: β times the mean log-prob a token, without a reference.
        let rewards = |mean: Tensor<1>| mean.mul_scalar(self.mpo.beta);
        let (chosen, rejected) = (policy.chosen.mean(), policy.rejected.mean());
        let mut columns = columns(&policy, rewards(chosen), rewards(rejected));
        columns.push(("rg/dominant", dominant_gap));
        columns.push(("loss/gap", gap_losses.clone()));
        let mut losses = gap_losses;
        if let Some(retain) = self.retain(model, &held, &hidden_states, rows) {
            columns.push(("loss/retain", retain.clone()));
            losses = losses + retain.mul_scalar(self.mpo.retain_weight);
        }
        MicroBatch { losses, columns }
    }

    fn describe(&self, row: usize) -> RowValues {
        let row = &self.rows[row];
        RowValues::new(Some(row.language), row.origin.to_string())
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for pair in self
            .rows
            .iter()
            .flat_map(|row| [&row.dominant, &row.target])
        {
            hasher.update(&digest(&[pair.prompt(), pair.chosen(), pair.rejected()]));
        }
        let padding = self.held.holding.padding;
        format!("bilingual {padding:?} {}", hasher.finalize())
    }
}
