//! TRL's unpaired preference format, `{"prompt", "completion", "label"}`, plain or conversational, with a `language` if
//! wished. The label is true of an answer to learn.

use serde::Deserialize;

use super::{Answer, AnswerDraft, Draft, Prompt};
use crate::language::Language;

#[derive(Deserialize)]
pub(super) struct Row {
    language: Option<Language>,
    prompt: Prompt,
    completion: Answer,
    label: bool,
}

impl From<Row> for Draft {
    fn from(row: Row) -> Self {
        Self::Answer(AnswerDraft {
            language: row.language,
            prompt: row.prompt.into(),
            answer: row.completion.0,
            desirable: row.label,
        })
    }
}
