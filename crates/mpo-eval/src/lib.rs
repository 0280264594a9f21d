//! What scores and answers say about a model: reward gaps by language, and refusals.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod refusal;
mod reward_gap;

pub use refusal::is_refusal;
pub use reward_gap::{LanguageGap, by_language};
