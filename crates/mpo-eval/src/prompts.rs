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

#[cfg(test)]
mod tests {
    use mpo_data::{Origin, Position, TokenizedPair};

    use super::*;

    #[test]
    fn a_rows_prompt_is_to_be_refused_unless_the_row_says_otherwise() {
        let origin = Origin { file: "f".into(), position: Position::Line(1) };
        for is_benign in [false, true] {
            let pair = TokenizedPair::new(&origin, vec![1, 2], vec![3], vec![4]).unwrap().with_benign(is_benign);
            let row = LanguagePair { language: "sw".parse().unwrap(), pair, origin: origin.clone() };
            let prompt = Prompt::of_row(&row);
            assert_eq!((prompt.is_unsafe, prompt.ids), (!is_benign, vec![1, 2]));
        }
    }
}
