//! What can go wrong between a file and its token ids, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::pair::Origin;

/// An error of this crate. Its message says what was expected and what was found; [`hint`](Self::hint) what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was expected and a directory found.
    #[error("expected a file of preference rows, got the directory {}", .0.display())]
    IsDirectory(PathBuf),
    /// The file holds no row.
    #[error("expected at least one preference row, got none in {}", .0.display())]
    Empty(PathBuf),
    /// A row that is not what its format promises.
    #[error("{origin}: {problem}")]
    Row {
        /// Where the row is.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
    },
    /// A row longer than any real one: most likely not a file of rows at all.
    #[error("{origin}: expected a row of at most {limit} bytes, got a longer one")]
    RowTooLong {
        /// Where the row is.
        origin: Origin,
        /// The limit it exceeds.
        limit: usize,
    },
    /// A row that is not UTF-8.
    #[error("{origin}: expected UTF-8 text, got an invalid byte at offset {offset} of the file")]
    InvalidUtf8 {
        /// Where the row is.
        origin: Origin,
        /// The offset of the first invalid byte, from the start of the file.
        offset: u64,
    },
    /// The first row has the keys of no known format.
    #[error("{origin}: expected the keys of a known format, got {}", list(.keys))]
    UnknownFormat {
        /// Where the row is.
        origin: Origin,
        /// The keys it has.
        keys: Vec<String>,
    },
    /// A code that is not in ISO 639-1.
    #[error("expected an ISO 639-1 language code, got `{0}`")]
    UnknownLanguage(String),
    /// Detection was restricted to a language it was not built with.
    #[error("expected languages that can be detected ({supported}), got {got}")]
    Undetectable {
        /// What was asked for.
        got: String,
        /// The codes of the languages that can be detected.
        supported: String,
    },
    /// A file of the tokenizer's folder does not hold what it should.
    #[error("{}: {problem}", .path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The tokenizer has no such token.
    #[error("expected a token `{token}` ({role}) in the vocabulary, got none")]
    MissingToken {
        /// The token's text, or the key that should have named it.
        token: String,
        /// What it is for.
        role: &'static str,
    },
    /// The model's folder has no chat template.
    #[error("expected a chat template in {}, got none", .0.display())]
    NoTemplate(PathBuf),
    /// A template was named that does not exist.
    #[error("expected the name of a chat template or a `.jinja` file, got `{0}`")]
    UnknownTemplate(String),
    /// The chat template cannot be parsed or rendered.
    #[error("chat template: {0}")]
    Template(String),
    /// The tokenizer failed on a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A part of a pair has no tokens to train on.
    #[error("{origin}: expected at least one token in the {part}, got none")]
    NoTokens {
        /// Where the row is.
        origin: Origin,
        /// The part: prompt, chosen or rejected.
        part: &'static str,
    },
    /// A limit that leaves no room for both a prompt and a response.
    #[error(
        "expected a limit of at least 2 tokens (one of the prompt, one of the response), got {0}"
    )]
    LimitTooSmall(usize),
    /// Nothing of a response would be left.
    #[error("expected a limit of at least 1 token of a response, got 0")]
    NoRoomForResponse,
}

impl DataError {
    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path",
            Self::Io { .. } | Self::Tokenizer(_) => return None,
            Self::IsDirectory(_) => "name one JSONL or JSON file inside it",
            Self::Empty(_) => "give a JSONL file, or a JSON array of rows",
            Self::Row { .. } => {
                "correct the row, or skip bad rows and have them listed in the report"
            }
            Self::RowTooLong { .. } => {
                "write one row a line (JSONL), and check that this is a file of preference rows"
            }
            Self::InvalidUtf8 { .. } => {
                "save the file as UTF-8, or skip bad rows and have them listed in the report"
            }
            Self::UnknownFormat { .. } => {
                "known formats: {dominant, target}; {prompt, chosen, rejected}; \
                 {prompt, completion, label}; {source_conversations, source_chosen, source_rejected, target_conversations, …}"
            }
            Self::UnknownLanguage(_) => {
                "use a two-letter lower-case code, such as `en`, `zh` or `sw`"
            }
            Self::Undetectable { .. } => {
                "leave the others out, or name each row's language in the file"
            }
            Self::TokenizerFile { .. } => {
                "take tokenizer.json and tokenizer_config.json from the same model"
            }
            Self::MissingToken { .. } => "choose a chat template that was made for this tokenizer",
            Self::NoTemplate(_) | Self::UnknownTemplate(_) => {
                "name a built-in template (`llama3`, `gemma`, `qwen`; `plain` for a base model) or a `.jinja` file"
            }
            Self::Template(_) => "try a built-in template: `llama3`, `gemma`, `qwen` or `plain`",
            Self::NoTokens { .. } => "check that the chat template writes the messages it is given",
            Self::LimitTooSmall(_) => "the released code uses 1024, the paper 2048",
            Self::NoRoomForResponse => "leave it out to cut prompt and response together",
        };
        Some(hint.into())
    }
}

fn list(keys: &[String]) -> String {
    if keys.is_empty() {
        "none".into()
    } else {
        keys.join(", ")
    }
}
