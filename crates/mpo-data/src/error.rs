//! What can go wrong between a file and its token ids, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use hf_hub::HFError;

use crate::formats::deciding;
use crate::pair::Origin;
use crate::text::visible;

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
    /// The file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A model where data should be.
    #[error("expected preference rows, got the directory {} of a model", .0.display())]
    ModelFolder(PathBuf),
    /// A folder without files of rows.
    #[error("{}: expected data files (JSON, JSONL, CSV, TSV or Parquet), got {}", .folder.display(), list(.found))]
    NoDataFiles {
        /// The folder, or the name on the hub.
        folder: PathBuf,
        /// The files that are there.
        found: Vec<String>,
    },
    /// A folder with files that do not belong together.
    #[error("{}: expected data files of one kind, got {}", .folder.display(), .kinds.join(" and "))]
    SeveralKinds {
        /// The folder, or the name on the hub.
        folder: PathBuf,
        /// The kinds of files that are there.
        kinds: Vec<String>,
    },
    /// The split that was asked for is not there, or none was of several.
    #[error("{}: expected a split `{}`, got {}", .place.display(), visible(.wanted), quoted(.found))]
    NoSplit {
        /// The file or folder, or the name on the hub.
        place: PathBuf,
        /// The split.
        wanted: String,
        /// The splits that are there.
        found: Vec<String>,
    },
    /// A `dataset_info.json` that describes several data sets.
    #[error("{}: expected the name of one of its data sets, got {}", .info.display(), quoted(.found))]
    SeveralSets {
        /// The description.
        info: PathBuf,
        /// The names of its sets.
        found: Vec<String>,
    },
    /// A data set of the hub that cannot be fetched.
    #[error("no file or folder {name}, and the data set of that name cannot be fetched from the hub: {error}")]
    Hub {
        /// Its name.
        name: String,
        /// What went wrong.
        error: Box<HFError>,
    },
    /// A file that is something else.
    #[error("{}: expected a file of rows, got {what}", .path.display())]
    NotRows {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// A Parquet file that cannot be read.
    #[error("{}: Parquet: {}", .path.display(), visible(.problem))]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Names of columns that make no sense.
    #[error("columns: {}", visible(.0))]
    Columns(String),
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
    /// A row whose `chosen` and `rejected` are no answers, but say which of its columns has them.
    #[error("{origin}: {problem}")]
    AnswersElsewhere {
        /// Where the row is.
        origin: Origin,
        /// What it says.
        problem: String,
    },
    /// A row without a field that its format has.
    #[error("{origin}: {problem}")]
    MissingField {
        /// Where the row is.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
        /// The field.
        field: String,
        /// The columns that the row has and that nothing reads.
        columns: Vec<String>,
    },
    /// Shards of a set that are not there.
    #[error("{}: expected {expected} shards named `{name}`, got {found}", .place.display())]
    MissingShards {
        /// The folder, or the name on the hub.
        place: PathBuf,
        /// What they are called.
        name: String,
        /// How many there are, by their names.
        expected: usize,
        /// How many are there.
        found: usize,
    },
    /// A `README.md` with configurations that do not say what is to be read.
    #[error("{}: {problem}", .readme.display())]
    Configurations {
        /// The file.
        readme: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A set of a `dataset_info.json` that is not in its folder.
    #[error("{}: the set `{}` lies on the hub, as {}", .info.display(), visible(.set), visible(.repository))]
    SetOnHub {
        /// The description.
        info: PathBuf,
        /// The set.
        set: String,
        /// Where it lies.
        repository: String,
    },
    /// A broken array of rows: where its next row begins cannot be told.
    #[error("{origin}: {problem}")]
    Broken {
        /// Where the row is.
        origin: Origin,
        /// What is wrong.
        problem: &'static str,
    },
    /// A quoted cell without an end.
    #[error("{origin}: {problem}")]
    UnclosedQuote {
        /// Where its quote is.
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
    /// The rows take more memory than a data set may.
    #[error("{origin}: expected rows that take at most {limit} bytes of memory together, got more")]
    TooMuchText {
        /// The row that is one too many.
        origin: Origin,
        /// The limit they exceed.
        limit: usize,
    },
    /// The first row has the keys of no known format.
    #[error("{origin}: expected the keys of a known format, got {}", list(.keys))]
    UnknownFormat {
        /// Where the row is.
        origin: Origin,
        /// The keys it has.
        keys: Vec<String>,
        /// What helps, where what lies under them says.
        advice: Option<String>,
    },
    /// A text that names no language.
    #[error("expected a language, got `{}`", visible(.0))]
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
    /// A file of the tokenizer's folder is no JSON.
    #[error("{}: expected JSON, got: {problem}", .path.display())]
    DamagedTokenizer {
        /// The file.
        path: PathBuf,
        /// Where it stops being JSON.
        problem: serde_json::Error,
    },
    /// The tokenizer has no such token.
    #[error("expected a token `{token}` ({role}) in the vocabulary, got none")]
    MissingToken {
        /// The token's text, or the key that should have named it.
        token: String,
        /// What it is for.
        role: &'static str,
    },
    /// No file of the model's folder says what ends a sequence.
    #[error(
        "{}: expected an end-of-sequence token, got none: neither an `eos_token` in tokenizer_config.json or \
         special_tokens_map.json, nor an `eos_token_id` of the vocabulary in generation_config.json or config.json", .0.display()
    )]
    NoEndOfSequence(PathBuf),
    /// The model's folder has no chat template, or none for conversations.
    #[error("expected a chat template in {}, got {}", .folder.display(), list(.others))]
    NoTemplate {
        /// The folder.
        folder: PathBuf,
        /// The names of the templates that it has for something else.
        others: Vec<String>,
    },
    /// A template was named that does not exist.
    #[error("expected the name of a chat template or a `.jinja` file, got `{0}`")]
    UnknownTemplate(String),
    /// The chat template cannot be parsed or rendered.
    #[error("chat template ({file}): {problem}")]
    Template {
        /// Where it came from.
        file: String,
        /// What is wrong with it, and in which line.
        problem: String,
    },
    /// The chat template refuses a conversation.
    #[error("the chat template refuses the conversation: {0}")]
    Refused(String),
    /// The chat template refuses a conversation that it takes without a system message.
    #[error("the chat template refuses the system message: {0}")]
    RefusedSystem(String),
    /// The chat template writes nothing of a system message, and says nothing of it.
    #[error("the chat template leaves the system message out")]
    DroppedSystem,
    /// The system gives no thread for something that is kept apart.
    #[error("expected to start a thread for the {what}, got: {error}")]
    Thread {
        /// What it is for.
        what: &'static str,
        /// Why there is none.
        error: io::Error,
    },
    /// A conversation cannot be written as tokens.
    #[error("{origin}: {problem}")]
    Conversation {
        /// Where the row is.
        origin: Origin,
        /// Why.
        problem: Box<DataError>,
    },
    /// An option's value is none of those it may have.
    #[error("expected {expected}, got `{got}`")]
    Option {
        /// What it may be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
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
    #[error("expected a limit of at least 2 tokens (one of the prompt, one of the response), got {0}")]
    LimitTooSmall(usize),
    /// Nothing of a response would be left.
    #[error("expected a limit of at least 1 token of a response, got 0")]
    NoRoomForResponse,
}

impl DataError {
    /// That a file of a tokenizer is no JSON, or is JSON of another kind.
    pub(crate) fn tokenizer_json(path: &Path, problem: serde_json::Error) -> Self {
        let path = path.to_owned();
        if problem.is_data() {
            Self::TokenizerFile { path, problem: visible(&problem.to_string()) }
        } else {
            Self::DamagedTokenizer { path, problem }
        }
    }

    /// A row that is not what its format promises; what it says of itself is made fit to be shown.
    pub(crate) fn row(origin: &Origin, problem: impl AsRef<str>) -> Self {
        Self::Row { origin: origin.clone(), problem: visible(problem.as_ref()) }
    }

    /// Whether it is of one row, so that the others can be read.
    pub(crate) fn is_of_row(&self) -> bool {
        matches!(
            self,
            Self::Row { .. }
                | Self::AnswersElsewhere { .. }
                | Self::MissingField { .. }
                | Self::RowTooLong { .. }
                | Self::InvalidUtf8 { .. }
                | Self::UnknownFormat { .. }
        )
    }

    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path",
            Self::Io { source, .. } if is_damage(source.kind()) => {
                "the file is damaged or cut short: fetch or write it again"
            }
            Self::Io { .. } | Self::Tokenizer(_) | Self::Option { .. } => return None,
            Self::Write { .. } => "check that the folder is there and may be written to, and that the disk has room",
            Self::ModelFolder(_) => "models go to --model; give a file of rows, or a folder of them",
            Self::NoDataFiles { .. } => "name the file, or the folder that it lies in",
            Self::SeveralKinds { .. } => "name one file, or a folder with files of one kind",
            Self::NoSplit { .. } => "name one of them: --split NAME",
            Self::SeveralSets { .. } => "name its file, or the set: --split NAME",
            Self::Hub { .. } => {
                "check the path or the name, and the network; a data set that is not public needs HF_TOKEN"
            }
            Self::NotRows { hint, .. } => hint,
            Self::Parquet { .. } => "the file is damaged or cut short: fetch or write it again",
            Self::Columns(_) => {
                "write OURS=THEIRS, such as --columns prompt=question,chosen=good; in a dataset_info.json, correct its `columns`"
            }
            Self::Empty(_) => "give a file with rows: JSON, JSONL, CSV, TSV or Parquet",
            Self::Broken { .. } => "check that the file is whole; JSONL, one row per line, is the safest",
            Self::UnclosedQuote { .. } => "close the quote, or write a quote within a cell twice",
            Self::Row { .. } => "correct the row, or leave bad rows out with --skip-bad-rows: the report lists them",
            Self::AnswersElsewhere { .. } => {
                "no name of a column can say that: write every row anew, with the better answer itself as `chosen` and the \
                 other as `rejected`"
            }
            Self::UnknownFormat { advice: Some(advice), .. } => return Some(advice.clone()),
            Self::UnknownFormat { keys: columns, .. } | Self::MissingField { columns, .. }
                if let Some(column) = deciding(columns) =>
            {
                return Some(format!(
                    "column `{}` decides which of a row's answers is chosen, and no name of a column can: write every row \
                     anew, with the better answer as `chosen` and the other as `rejected`",
                    visible(column)
                ));
            }
            Self::MissingField { field, columns, .. } if !columns.is_empty() => {
                return Some(format!(
                    "name the column that holds it, --columns {field}=NAME: the row also has {}; --skip-bad-rows leaves such \
                     rows out",
                    list(columns)
                ));
            }
            Self::MissingField { .. } => {
                "add it to the row, or leave such rows out with --skip-bad-rows: the report lists them"
            }
            Self::MissingShards { .. } => "fetch the others, or name the files to read one by one",
            Self::Configurations { .. } => {
                "name a configuration, --split CONFIGURATION/SPLIT, or the file or folder that holds the rows"
            }
            Self::SetOnHub { repository, .. } => {
                return Some(format!("give its name there: --data {}", visible(repository)));
            }
            Self::RowTooLong { .. } => {
                "check that it is one row of prompts and answers; in JSONL, every row is on a line of its own"
            }
            Self::InvalidUtf8 { .. } => {
                "save the file as UTF-8, or leave bad rows out with --skip-bad-rows: the report lists them"
            }
            Self::TooMuchText { .. } => "take fewer rows with --max-rows, or a part of the data set",
            Self::UnknownFormat { .. } => {
                "name the columns with --columns prompt=NAME,chosen=NAME,rejected=NAME; known formats: {dominant, target}; \
                 {prompt, chosen, rejected}; {prompt, completion, label}; \
                 {source_conversations, source_chosen, source_rejected, target_conversations, …}"
            }
            Self::UnknownLanguage(_) => {
                "use a code of ISO 639 such as `sw` or `swa`, a tag such as `zh-CN`, or an English name such as `Swahili`"
            }
            Self::Undetectable { .. } => "leave the others out, or name each row's language in the file",
            Self::DamagedTokenizer { .. } => "the file is cut short or damaged: download it again",
            Self::TokenizerFile { .. } => "take tokenizer.json and tokenizer_config.json from the same model",
            Self::MissingToken { .. } => "choose a chat template that was made for this tokenizer",
            Self::NoEndOfSequence(_) => {
                "fetch the model's other files too, or write its `eos_token` into tokenizer_config.json"
            }
            Self::NoTemplate { .. } | Self::UnknownTemplate(_) => {
                "name a built-in template (`llama3`, `gemma`, `qwen`; `plain` for a base model) or a `.jinja` file"
            }
            Self::Template { .. } => {
                "name a template with --template: a `.jinja` file, or a built-in one (`llama3`, `gemma`, `qwen`, `plain`)"
            }
            Self::Refused(_) => "change the conversation, or name another template with --template",
            Self::RefusedSystem(_) | Self::DroppedSystem => {
                "--system-message merge puts its text before the first user turn"
            }
            Self::Thread { .. } => {
                "allow the process more memory (`ulimit -v`, or the limit of its container) or more threads (`ulimit -u`)"
            }
            Self::Conversation { problem, .. } => {
                let skip = "--skip-bad-rows leaves such rows out";
                return Some(match problem.hint() {
                    Some(hint) => format!("{hint}; {skip}"),
                    None => skip.into(),
                });
            }
            Self::NoTokens { .. } => "check that the chat template writes the messages it is given",
            Self::LimitTooSmall(_) => "the released code uses 1024, the paper 2048",
            Self::NoRoomForResponse => "leave it out to cut prompt and response together",
        };
        Some(hint.into())
    }
}

/// Whether reading failed because of what the file holds.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
}

/// Names for a message, the first of many.
fn list(names: &[String]) -> String {
    const MOST: usize = 20;
    let show = |name: &String| match name.trim() {
        // Nothing is no name to be seen.
        "" => format!("`{}`", visible(name)),
        _ => visible(name),
    };
    let mut shown: Vec<String> = names.iter().take(MOST).map(show).collect();
    if names.len() > MOST {
        shown.push(format!("and {} more", names.len() - MOST));
    }
    match shown[..] {
        [] => "none".into(),
        _ => shown.join(", "),
    }
}

fn quoted(names: &[String]) -> String {
    list(&names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>())
}
