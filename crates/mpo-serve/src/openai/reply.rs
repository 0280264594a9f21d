//! Replies, whole and in pieces.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

/// What a reply says beside the answer.
pub(crate) struct Format {
    is_chat: bool,
    id: String,
    created: u64,
    model: String,
    /// Whether events have a place for the count of tokens, which is null in all but the last.
    counts: bool,
}

/// Some text of an answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) log_probs: Vec<LogProb>,
}

/// A token and how probable it was.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct LogProb {
    pub(crate) token: String,
    pub(crate) logprob: f32,
    /// None for a part of a character.
    pub(crate) bytes: Option<Vec<u8>>,
    /// None for one of those beside the chosen one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top_logprobs: Option<Vec<LogProb>>,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Finish {
    /// The model has ended it, or a text that is to end it has come.
    Stop,
    /// It is as long as it may be.
    Length,
}

/// Tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    pub(crate) total_tokens: usize,
}

impl Usage {
    pub(crate) fn new(prompt_tokens: usize, completion_tokens: usize) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

impl Format {
    pub(crate) fn new(is_chat: bool, model: String, counts: bool) -> Self {
        let prefix = if is_chat { "chatcmpl" } else { "cmpl" };
        let id = format!("{prefix}-{:016x}", RandomState::new().hash_one(0));
        Self { is_chat, id, created: now(), model, counts }
    }

    /// The whole answer.
    pub(crate) fn whole(&self, piece: Piece, finish: Finish, usage: Usage, wants_log_probs: bool) -> Value {
        let Piece { text, log_probs } = piece;
        let log_probs = wants_log_probs.then(|| json!({"content": log_probs, "refusal": null}));
        let mut choice = json!({"index": 0, "finish_reason": finish, "logprobs": log_probs});
        if self.is_chat {
            choice["message"] = json!({"role": "assistant", "content": text, "refusal": null});
        } else {
            choice["text"] = text.into();
        }
        let mut reply = self.around(if self.is_chat { "chat.completion" } else { "text_completion" }, json!([choice]));
        reply["usage"] = json!(usage);
        reply
    }

    /// The event that a stream begins with.
    pub(crate) fn first(&self) -> Option<Value> {
        self.is_chat.then(|| self.event(json!({"role": "assistant", "content": ""}), None, None))
    }

    /// A piece of the answer as an event.
    pub(crate) fn piece(&self, piece: Piece) -> Value {
        let Piece { text, log_probs } = piece;
        let log_probs = (!log_probs.is_empty()).then(|| json!({"content": log_probs, "refusal": null}));
        self.event(json!({"content": text}), log_probs, None)
    }

    /// The last event of an answer.
    pub(crate) fn last(&self, finish: Finish) -> Value {
        self.event(json!({}), None, Some(finish))
    }

    /// The event that counts tokens, if there is to be one.
    pub(crate) fn usage(&self, usage: Usage) -> Option<Value> {
        self.counts.then(|| {
            let mut event = self.around(self.event_name(), json!([]));
            event["usage"] = json!(usage);
            event
        })
    }

    fn event(&self, delta: Value, log_probs: Option<Value>, finish: Option<Finish>) -> Value {
        let mut choice = json!({"index": 0, "finish_reason": finish, "logprobs": log_probs});
        if self.is_chat {
            choice["delta"] = delta;
        } else {
            choice["text"] = delta.get("content").cloned().unwrap_or_else(|| "".into());
        }
        let mut event = self.around(self.event_name(), json!([choice]));
        if self.counts {
            event["usage"] = Value::Null;
        }
        event
    }

    fn event_name(&self) -> &'static str {
        if self.is_chat { "chat.completion.chunk" } else { "text_completion" }
    }

    fn around(&self, object: &str, choices: Value) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices})
    }
}

/// The list of models by their names.
pub(crate) fn models<'n>(names: impl Iterator<Item = &'n str>, since: u64) -> Value {
    let models: Vec<Value> =
        names.map(|name| json!({"id": name, "object": "model", "created": since, "owned_by": "mpo-train"})).collect();
    json!({"object": "list", "data": models})
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
