//! Measuring a model's reward gaps: on which pairs, and with a bar.

use std::collections::HashSet;

use mpo_data::{Language, MonolingualPair, Origin, TokenizedPair, TokenizedRow};
use mpo_eval::{LanguageGap, by_language};
use mpo_models::CausalLm;
use mpo_trainer::{TrainError, score_rows};

use crate::data::evenly;
use crate::failure::Failure;
use crate::model_folder::BilingualRows;
use crate::session::Session;

/// Pairs to measure reward gaps on.
#[derive(Debug, Default)]
pub(crate) struct EvalSet {
    pairs: Vec<(Language, TokenizedPair)>,
    /// Where each pair came from.
    origins: Vec<Origin>,
    dominant: Option<Language>,
}

impl EvalSet {
    /// The target sides of at most `limit` rows, evenly over languages, and their dominant sides, each once however
    /// many languages it was translated to.
    pub(crate) fn bilingual(
        rows: &BilingualRows,
        limit: usize,
        dominant: Option<Language>,
    ) -> Self {
        let all: Vec<(&TokenizedRow, &Language)> = rows.rows.iter().zip(&rows.dominants).collect();
        let picked = evenly(all, limit, |(row, _)| row.language);
        let mut set = Self {
            dominant,
            ..Self::default()
        };
        for (row, _) in &picked {
            set.push(row.language, &row.target, &row.origin);
        }
        let mut seen = HashSet::new();
        for (row, language) in picked {
            if seen.insert((language, &row.dominant)) {
                set.push(*language, &row.dominant, &row.origin);
            }
        }
        set
    }

    /// Single pairs and their ids, one each.
    pub(crate) fn monolingual(
        pairs: &[MonolingualPair],
        ids: &[TokenizedPair],
        dominant: Option<Language>,
    ) -> Self {
        let mut set = Self {
            dominant,
            ..Self::default()
        };
        for (pair, ids) in pairs.iter().zip(ids) {
            set.push(pair.pair.language(), ids, &pair.origin);
        }
        set
    }

    /// The language that comes first.
    pub(crate) fn dominant(&self) -> Option<Language> {
        self.dominant
    }

    fn push(&mut self, language: Language, pair: &TokenizedPair, origin: &Origin) {
        self.pairs.push((language, pair.clone()));
        self.origins.push(origin.clone());
    }

    /// Measures `model`, as many pairs at a time as hold `max_tokens` tokens.
    pub(crate) fn measure(
        &self,
        model: &CausalLm,
        max_tokens: usize,
        what: &'static str,
        session: &Session,
    ) -> Result<Vec<LanguageGap>, Failure> {
        let bar = session.bar(what, self.pairs.len());
        let scored = score_rows(model, &self.pairs, max_tokens, |done| {
            bar.set_position(done as u64);
            !session.stopped()
        })?;
        for (row, origin) in scored.iter().zip(&self.origins) {
            if !row.reward_gap().is_finite() {
                return Err(Failure::Train(TrainError::NotFinite {
                    what: "the reward gap",
                    value: row.reward_gap(),
                    row: origin.to_string(),
                }));
            }
        }
        Ok(by_language(&scored, self.dominant))
    }
}

#[cfg(test)]
mod tests {
    use mpo_data::{Position, TruncationReport};

    use super::*;

    /// A row in `language` whose dominant prompt is the token `prompt`.
    fn row(language: &str, prompt: u32) -> TokenizedRow {
        let origin = Origin {
            file: "f".into(),
            position: Position::Row(1),
        };
        let pair = |id| TokenizedPair::new(&origin, vec![id], vec![1], vec![2]).unwrap();
        TokenizedRow {
            dominant: pair(prompt),
            target: pair(100 + prompt),
            language: language.parse().unwrap(),
            origin: origin.clone(),
        }
    }

    #[test]
    fn a_dominant_side_is_measured_once() {
        let rows = vec![row("sw", 7), row("sw", 8), row("bn", 7), row("bn", 8)];
        let rows = BilingualRows {
            dominants: vec!["en".parse().unwrap(); rows.len()],
            rows,
            truncation: TruncationReport::default(),
        };
        let languages = |limit| {
            let set = EvalSet::bilingual(&rows, limit, None);
            assert_eq!(set.pairs.len(), set.origins.len());
            let codes: Vec<_> = set.pairs.iter().map(|(code, _)| code.to_string()).collect();
            codes.join(" ")
        };
        assert_eq!(languages(4), "sw sw bn bn en en");
        assert_eq!(languages(2), "sw bn en");
        assert_eq!(languages(0), "");
    }
}
