//! TRL's preference format, `{"prompt", "chosen", "rejected"}`, plain or conversational, with a `language` if wished.

use serde::Deserialize;

use super::{Answer, Draft, DraftSide, PairDraft, Prompt};
use crate::language::Language;

#[derive(Deserialize)]
pub(super) struct Row {
    language: Option<Language>,
    prompt: Prompt,
    chosen: Answer,
    rejected: Answer,
}

impl From<Row> for Draft {
    fn from(row: Row) -> Self {
        let target = DraftSide {
            language: row.language,
            prompt: row.prompt.into(),
            chosen: row.chosen.0,
            rejected: row.rejected.0,
        };
        Self::Pair(PairDraft {
            dominant: None,
            target,
            cleaned: false,
        })
    }
}
