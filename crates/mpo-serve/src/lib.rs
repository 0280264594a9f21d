//! A server that speaks OpenAI's protocol: chat completions, completions, models and health, over HTTP/1.
//!
//! ```text
//! connections/     accepts, limits and closes connections
//! routes/          from a request to a question, and from tokens to a reply, whole or as events
//! openai/          what OpenAI's JSON looks like: requests, replies, errors
//! worker.rs        the one thread that generates; requests reach it by a channel, and tokens go back one by one
//! generator.rs     whoever generates, and whoever reads and writes a model's text
//! local.rs         models of ours, as both
//! ```
//!
//! HTTP runs on the thread that calls [`serve`]. It knows models as [`Voice`]s, which turn conversations into token ids and
//! ids into text, and the worker as a queue of [`Question`](mpo_models::Question)s. The worker owns the [`Generator`], and knows no text.
//! Where a client goes away, its channel closes, and the worker gives its place in the batch to others.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod connections;
mod error;
mod generator;
mod key;
mod limits;
mod local;
mod openai;
mod routes;
mod served;
mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use connections::serve;
pub use error::ServeError;
pub use generator::{Generator, Voice};
pub use key::ServerKey;
pub use limits::Limits;
pub use local::{LocalGenerator, LocalVoice};
pub use served::Served;
