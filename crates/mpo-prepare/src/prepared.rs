//! What came of it: how many rows there are in each language, and why the others are not there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mpo_data::Language;
use serde::Serialize;

use crate::dropped::{Dropped, Reason};
use crate::refusal::Answers;
use crate::translate::Tally;

/// Where rows came from and by whom.
#[derive(Debug, Clone, Serialize)]
pub struct Sources {
    /// The model, as it was asked for.
    pub model: String,
    /// Its content hash.
    pub model_hash: String,
    /// The rows that were read.
    pub data: PathBuf,
    /// Rows that were read.
    pub read: usize,
    /// Rows that the reader dropped.
    pub dropped: usize,
    /// Settings that decide the rows, by name.
    pub settings: BTreeMap<&'static str, String>,
}

/// What became of the prompts in one language: `prompts` is `kept` and all that is `dropped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LanguageCounts {
    /// The target language.
    pub language: Language,
    /// Prompts with a bad answer.
    pub prompts: usize,
    /// Rows made of them.
    pub kept: usize,
    /// Those of which no row was made, by reason.
    pub dropped: BTreeMap<Reason, usize>,
    /// Where the kept rows' parts on the target side came from, `data` or a translator.
    pub chosen_from: BTreeMap<&'static str, usize>,
    /// The same of prompts.
    pub prompt_from: BTreeMap<&'static str, usize>,
    /// The same of bad answers.
    pub rejected_from: BTreeMap<&'static str, usize>,
    /// Whether detection knows the language, so that translations were checked for it.
    pub is_detected: bool,
}

/// Everything that was made, and everything that was not.
#[derive(Debug, Clone, Serialize)]
pub struct Prepared {
    /// Where it came from.
    #[serde(flatten)]
    pub sources: Sources,
    /// The language of prompts and refusals.
    pub dominant: Language,
    /// Who judged whether an answer refuses.
    pub judge: String,
    /// Rows that add neither a prompt nor a language to one, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// What the model said.
    pub answers: Answers,
    /// What became of it, by language.
    pub languages: Vec<LanguageCounts>,
    /// What translators did.
    pub translators: Vec<Tally>,
    /// The first rows that were not made, of each language and reason.
    pub examples: Vec<Dropped>,
}

impl Prepared {
    /// Rows in all languages.
    pub fn kept(&self) -> usize {
        self.languages.iter().map(|of| of.kept).sum()
    }

    /// The reasons that there are, in the order of the steps.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> + '_ {
        let is_there = |reason: &Reason| self.languages.iter().any(|of| of.dropped.contains_key(reason));
        Reason::ALL.into_iter().filter(is_there)
    }
}
