//! Why nobody answers.

use std::io;
use std::path::PathBuf;

use mpo_data::DataError;
use mpo_models::{ModelError, SamplingError, open_files_hint};

/// What stops a chat model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// Whoever is told of the work stopped it.
    #[error("stopped on request")]
    Stopped,
    /// The address is none.
    #[error("{url}: expected the address of an endpoint, got: {problem}")]
    Address {
        /// As given.
        url: String,
        /// Why it is none.
        problem: String,
    },
    /// The key's variable is not there.
    #[error("expected an API key in the environment variable {0}, got none")]
    NoKey(String),
    /// Nobody has ever answered there.
    #[error("{url}: expected an endpoint that answers, got: {problem}")]
    Unreachable {
        /// The address.
        url: String,
        /// What came instead.
        problem: String,
    },
    /// The endpoint does not want the request, and will not want it the next time.
    #[error("{url}: expected an answer, got status {status}: {message}")]
    Refused {
        /// The address.
        url: String,
        /// HTTP's number.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The endpoint's account has no money left.
    #[error("{url}: expected an answer, got that the account's quota is spent: {message}")]
    NoQuota {
        /// The address.
        url: String,
        /// The server's words.
        message: String,
    },
    /// The endpoint asks for a wait that is the user's to decide on.
    #[error("{url}: expected to wait at most {longest} seconds, got that the server wants {seconds}")]
    Busy {
        /// The address.
        url: String,
        /// What the server asks for.
        seconds: u64,
        /// What it may ask for.
        longest: u64,
    },
    /// The endpoint is elsewhere. Requests do not follow: a key is for one address.
    #[error("{url}: expected an answer, got that the address has moved to {to}")]
    Moved {
        /// The address.
        url: String,
        /// The other one.
        to: String,
    },
    /// The endpoint is there, and has long answered nothing.
    #[error("{url}: expected an answer, got none to {count} questions in a row, lastly: {problem}")]
    GivenUp {
        /// The address.
        url: String,
        /// Questions that every attempt failed for.
        count: usize,
        /// What came instead of the last answer.
        problem: String,
    },
    /// Answers cannot be kept.
    #[error("{}: {error}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// Another process keeps its answers in the file.
    #[error("{}: expected to be the only command that writes here, got another one at work", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A kept answer cannot be read.
    #[error("{}, line {line}: expected a kept answer, got: {problem}", path.display())]
    BrokenCache {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Sequences that are longer than can be computed.
    #[error(
        "{}: expected sequences of at most {limit} tokens, beyond which its rotary scaling is not computed, got {beyond} of \
         {of} that are longer, up to {longest}",
        path.display()
    )]
    TooLong {
        /// The model's folder.
        path: PathBuf,
        /// Tokens of a sequence at most.
        limit: usize,
        /// How many sequences are longer.
        beyond: usize,
        /// How many sequences there are.
        of: usize,
        /// Tokens of the longest.
        longest: usize,
        /// What makes them shorter.
        remedy: &'static str,
    },
    /// The chat template makes nothing of a conversation.
    #[error("expected at least one token in the prompt, got none")]
    EmptyPrompt,
    /// The tokenizer has a token that the model has no row for.
    #[error("{}: expected token ids below the model's {vocab_size}, got {id} from the tokenizer", path.display())]
    UnknownToken {
        /// The model's folder.
        path: PathBuf,
        /// Rows that the model has.
        vocab_size: usize,
        /// The token.
        id: u32,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// A file is no classifier of prompts.
    #[error("{}: expected a classifier as it was written, got {problem}", path.display())]
    NoClassifier {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A classifier stands beside something else than what it was fitted to.
    #[error("{}: expected a classifier of this {what}, {expected}, got one of {got}", path.display())]
    OtherClassifier {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it should be of.
        expected: String,
        /// What it is of.
        got: String,
    },
    /// A prompt's hidden state is no number.
    #[error("expected finite hidden states of prompts at layer {layer}, got NaN or infinity")]
    State {
        /// The layer, from one.
        layer: usize,
    },
    /// A judge that goes by phrases was asked for a grade.
    #[error("no judge that grades")]
    NoGrades,
    /// The model's numbers broke.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The model's files cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A text, a tokenizer or a template cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl ChatError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { .. } => "such as http://localhost:8000/v1",
            Self::NoKey(_) => "export it, or name another variable that holds it",
            Self::Unreachable { .. } => "check that the server runs, and its address",
            Self::Refused { status: 401 | 403, .. } => {
                "check the API key in the environment variable that was named for it"
            }
            Self::Refused { status: 404, .. } => {
                "check the address, which ends in /v1 for chat completions, and the model's name"
            }
            Self::Refused { .. } => "check the model's name and its limits",
            Self::NoQuota { .. } => "add credit; the same command then goes on, and what was answered is kept",
            Self::Busy { .. } => "give the same command then; it goes on, and what was answered is kept",
            Self::Moved { .. } => "give that address, up to /v1, if it is one to trust",
            Self::GivenUp { .. } => "check the server; the same command then goes on, and what was answered is kept",
            Self::Stopped => "the same command again goes on; what was answered is kept",
            Self::InUse { .. } => "wait for it, or name another --output",
            Self::BrokenCache { .. } => {
                "move the file away, if it is not one of ours; its questions will be asked again"
            }
            Self::TooLong { remedy, .. } => remedy,
            Self::EmptyPrompt => "check that the chat template writes the messages it is given",
            Self::UnknownToken { .. } => "take the tokenizer's files and the weights from the same model",
            Self::File { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => "check the path",
                io::ErrorKind::AlreadyExists => "choose another name, or move the file away; nothing was touched",
                _ => return open_files_hint(error).map(Into::into),
            },
            Self::NoClassifier { .. } => "name a file that `mpo-train classifier` wrote, or write it again",
            Self::OtherClassifier { .. } => {
                "fit one to this model, asked as it is to be asked: mpo-train classifier --model DIR --data ROWS --output FILE"
            }
            Self::State { .. } => "the weights are damaged or training diverged",
            Self::Sampling(error) => error.hint(),
            Self::Model(error) => return error.hint(),
            Self::Data(error) => return error.hint(),
            Self::Cache { .. } | Self::NoGrades => return None,
        };
        Some(hint.into())
    }
}
