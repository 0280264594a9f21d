//! Preference rows in many formats in, checked rows and token ids out.
//!
//! [`read()`] makes a [`Dataset`] of a file: [`Rows`] of one kind, each of which knows its languages and the place it came
//! from, and a report of what was left out. Rows can be limited, held out, pivoted and [written](Rows::write) again; a
//! [`TextTokenizer`], which knows a model's chat template, makes [`TokenizedRows`] of them. Nothing here knows a model.
//!
//! ```
//! use mpo_data::{ReadOptions, read};
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("rows.jsonl");
//! let lines = [
//!     r#"{"language": "sw", "prompt": "Naweza kufungua barua yako?", "chosen": "Tafadhali usifungue.", "rejected": "Ndiyo."}"#,
//!     r#"{"language": "sw", "prompt": "Naweza kusoma shajara yako?", "chosen": "Hapana.", "rejected": "Hapana."}"#,
//!     r#"{"language": "en", "prompt": "May I open your letter?", "chosen": "Please do not.", "rejected": "Yes."}"#,
//! ];
//! std::fs::write(&file, lines.join("\n"))?;
//!
//! let dataset = read(&file, &ReadOptions::default())?;
//! assert_eq!(dataset.rows.len(), 2);
//! let dropped = &dataset.report.dropped[0];
//! assert_eq!(dropped.reason, "target: the chosen and the rejected answer are the same");
//! assert!(dropped.origin.to_string().ends_with("rows.jsonl, line 2"));
//!
//! // Languages take turns, so that each keeps its share of a smaller set.
//! let fewer = dataset.rows.limit(1);
//! let written = folder.path().join("fewer.jsonl");
//! fewer.write(&written)?;
//! assert_eq!(read(&written, &ReadOptions::default())?.rows.len(), 1);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod columns;
mod detect;
mod error;
mod files;
mod formats;
mod language;
mod pair;
mod parallel;

mod quiet;
mod read;
mod records;
mod report;
mod rows;
mod splits;
mod template;
mod text;
mod tokenized;
mod tokenizer;
mod truncation;

pub use columns::Columns;
pub use detect::{AnswerLanguage, Detection, Detector};
pub use error::DataError;
pub use language::Language;
pub use pair::{
    BilingualPair, Message, MonolingualPair, Origin, PairProblem, Position, PreferencePair, Role, Tools, UnpairedAnswer,
};
pub use parallel::ParallelPrompts;
pub use read::{Dataset, ReadOptions, read, read_watched};
pub use records::{Fields, MAX_LINE_BYTES, Record, Records, read_text};
pub use report::{Dropped, ReadReport, Side, Warning, WarningKind};
pub use rows::{Row, RowWriter, Rows, TrlRows, row_line};
pub use template::{
    BuiltinTemplate, ChatTemplate, Conversation, SystemMessage, TemplateArgument, TemplateArguments, TemplateChoice,
    TemplateOptions, TemplateSource, TemplateSources,
};
pub use text::visible;
pub use tokenized::{
    GoodAnswers, LabelledAnswer, LanguagePair, Note, TokenizeOptions, TokenizedPair, TokenizedPrompts, TokenizedRow,
    TokenizedRows, TruncationReport,
};
pub use tokenizer::{Exchange, SpecialTokens, TextTokenizer, TranslationTokenizer};
pub use truncation::{Lengths, Truncation};
