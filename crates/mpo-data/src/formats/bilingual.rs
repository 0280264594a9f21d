//! This project's own format: a row is
//! `{"dominant": {"language", "prompt", "chosen", "rejected"}, "target": {…}}`, every language named.

use serde::Deserialize;

use super::{Answer, Draft, DraftSide, PairDraft, Prompt};
use crate::language::Language;

#[derive(Deserialize)]
pub(super) struct Row {
    dominant: Side,
    target: Side,
}

#[derive(Deserialize)]
struct Side {
    language: Language,
    prompt: Prompt,
    chosen: Answer,
    rejected: Answer,
}

impl From<Row> for Draft {
    fn from(row: Row) -> Self {
        Self::Pair(PairDraft {
            dominant: Some(row.dominant.into()),
            target: row.target.into(),
            cleaned: false,
        })
    }
}

impl From<Side> for DraftSide {
    fn from(side: Side) -> Self {
        Self {
            language: Some(side.language),
            prompt: side.prompt.into(),
            chosen: side.chosen.0,
            rejected: side.rejected.0,
        }
    }
}
