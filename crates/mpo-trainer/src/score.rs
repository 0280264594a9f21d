//! Reward gaps of a model on preference rows, without training.

use burn::module::Module;
use mpo_collective::{Alone, Collective};
use mpo_data::{Language, LanguagePair};
use mpo_models::{Batch, CausalLm};
use mpo_progress::Stage;

use crate::error::TrainError;
use crate::pairs::{PairParts, PairScores, chunks};
use crate::ranks::{merged, own_share};
use crate::reference::values;

/// A pair's score under one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredRow {
    /// The pair's language.
    pub language: Language,
    /// Σ log p of the safe answer, nats, and its tokens.
    pub chosen: (f64, usize),
    /// The same of the unsafe answer.
    pub rejected: (f64, usize),
}

impl ScoredRow {
    /// Mean log p(chosen) − mean log p(rejected), nats per token (MPO, eq. 4).
    pub fn reward_gap(&self) -> f64 {
        let mean = |(sum, tokens): (f64, usize)| sum / tokens as f64;
        mean(self.chosen) - mean(self.rejected)
    }
}

/// Scores pairs, each a part of `stage`, as many at a time as hold `max_tokens` tokens (at least one).
///
/// # Errors
/// If `stage` is stopped.
pub fn score_rows(
    model: &CausalLm,
    rows: &[LanguagePair],
    max_tokens: usize,
    stage: &dyn Stage,
) -> Result<Vec<ScoredRow>, TrainError> {
    score_rows_among(&Alone, model, rows, max_tokens, stage)
}

/// The same by several ranks, each of which scores a share of the rows, and knows the scores of all.
///
/// # Errors
/// If `stage` is stopped, on any rank.
pub fn score_rows_among(
    ranks: &dyn Collective,
    model: &CausalLm,
    rows: &[LanguagePair],
    max_tokens: usize,
    stage: &dyn Stage,
) -> Result<Vec<ScoredRow>, TrainError> {
    let model = model.valid();
    let own = own_share(ranks, rows, |row| row.pair.tokens());
    let (mut sums, mut is_stopped) = (vec![], false);
    for part in chunks(own, max_tokens, |row| row.pair.tokens()) {
        is_stopped |= stage.is_stopped();
        if is_stopped {
            break;
        }
        let mut batch = Batch::default();
        let pairs: Vec<PairParts> = part.iter().map(|row| PairParts::add(&mut batch, &row.pair)).collect();
        let scores = PairScores::want(&mut batch, &pairs);
        let scores = scores.of(&model.forward(&batch));
        let pairs = values(scores.chosen.sum).into_iter().zip(values(scores.rejected.sum));
        sums.extend(pairs.flat_map(|(chosen, rejected)| [chosen, rejected]).map(f64::from));
        stage.advance(part.len());
    }
    if ranks.any(is_stopped) {
        return Err(TrainError::Interrupted);
    }
    stage.advance(rows.len() - own.len());
    let sums = merged(ranks, sums);
    let (sums, _) = sums.as_chunks::<2>();
    let scored = rows.iter().zip(sums).map(|(row, [chosen, rejected])| ScoredRow {
        language: row.language,
        chosen: (*chosen, row.pair.chosen().len()),
        rejected: (*rejected, row.pair.rejected().len()),
    });
    Ok(scored.collect())
}
