//! Reward gaps of a model on preference rows, without training.

use burn::module::Module;
use mpo_data::{Language, LanguagePair};
use mpo_models::{Batch, CausalLm};
use mpo_progress::Stage;

use crate::error::TrainError;
use crate::pairs::{PairParts, PairScores, chunks};
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
    let model = model.valid();
    let mut scored: Vec<ScoredRow> = vec![];
    for part in chunks(rows, max_tokens, |row| row.pair.tokens()) {
        if stage.is_stopped() {
            return Err(TrainError::Interrupted);
        }
        let mut batch = Batch::default();
        let pairs: Vec<PairParts> = part.iter().map(|row| PairParts::add(&mut batch, &row.pair)).collect();
        let scores = PairScores::want(&mut batch, &pairs);
        let scores = scores.of(&model.forward(&batch));
        let sums = values(scores.chosen.sum).into_iter().zip(values(scores.rejected.sum));
        for (row, (chosen, rejected)) in part.iter().zip(sums) {
            scored.push(ScoredRow {
                language: row.language,
                chosen: (f64::from(chosen), row.pair.chosen().len()),
                rejected: (f64::from(rejected), row.pair.rejected().len()),
            });
        }
        stage.advance(part.len());
    }
    Ok(scored)
}
