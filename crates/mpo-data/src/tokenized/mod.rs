//! Rows as token ids.

mod note;
mod report;
mod rows;
mod tokenize;

use crate::error::DataError;
use crate::language::Language;
use crate::pair::Origin;
pub use note::Note;
pub use report::{GoodAnswers, TruncationReport};
pub use rows::TokenizedRows;
pub use tokenize::TokenizeOptions;

/// A prompt and its two responses, none of them empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenizedPair {
    prompt: Vec<u32>,
    chosen: Vec<u32>,
    rejected: Vec<u32>,
    is_benign: bool,
}

impl TokenizedPair {
    /// Makes the pair; `origin` names the row in an error.
    ///
    /// # Errors
    /// If a part is empty.
    pub fn new(origin: &Origin, prompt: Vec<u32>, chosen: Vec<u32>, rejected: Vec<u32>) -> Result<Self, DataError> {
        let parts = [("prompt", &prompt), ("chosen answer", &chosen), ("rejected answer", &rejected)];
        not_empty(origin, parts)?;
        Ok(Self { prompt, chosen, rejected, is_benign: false })
    }

    /// The same with a prompt that is to be answered, if `is_benign`, instead of one to refuse.
    #[must_use]
    pub fn with_benign(self, is_benign: bool) -> Self {
        Self { is_benign, ..self }
    }

    /// Whether the prompt is to be answered and not refused, as its row says.
    pub fn is_benign(&self) -> bool {
        self.is_benign
    }

    /// The prompt, up to where the assistant begins to speak.
    pub fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// The answer to prefer, with the token that ends it unless it was cut.
    pub fn chosen(&self) -> &[u32] {
        &self.chosen
    }

    /// The answer to avoid, with the token that ends it unless it was cut.
    pub fn rejected(&self) -> &[u32] {
        &self.rejected
    }

    /// The same with more behind the prompt, which answers follow and which is no part of them.
    #[must_use]
    pub fn with_note(mut self, note: &Note) -> Self {
        note.write(&mut self.prompt);
        self
    }

    /// Tokens of all three parts: what the pair costs a model that computes its prompt once.
    pub fn tokens(&self) -> usize {
        self.prompt.len() + self.chosen.len() + self.rejected.len()
    }
}

/// A row in two languages as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedRow {
    /// The side whose reward gap is the measure.
    pub dominant: TokenizedPair,
    /// The side that is aligned to it.
    pub target: TokenizedPair,
    /// The language of the dominant side.
    pub dominant_language: Language,
    /// The language of the target side.
    pub language: Language,
    /// The row it came from.
    pub origin: Origin,
}

/// A pair as token ids, and its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanguagePair {
    /// The language of the prompt.
    pub language: Language,
    /// The token ids.
    pub pair: TokenizedPair,
    /// The row it came from.
    pub origin: Origin,
}

/// A single answer as token ids, none of it empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledAnswer {
    /// The language of the prompt.
    pub language: Language,
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// The answer's tokens.
    pub answer: Vec<u32>,
    /// Whether the answer is one to learn, or one to avoid.
    pub desirable: bool,
    /// Whether the prompt is to be answered and not refused, as its row says.
    pub is_benign: bool,
    /// The row it came from.
    pub origin: Origin,
}

/// One prompt in two languages or more as token ids, none of them empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedPrompts {
    /// The prompt by language, the dominant one first.
    pub prompts: Vec<(Language, Vec<u32>)>,
    /// The row it came from.
    pub origin: Origin,
}

impl TokenizedPrompts {
    /// Tokens in all languages.
    pub fn tokens(&self) -> usize {
        self.prompts.iter().map(|(_, ids)| ids.len()).sum()
    }
}

/// Names the first part without tokens.
fn not_empty<const N: usize>(origin: &Origin, parts: [(&'static str, &Vec<u32>); N]) -> Result<(), DataError> {
    match parts.iter().find(|(_, ids)| ids.is_empty()) {
        Some((part, _)) => Err(DataError::NoTokens { origin: origin.clone(), part }),
        None => Ok(()),
    }
}
