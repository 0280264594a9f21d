//! Whoever answers conversations: a model on disk, an endpoint on the network, and a cache before either.
//!
//! All of them are a [`ChatModel`]. An endpoint that speaks OpenAI's chat completions is asked so:
//!
//! ```no_run
//! use mpo_chat::{CachedChat, ChatError, Endpoint, EndpointOptions, ask};
//! use mpo_data::Message;
//! use mpo_progress::Silent;
//!
//! let endpoint = Endpoint::new(EndpointOptions::new("http://localhost:8000/v1", "qwen"))?;
//! // What was answered once is not asked again.
//! let mut chat = CachedChat::open(endpoint, "answers.jsonl".as_ref())?;
//! let replies = ask(&mut chat, &[vec![Message::user("Habari?")]], &Silent)?;
//! println!("{}", replies[0].text().unwrap_or("no answer"));
//! # Ok::<(), ChatError>(())
//! ```
//!
//! A model on disk is a [`ModelFolder`], which has its configuration and tokenizer, and weights where they are needed:
//!
//! ```no_run
//! use burn::tensor::Device;
//! use mpo_chat::{Answering, ChatError, ModelFolder};
//! use mpo_data::{Message, TemplateOptions};
//! use mpo_progress::Silent;
//!
//! let folder = ModelFolder::open("models/qwen", &TemplateOptions::default(), &Silent)?;
//! let model = folder.load_frozen(&Device::default(), &Silent)?;
//! let prompt = folder.encode_prompt(&[Message::user("Habari?")])?;
//! let options = folder.generate_options(64);
//! let answers = Answering { folder: &folder, model: &model, options, progress: &Silent };
//! println!("{}", answers.all(&[prompt], "answering")?[0].text);
//! # Ok::<(), ChatError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod cache;
mod endpoint;
mod error;
mod folder;
mod growing;
mod harm;
mod local;
mod model;
mod states;
mod thoughts;

pub use answers::{Answering, TextAnswer};
pub use cache::CachedChat;
pub use endpoint::{ApiKey, Endpoint, EndpointOptions, KeyPlace, Protocol, RequestLimit};
pub use error::ChatError;
pub use folder::{LONGER, ModelFolder};
pub use growing::GrowingText;
pub use harm::{HarmClassifier, HarmGuard, LinearHead};
pub use local::{LocalChat, SHORTER};
pub use model::{ChatModel, Listener, Reply, Usage, ask, ask_for};
pub use states::last_token_states;
