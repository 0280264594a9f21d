//! What came of it: how many rows there are in each language, and why the others are not there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mpo_data::Language;
use serde::Serialize;

use crate::answers::Answers;
use crate::benign::BenignPrompts;
use crate::dropped::{Dropped, Reason};
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
    /// Prompts with a bad answer, or benign ones.
    pub prompts: usize,
    /// Those that rows were made of.
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

/// What became of benign prompts.
#[derive(Debug, Clone, Serialize)]
pub struct BenignCounts {
    /// The file of prompts.
    pub data: PathBuf,
    /// Prompts in it, each once for all its languages.
    pub prompts: usize,
    /// The model's answers to them, in all languages.
    pub answers: usize,
    /// Tokens of these.
    pub tokens: u64,
    /// What became of the prompts, by language.
    pub languages: Vec<LanguageCounts>,
}

impl BenignCounts {
    pub(crate) fn new(of: &BenignPrompts) -> Self {
        Self { data: of.path.clone(), prompts: of.cases.len(), answers: 0, tokens: 0, languages: vec![] }
    }
}

/// Everything that was made, and everything that was not.
#[derive(Debug, Clone, Serialize)]
pub struct Prepared {
    /// Where it came from.
    #[serde(flatten)]
    pub sources: Sources,
    /// How many rows a prompt that is kept becomes, if several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_of_prompt: Option<usize>,
    /// The language of prompts and refusals.
    pub dominant: Language,
    /// Who judged whether an answer refuses, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// Rows that add neither a prompt nor a language to one, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// What the model said.
    pub answers: Answers,
    /// What became of it, by language.
    pub languages: Vec<LanguageCounts>,
    /// What became of benign prompts, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benign: Option<BenignCounts>,
    /// What translators did.
    pub translators: Vec<Tally>,
    /// The first rows that were not made, of each language and reason.
    pub examples: Vec<Dropped>,
}

impl Prepared {
    /// Rows in all languages.
    pub fn kept(&self) -> usize {
        self.lines().map(|(of, _)| of.kept).sum::<usize>() * self.rows_of_prompt.unwrap_or(1)
    }

    /// What became of the prompts in each language, and whether these are benign ones.
    pub fn lines(&self) -> impl Iterator<Item = (&LanguageCounts, bool)> {
        let benign = self.benign.iter().flat_map(|benign| &benign.languages);
        self.languages.iter().map(|of| (of, false)).chain(benign.map(|of| (of, true)))
    }

    /// The reasons that there are, in the order of the steps.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> + '_ {
        let is_there = |reason: &Reason| self.lines().any(|(of, _)| of.dropped.contains_key(reason));
        Reason::ALL.into_iter().filter(is_there)
    }
}
