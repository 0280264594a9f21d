//! Reward gaps of a model on preference rows, without training.

use burn::module::Module;
use mpo_data::{Language, TokenizedPair};
use mpo_models::CausalLm;

use crate::error::TrainError;
use crate::pack::Packer;
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
    /// Mean log p(chosen) − mean log p(rejected), nats a token (MPO, eq. 4).
    pub fn reward_gap(&self) -> f64 {
        let mean = |(sum, tokens): (f64, usize)| sum / tokens as f64;
        mean(self.chosen) - mean(self.rejected)
    }
}

/// Scores pairs, as many at a time as hold `max_tokens` tokens (at least one). `progress` is told rows done and says
/// whether to go on.
///
/// # Errors
/// If `progress` says stop.
pub fn score_rows(
    model: &CausalLm,
    rows: &[(Language, TokenizedPair)],
    max_tokens: usize,
    mut progress: impl FnMut(usize) -> bool,
) -> Result<Vec<ScoredRow>, TrainError> {
    let model = model.valid();
    let mut scored: Vec<ScoredRow> = vec![];
    while scored.len() < rows.len() {
        if !progress(scored.len()) {
            return Err(TrainError::Interrupted);
        }
        let (mut packer, mut pairs, mut tokens) = (Packer::default(), vec![], 0);
        for (_, pair) in &rows[scored.len()..] {
            let size = pair.tokens();
            if tokens > 0 && tokens + size > max_tokens {
                break;
            }
            tokens += size;
            pairs.push(packer.pair(pair));
        }
        let states = packer.hidden_states(&model);
        let scores = packer.pair_scores(&model, &states, &pairs);
        let sums = values(scores.chosen.sum)
            .into_iter()
            .zip(values(scores.rejected.sum));
        for (chosen, rejected) in sums {
            let (language, pair) = &rows[scored.len()];
            scored.push(ScoredRow {
                language: *language,
                chosen: (f64::from(chosen), pair.chosen().len()),
                rejected: (f64::from(rejected), pair.rejected().len()),
            });
        }
    }
    progress(rows.len());
    Ok(scored)
}
