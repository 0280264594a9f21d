//! Preference records in, token ids out.
//!
//! A file of preference rows becomes a [`Dataset`] of checked [`BilingualPair`]s, each of which knows its languages
//! and the place it came from; a [`TextTokenizer`] turns those into [`TokenizedRow`]s. Nothing here knows a model.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod columns;
mod detect;
mod error;
mod files;
mod formats;
mod language;
mod pair;
mod pivot;
mod quiet;
mod read;
mod records;
mod report;
mod seen;
mod splits;
mod template;
mod text;
mod tokenized;
mod tokenizer;
mod truncation;

pub use columns::Columns;
pub use error::DataError;
pub use language::Language;
pub use pair::{
    BilingualPair, Message, MonolingualPair, Origin, PairProblem, Position, PreferencePair, Role, Tools, UnpairedAnswer,
};
pub use pivot::pivot;
pub use read::{Dataset, Pairs, ReadOptions, ReadProgress, read, read_watched};
pub use records::{Fields, MAX_LINE_BYTES, Record, Records, read_text};
pub use report::{Dropped, ReadReport, Side, Warning, WarningKind};
pub use template::{
    BuiltinTemplate, ChatTemplate, Conversation, SystemMessage, TemplateArgument, TemplateArguments, TemplateChoice,
    TemplateOptions, TemplateSource, TemplateSources,
};
pub use text::visible;
pub use tokenized::{
    LabelledAnswer, LanguagePair, TokenizeOptions, TokenizedPair, TokenizedRow, TruncationReport, tokenize_answers,
    tokenize_pairs, tokenize_rows,
};
pub use tokenizer::{Exchange, SpecialTokens, TextTokenizer};
pub use truncation::{Lengths, Truncation};
