//! The released data of the paper: `source_*` is the dominant side, `target_*` the other, and no field names a
//! language. Texts went through a translation service that left HTML entities in them.

use serde::Deserialize;

use super::{Draft, DraftSide, PairDraft};
use crate::pair::{Message, Role};

#[derive(Deserialize)]
pub(super) struct Row {
    source_conversations: Vec<Turn>,
    source_chosen: Turn,
    source_rejected: Turn,
    target_conversations: Vec<Turn>,
    target_chosen: Turn,
    target_rejected: Turn,
}

#[derive(Deserialize)]
struct Turn {
    from: Speaker,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    System,
    #[serde(alias = "user")]
    Human,
    #[serde(alias = "assistant")]
    Gpt,
}

impl From<Row> for Draft {
    fn from(row: Row) -> Self {
        let mut cleaned = false;
        let mut clean = |text: String| {
            let decoded = html_escape::decode_html_entities(&text).into_owned();
            cleaned |= decoded != text;
            decoded
        };
        let mut side = |prompt: Vec<Turn>, chosen: Turn, rejected: Turn| DraftSide {
            language: None,
            prompt: prompt
                .into_iter()
                .map(|turn| Message {
                    role: turn.from.into(),
                    content: clean(turn.value),
                })
                .collect(),
            chosen: clean(chosen.value),
            rejected: clean(rejected.value),
        };
        let dominant = side(
            row.source_conversations,
            row.source_chosen,
            row.source_rejected,
        );
        let target = side(
            row.target_conversations,
            row.target_chosen,
            row.target_rejected,
        );
        Self::Pair(PairDraft {
            dominant: Some(dominant),
            target,
            cleaned,
        })
    }
}

impl From<Speaker> for Role {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::System => Self::System,
            Speaker::Human => Self::User,
            Speaker::Gpt => Self::Assistant,
        }
    }
}
