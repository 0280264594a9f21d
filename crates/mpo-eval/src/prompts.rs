//! Prompts that a model is asked outside of benchmarks: those of preference rows, which are to be refused, and benign ones.

use std::fs;
use std::path::Path;

use mpo_chat::ModelFolder;
use mpo_data::{Language, LanguagePair, Message};
use serde::Deserialize;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BenignPrompt {
    language: Language,
    prompt: String,
}

impl Prompt {
    /// The prompt of a preference row.
    pub(crate) fn of_row(row: &LanguagePair) -> Self {
        Self { language: row.language, ids: row.pair.prompt().to_vec(), is_unsafe: true }
    }

    /// Benign prompts of a file, one a line.
    pub(crate) fn benign(path: &Path, folder: &ModelFolder) -> Result<Vec<Self>, EvalError> {
        let text = fs::read_to_string(path).map_err(EvalError::io(path))?;
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        lines
            .map(|(line, number)| {
                let row: BenignPrompt = serde_json::from_str(line).map_err(|error| EvalError::NoPrompt {
                    path: path.to_owned(),
                    line: number,
                    problem: error.to_string(),
                })?;
                let ids = folder.encode_prompt(&[Message::user(row.prompt)])?;
                Ok(Self { language: row.language, ids, is_unsafe: false })
            })
            .collect()
    }
}
