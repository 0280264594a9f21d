//! What scores say about a model: reward gaps by language.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod reward_gap;

pub use reward_gap::{LanguageGap, by_language};
