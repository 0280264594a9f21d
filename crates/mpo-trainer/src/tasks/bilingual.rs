//! Pairs in two languages: what the loss asks for of the policy and of the reference, and no more.

use std::collections::HashMap;

use burn::tensor::Tensor;
use mpo_data::{Language, Origin, TokenizedPair, TokenizedRow};
use mpo_kernels::{HeadInputs, linear_kl, sequence_log_probs};
use mpo_models::{Batch, Outputs};
use mpo_objectives::{BilingualLoss, BilingualNeeds, BilingualScores, Held, Hold, ReferencePairs, sft_losses};

use super::pairs::columns;
use super::{MicroBatch, Task, Work};
use crate::error::TrainError;
use crate::events::RowValues;
use crate::memory::RowSize;
use crate::pairs::{PairParts, PairScores};
use crate::reference::{HeldReference, HeldStates, Holding, KnownPairs, Reference, digest, held_states, held_tokens};

/// Bilingual rows and the reference's numbers for them.
#[derive(Debug)]
pub(super) struct BilingualTask<'a> {
    loss: &'a dyn BilingualLoss,
    needs: BilingualNeeds,
    /// Weight of the safe target answers' likelihood beside the loss.
    sft_weight: f64,
    rows: Vec<TokenizedRow>,
    /// The reference's scores of target pairs.
    reference_target: Option<KnownPairs>,
    /// The reference's scores of the pairs that the loss names.
    reference: Option<KnownPairs>,
    held: Option<HeldReference>,
}

impl<'a> BilingualTask<'a> {
    pub(super) fn new(
        loss: &'a dyn BilingualLoss,
        rows: Vec<TokenizedRow>,
        sft_weight: f64,
        pad_token: u32,
        reference: &mut Reference<'_>,
    ) -> Result<Self, TrainError> {
        let needs = loss.needs();
        let dominant: Vec<&TokenizedPair> = rows.iter().map(|row| &row.dominant).collect();
        let named = match &needs.reference {
            None => None,
            Some(ReferencePairs::Dominant) => Some(rows.iter().map(|row| (&row.dominant, &row.origin)).collect()),
            Some(ReferencePairs::Language(code)) => Some(translations(&rows, code)?),
        };
        let holding = needs.held.map(|hold| Holding { hold, pad_token });
        Ok(Self {
            loss,
            reference_target: if needs.reference_target {
                let targets: Vec<_> = rows.iter().map(|row| (&row.target, &row.origin)).collect();
                Some(reference.pairs(&targets)?)
            } else {
                None
            },
            reference: named.map(|pairs| reference.pairs(&pairs)).transpose()?,
            held: holding.map(|holding| reference.held(&dominant, holding)).transpose()?,
            needs,
            sft_weight,
            rows,
        })
    }
}

/// How much of a row passes through the model for a loss with these needs.
pub(super) fn size(needs: &BilingualNeeds, row: &TokenizedRow) -> RowSize {
    let TokenizedRow { dominant, target, .. } = row;
    let answers = |pair: &TokenizedPair| pair.tokens() - pair.prompt().len();
    let held = needs.held.map_or(0, |hold| held_tokens(hold, dominant));
    let (tokens, scored) = if needs.dominant { (dominant.tokens(), answers(dominant)) } else { (0, 0) };
    RowSize {
        tokens: target.tokens() + tokens.max(held),
        scored: answers(target) + scored,
        compared: if needs.held == Some(Hold::Distributions) { answers(dominant) } else { 0 },
        held: needs.held.map_or(0, |hold| held_states(hold, dominant)),
    }
}

/// Whether a loss can be trained on these rows.
pub(super) fn check(loss: &dyn BilingualLoss, rows: &[TokenizedRow]) -> Result<(), TrainError> {
    match loss.needs().reference {
        Some(ReferencePairs::Language(code)) => translations(rows, &code).map(drop),
        _ => Ok(()),
    }
}

/// For every row, the pair that says the same in this language: that of another row with the same dominant side.
fn translations<'r>(rows: &'r [TokenizedRow], code: &str) -> Result<Vec<(&'r TokenizedPair, &'r Origin)>, TrainError> {
    let expected = |what: String| TrainError::setting("dominant_gap", what, code);
    let language: Language =
        code.parse().map_err(|_| expected("reference, policy, a number or a language's code".into()))?;
    let known: HashMap<&TokenizedPair, &TokenizedPair> =
        rows.iter().filter(|row| row.language == language).map(|row| (&row.dominant, &row.target)).collect();
    rows.iter()
        .map(|row| {
            let pair =
                if row.dominant_language == language { Some(&row.dominant) } else { known.get(&row.dominant).copied() };
            pair.map(|pair| (pair, &row.origin)).ok_or_else(|| {
                expected(format!("a language that every prompt is translated to (that of {} is not)", row.origin))
            })
        })
        .collect()
}

/// What is held of both models.
fn held(reference: &HeldReference, wanted: &HeldStates, rows: &[usize], outputs: &Outputs) -> Held {
    let policy = outputs.states(wanted.states);
    let constant = reference.states(rows, &policy.device());
    if let Some(reference_head) = &reference.head {
        let head = outputs.head();
        let policy = head.inputs(policy);
        let reference_head = reference_head.clone();
        // Where nothing is trained, no tensor may ask for gradients.
        let is_training = policy.hidden.is_autodiff();
        let reference_head = if is_training { reference_head } else { reference_head.without_autodiff() };
        // As the policy's are given to the head: scaled where the model scales its logits.
        let reference = HeadInputs { hidden: head.given(constant).cast(policy.hidden.dtype()), head: reference_head };
        let kl = linear_kl(policy, reference, head.softcap);
        return Held::Divergence(sequence_log_probs(kl, &wanted.lengths).mean());
    }
    let elements = policy.shape().num_elements() / rows.len();
    let flat = |states: Tensor<2>| states.reshape([rows.len(), elements]);
    Held::States { policy: flat(policy), reference: flat(constant) }
}

impl Task for BilingualTask<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, row: usize) -> usize {
        size(&self.needs, &self.rows[row]).tokens
    }

    fn losses<'t>(&'t self, rows: &'t [usize], _: Option<f64>) -> Work<'t, MicroBatch> {
        let mut batch = Batch::default();
        let of = |row: &usize| &self.rows[*row];
        let targets: Vec<PairParts> = rows.iter().map(|row| PairParts::add(&mut batch, &of(row).target)).collect();
        let mut states = self.held.as_ref().map(|held| held.holding.collect(held.encodes));
        let mut dominants = vec![];
        for row in rows {
            let dominant = &of(row).dominant;
            if self.needs.dominant {
                let pair = PairParts::add(&mut batch, dominant);
                dominants.push(pair);
                if let Some(states) = &mut states {
                    states.add(&mut batch, &pair);
                }
            } else if let Some(states) = &mut states {
                states.pack(&mut batch, dominant);
            }
        }
        let targets = PairScores::want(&mut batch, &targets);
        let dominants = if self.needs.dominant { Some(PairScores::want(&mut batch, &dominants)) } else { None };
        let states = states.map(|states| states.want(&mut batch));
        Work::new(batch, move |outputs: &Outputs| {
            let target = targets.of(outputs);
            let device = target.chosen.sum.device();
            let known = |pairs: &Option<KnownPairs>| {
                let pairs = pairs.as_ref();
                pairs.map(|pairs| pairs.scores(rows, &device))
            };
            let scores = BilingualScores {
                dominant: dominants.map(|dominants| dominants.of(outputs)),
                reference_target: known(&self.reference_target),
                reference: known(&self.reference),
                held: self.held.as_ref().zip(states).map(|(reference, wanted)| held(reference, &wanted, rows, outputs)),
                target,
            };
            let made = self.loss.losses(&scores);
            let mut columns = columns(&scores.target, made.chosen_rewards, made.rejected_rewards);
            columns.extend(made.columns);
            MicroBatch { losses: sft_losses(made.losses, &scores.target.chosen, self.sft_weight), columns }
        })
    }

    fn describe(&self, row: usize) -> RowValues {
        let row = &self.rows[row];
        RowValues::new(Some(row.language), row.origin.to_string())
    }

    fn fingerprint(&self) -> String {
        let holding = self.held.as_ref().map(|held| held.holding);
        format!("bilingual {holding:?} {}", digest_sides(&self.rows))
    }
}

/// Identifies the token ids of both sides of rows.
pub(super) fn digest_sides(rows: &[TokenizedRow]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for pair in rows.iter().flat_map(|row| [&row.dominant, &row.target]) {
        hasher.update(&digest(&[pair.prompt(), pair.chosen(), pair.rejected()]));
    }
    hasher.finalize()
}
