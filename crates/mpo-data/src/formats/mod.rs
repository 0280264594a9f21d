//! The formats a row may have. Each file here holds one: its fields, and how they become a [`Draft`].

mod authors;
mod bilingual;
mod trl;
mod unpaired;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::DataError;
use crate::language::Language;
use crate::pair::{Message, Role};
use crate::rows::RawRow;

/// What a row says once its syntax is known and before its content is judged.
pub(crate) enum Draft {
    Pair(PairDraft),
    Answer(AnswerDraft),
}

/// A pair, in one language or two.
pub(crate) struct PairDraft {
    /// None in formats of one language.
    pub(crate) dominant: Option<DraftSide>,
    pub(crate) target: DraftSide,
    /// HTML entities were found and unescaped.
    pub(crate) cleaned: bool,
}

/// One side of a row; its language is none where the format does not name it.
pub(crate) struct DraftSide {
    pub(crate) language: Option<Language>,
    pub(crate) prompt: Vec<Message>,
    pub(crate) chosen: String,
    pub(crate) rejected: String,
}

/// A single answer.
pub(crate) struct AnswerDraft {
    pub(crate) language: Option<Language>,
    pub(crate) prompt: Vec<Message>,
    pub(crate) answer: String,
    pub(crate) desirable: bool,
}

/// A known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Authors,
    Bilingual,
    Trl,
    Unpaired,
}

impl Format {
    /// The format whose keys this row has; one is enough, so that a missing other is reported by its name.
    pub(crate) fn of(row: &RawRow) -> Result<Self, DataError> {
        let fields: Map<String, Value> =
            serde_json::from_str(row.text()?).map_err(|error| malformed(row, &error))?;
        let has = |keys: [&str; 2]| keys.iter().any(|key| fields.contains_key(*key));
        if has(["source_conversations", "target_conversations"]) {
            Ok(Self::Authors)
        } else if has(["dominant", "target"]) {
            Ok(Self::Bilingual)
        } else if has(["chosen", "rejected"]) {
            Ok(Self::Trl)
        } else if has(["completion", "label"]) {
            Ok(Self::Unpaired)
        } else {
            Err(DataError::UnknownFormat {
                origin: row.origin.clone(),
                keys: fields.keys().cloned().collect(),
            })
        }
    }

    pub(crate) fn parse(self, row: &RawRow) -> Result<Draft, DataError> {
        let text = row.text()?;
        match self {
            Self::Authors => serde_json::from_str::<authors::Row>(text).map(Draft::from),
            Self::Bilingual => serde_json::from_str::<bilingual::Row>(text).map(Draft::from),
            Self::Trl => serde_json::from_str::<trl::Row>(text).map(Draft::from),
            Self::Unpaired => serde_json::from_str::<unpaired::Row>(text).map(Draft::from),
        }
        .map_err(|error| malformed(row, &error))
    }
}

/// A prompt: the user's words, or a conversation.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string or a list of {role, content} messages"
)]
enum Prompt {
    Text(String),
    Conversation(Vec<Message>),
}

impl From<Prompt> for Vec<Message> {
    fn from(prompt: Prompt) -> Self {
        match prompt {
            Prompt::Text(text) => vec![Message::user(text)],
            Prompt::Conversation(messages) => messages,
        }
    }
}

/// An answer: its words, or a conversation of nothing but it.
#[derive(Deserialize)]
#[serde(try_from = "AnswerForm")]
struct Answer(String);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string or a list of one {role, content} message"
)]
enum AnswerForm {
    Text(String),
    Conversation([Message; 1]),
}

impl TryFrom<AnswerForm> for Answer {
    type Error = &'static str;

    fn try_from(form: AnswerForm) -> Result<Self, Self::Error> {
        match form {
            AnswerForm::Text(text) => Ok(Self(text)),
            AnswerForm::Conversation([message]) if message.role == Role::Assistant => {
                Ok(Self(message.content))
            }
            AnswerForm::Conversation(_) => {
                Err("expected an answer by the assistant, got another role")
            }
        }
    }
}

/// The parser counts lines from the start of the row, which would be taken for those of the file.
fn malformed(row: &RawRow, error: &serde_json::Error) -> DataError {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let place = match error.line() {
        0 => String::new(),
        1 => format!(" (column {})", error.column()),
        line => format!(" (line {line} of the row, column {})", error.column()),
    };
    DataError::Row {
        origin: row.origin.clone(),
        problem: format!("{message}{place}"),
    }
}
