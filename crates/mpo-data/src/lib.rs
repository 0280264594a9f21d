//! Preference records in, token ids out.
//!
//! A file of preference rows becomes a [`Dataset`] of checked [`BilingualPair`]s, each of which knows its languages
//! and the place it came from; a [`TextTokenizer`] turns those into [`TokenizedRow`]s. Nothing here knows a model.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod detect;
mod error;
mod formats;
mod language;
mod pair;
mod pivot;
mod read;
mod report;
mod rows;
mod template;
mod tokenized;
mod tokenizer;
mod truncation;

pub use error::DataError;
pub use language::Language;
pub use pair::{
    BilingualPair, Message, MonolingualPair, Origin, PairProblem, Position, PreferencePair, Role,
    UnpairedAnswer,
};
pub use pivot::pivot;
pub use read::{Dataset, Pairs, ReadOptions, read};
pub use report::{Dropped, ReadReport, Side, Warning, WarningKind};
pub use rows::MAX_LINE_BYTES;
pub use template::{BuiltinTemplate, ChatTemplate, SpecialTokens, TemplateChoice};
pub use tokenized::{
    LabelledAnswer, LanguagePair, TokenizedPair, TokenizedRow, TruncationReport, tokenize_answers,
    tokenize_pairs, tokenize_rows,
};
pub use tokenizer::TextTokenizer;
pub use truncation::{Lengths, Truncation};
