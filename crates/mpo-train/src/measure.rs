//! Measuring a model's reward gaps: on which pairs, and with a bar.

use mpo_data::{Language, LanguagePair};
use mpo_eval::{LanguageGap, by_language};
use mpo_models::CausalLm;
use mpo_trainer::{ScoredRow, TrainError, TrainingRows, score_rows};

use crate::data::evenly;
use crate::failure::Failure;
use crate::session::Session;

/// Pairs to measure reward gaps on.
#[derive(Debug)]
pub(crate) struct EvalSet {
    pub(crate) pairs: Vec<LanguagePair>,
    /// The language that comes first.
    pub(crate) dominant: Option<Language>,
}

impl EvalSet {
    /// At most `limit` rows, evenly over languages. Of bilingual ones the target sides, and their dominant sides, each
    /// once however many languages it was translated to. Single answers have no gaps.
    pub(crate) fn new(rows: &TrainingRows, limit: usize, dominant: Option<Language>) -> Self {
        let pairs = match rows {
            TrainingRows::Bilingual(rows) => LanguagePair::of_rows(&evenly(rows.clone(), limit, |row| row.language)),
            TrainingRows::Monolingual(pairs) => evenly(pairs.clone(), limit, |row| row.language),
            TrainingRows::Unpaired(_) => vec![],
        };
        Self { pairs, dominant }
    }

    /// Identifies the pairs, in their order.
    pub(crate) fn digest(&self) -> String {
        TrainingRows::Monolingual(self.pairs.clone()).digest()
    }

    /// Measures `model`, as many pairs at a time as hold `max_tokens` tokens.
    pub(crate) fn measure(
        &self,
        model: &CausalLm,
        max_tokens: usize,
        what: &'static str,
        session: &Session,
    ) -> Result<Vec<LanguageGap>, Failure> {
        let scored = self.scores(model, max_tokens, what, session)?;
        Ok(by_language(&scored, self.dominant))
    }

    /// The score of every pair; all are finite.
    pub(crate) fn scores(
        &self,
        model: &CausalLm,
        max_tokens: usize,
        what: &'static str,
        session: &Session,
    ) -> Result<Vec<ScoredRow>, Failure> {
        let bar = session.bar(what, self.pairs.len());
        let scored = score_rows(model, &self.pairs, max_tokens, |done| {
            bar.set_position(done as u64);
            !session.stopped()
        })?;
        for (row, pair) in scored.iter().zip(&self.pairs) {
            if !row.reward_gap().is_finite() {
                return Err(Failure::Train(TrainError::NotFinite {
                    what: "the reward gap",
                    value: row.reward_gap(),
                    row: pair.origin.to_string(),
                }));
            }
        }
        Ok(scored)
    }
}

#[cfg(test)]
mod tests {
    use mpo_data::{Origin, Position, TokenizedPair, TokenizedRow};

    use super::*;

    /// A row in `language` whose dominant prompt is the token `prompt`.
    fn row(language: &str, prompt: u32) -> TokenizedRow {
        let origin = Origin { file: "f".into(), position: Position::Row(1) };
        let pair = |id| TokenizedPair::new(&origin, vec![id], vec![1], vec![2]).unwrap();
        TokenizedRow {
            dominant: pair(prompt),
            target: pair(100 + prompt),
            dominant_language: "en".parse().unwrap(),
            language: language.parse().unwrap(),
            origin: origin.clone(),
        }
    }

    #[test]
    fn a_dominant_side_is_measured_once() {
        let rows = vec![row("sw", 7), row("sw", 8), row("bn", 7), row("bn", 8)];
        let rows = TrainingRows::Bilingual(rows);
        let languages = |limit| {
            let set = EvalSet::new(&rows, limit, None);
            let codes: Vec<_> = set.pairs.iter().map(|row| row.language.to_string()).collect();
            codes.join(" ")
        };
        assert_eq!(languages(4), "sw sw bn bn en en");
        assert_eq!(languages(2), "sw bn en");
        assert_eq!(languages(0), "");
    }
}
