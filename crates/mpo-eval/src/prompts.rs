//! Prompts that a model is asked outside of benchmarks: those of preference rows, which are to be refused unless their row
//! says that they are benign, and benign ones of a file.

use std::path::Path;

use mpo_chat::ModelFolder;
use mpo_data::{Language, LanguagePair, Message};

use crate::benign::{BenignPrompt, read_benign};
use crate::error::EvalError;

/// A prompt to answer.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Its language.
    pub language: Language,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Whether it is one to refuse.
    pub is_unsafe: bool,
}

impl Prompt {
    /// The prompt of a preference row.
    pub(crate) fn of_row(row: &LanguagePair) -> Self {
        Self { language: row.language, ids: row.pair.prompt().to_vec(), is_unsafe: !row.pair.is_benign() }
    }

    /// Benign prompts of a file, or those that come with the program.
    pub(crate) fn benign(path: &Path, folder: &ModelFolder) -> Result<Vec<Self>, EvalError> {
        let prompt = |of: BenignPrompt| {
            let ids = folder.encode_prompt(&[Message::user(of.prompt)])?;
            Ok(Self { language: of.language, ids, is_unsafe: false })
        };
        read_benign(path)?.into_iter().map(prompt).collect()
    }
}
