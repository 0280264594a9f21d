//! Measuring a model's reward gaps: on which pairs.

use mpo_collective::{Alone, Collective};
use mpo_data::{Language, LanguagePair, TokenizedRows};
use mpo_models::CausalLm;
use mpo_progress::Progress;
use mpo_trainer::{ScoredRow, TrainError, digest_rows, score_rows_among};

use crate::reward_gap::{LanguageGap, by_language};

/// Pairs to measure reward gaps on.
#[derive(Debug)]
pub struct EvalSet {
    /// The pairs.
    pub pairs: Vec<LanguagePair>,
    /// The language that comes first.
    pub dominant: Option<Language>,
}

impl EvalSet {
    /// At most `limit` rows, evenly over languages. Of bilingual ones the target sides, and their dominant sides, each
    /// once however many languages it was translated to. Single answers have no gaps.
    pub fn new(rows: &TokenizedRows, limit: usize, dominant: Option<Language>) -> Self {
        let pairs = rows.some(limit).into_pairs().unwrap_or_default();
        Self { pairs, dominant }
    }

    /// Identifies the pairs, in their order.
    pub fn digest(&self) -> String {
        digest_rows(&TokenizedRows::Monolingual(self.pairs.clone()))
    }

    /// Measures `model` as the stage `what`, as many pairs at a time as hold `max_tokens` tokens.
    ///
    /// # Errors
    /// If a gap is not finite, or the work is stopped.
    pub fn measure(
        &self,
        model: &CausalLm,
        max_tokens: usize,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<LanguageGap>, TrainError> {
        let scored = self.scores(model, max_tokens, what, progress)?;
        Ok(by_language(&scored, self.dominant))
    }

    /// The score of every pair; all are finite.
    ///
    /// # Errors
    /// Those of [`measure`](Self::measure).
    pub fn scores(
        &self,
        model: &CausalLm,
        max_tokens: usize,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<ScoredRow>, TrainError> {
        self.scores_among(&Alone, model, max_tokens, what, progress)
    }

    /// The same by several ranks, which share the pairs.
    ///
    /// # Errors
    /// Those of [`scores`](Self::scores).
    pub fn scores_among(
        &self,
        ranks: &dyn Collective,
        model: &CausalLm,
        max_tokens: usize,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<ScoredRow>, TrainError> {
        let stage = progress.begin(what, Some(self.pairs.len()));
        let scored = score_rows_among(ranks, model, &self.pairs, max_tokens, &*stage)?;
        for (row, pair) in scored.iter().zip(&self.pairs) {
            if !row.reward_gap().is_finite() {
                return Err(TrainError::NotFinite {
                    what: "the reward gap",
                    value: row.reward_gap(),
                    row: pair.origin.to_string(),
                });
            }
        }
        Ok(scored)
    }
}
