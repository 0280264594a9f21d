//! `results.json`, which a run writes when it is finished and not before, and the report reads.

use std::collections::BTreeMap;

use mpo_data::Language;
use mpo_objectives::GapSource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compare::RunResult;
use crate::reward_gap::LanguageGap;

/// What a training run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainResults {
    /// Steps taken.
    pub steps: u64,
    /// The step whose weights were kept, where a later one was no better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<u64>,
    /// The language the others were aligned to.
    pub dominant: Option<Language>,
    /// What gaps were drawn towards, where that was not the dominant language's gap before training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn_to: Option<GapSource>,
    /// What training changed.
    pub reward_gap: RewardGaps,
}

/// The reward gap of every language, the dominant one first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardGaps {
    /// Of the model training began with.
    pub before: Vec<LanguageGap>,
    /// Of the model it ended with.
    pub after: Vec<LanguageGap>,
}

/// What the miniature found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MiniatureResults {
    /// The language the others were aligned to.
    pub dominant: Language,
    /// By ISO code.
    pub languages: BTreeMap<Language, MiniatureLanguage>,
}

/// What training changed for one language, on held-out prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MiniatureLanguage {
    /// Mean log p(refusal) − mean log p(compliance) on unsafe prompts, nats per token.
    pub reward_gap: Change,
    /// Unsafe prompts refused, a fraction.
    pub refusal_rate: Change,
    /// Benign prompts answered, a fraction.
    pub benign_answer_rate: Change,
}

/// A number before and after training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Of the model training began with.
    pub before: f64,
    /// Of the model it ended with.
    pub after: f64,
}

impl MiniatureResults {
    /// The languages, the dominant one first.
    pub fn in_order(&self) -> Vec<(Language, &MiniatureLanguage)> {
        let mut languages: Vec<_> = self.languages.iter().map(|(language, of)| (*language, of)).collect();
        languages.sort_by_key(|(language, _)| *language != self.dominant);
        languages
    }
}

/// What a run of any kind found.
#[derive(Debug)]
pub(crate) enum RunResults {
    Trained(TrainResults),
    Miniature(MiniatureResults),
    /// A run of a comparison, whose marks the comparison shows.
    Compared(RunResult),
}

impl RunResults {
    /// Of the text of a file.
    pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Self> {
        let value: Value = serde_json::from_slice(text)?;
        if value.get("reward_gap").is_some() {
            serde_json::from_value(value).map(Self::Trained)
        } else if value.get("languages").is_some() {
            serde_json::from_value(value).map(Self::Miniature)
        } else {
            serde_json::from_value(value).map(Self::Compared)
        }
    }

    /// Steps taken; the miniature does not say.
    pub(crate) fn steps(&self) -> Option<u64> {
        match self {
            Self::Trained(results) => Some(results.steps),
            Self::Compared(results) => Some(results.steps),
            Self::Miniature(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_known_for_what_it_is() {
        let language: Language = "sw".parse().unwrap();
        let gap = LanguageGap {
            language,
            mean: 0.1 + 0.2,
            half_width: None,
            rows: 1,
            accuracy: 1.0,
            chosen_mean: -1.0,
            rejected_mean: -1.3,
        };
        let trained = TrainResults {
            steps: 3,
            best: Some(2),
            dominant: None,
            drawn_to: Some(GapSource::Constant(1.5)),
            reward_gap: RewardGaps { before: vec![gap], after: vec![gap] },
        };
        let text = serde_json::to_vec(&trained).unwrap();
        let read = RunResults::parse(&text).unwrap();
        assert_eq!(read.steps(), Some(3));
        assert!(matches!(read, RunResults::Trained(read) if read == trained));
        let change = Change { before: 0.25, after: 0.1 + 0.2 };
        let of = MiniatureLanguage { reward_gap: change, refusal_rate: change, benign_answer_rate: change };
        let miniature = MiniatureResults { dominant: language, languages: BTreeMap::from([(language, of)]) };
        let text = serde_json::to_vec(&miniature).unwrap();
        assert!(matches!(RunResults::parse(&text).unwrap(), RunResults::Miniature(read) if read == miniature));
        let compared =
            RunResult { exam: "ab".into(), steps: 7, seconds: 0.5, failure: None, test: vec![], validation: vec![] };
        let text = serde_json::to_vec(&compared).unwrap();
        assert_eq!(RunResults::parse(&text).unwrap().steps(), Some(7));
        assert!(RunResults::parse(b"{}").is_err());
    }
}
