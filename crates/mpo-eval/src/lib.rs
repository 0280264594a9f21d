//! What scores and answers say about a model: reward gaps by language, and refusals.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod benchmark;
mod chat;
mod error;
mod refusal;
mod reward_gap;

pub use benchmark::{
    BENCHMARKS, Benchmark, Expected, Item, LETTERS, Marking, benchmark, final_number,
};
pub use chat::{
    ApiKey, CachedChat, ChatError, ChatModel, Endpoint, EndpointOptions, Listener, Reply, Usage,
};
pub use error::EvalError;
pub use refusal::is_refusal;
pub use reward_gap::{LanguageGap, by_language};
