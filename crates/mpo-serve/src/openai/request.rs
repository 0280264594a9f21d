//! A request, checked.

use std::hash::{BuildHasher, RandomState};

use axum::http::StatusCode;
use mpo_data::{Message, Role};
use mpo_models::{Sampling, SamplingError};
use serde_json::Value;

use super::ApiError;
use super::body::{Fields, kind};

/// Tokens that are named beside the chosen one at most.
const MOST_TOP: u64 = 20;
/// Texts that may end an answer.
const MOST_STOPS: usize = 16;
/// Tokens of a plain completion whose length nobody asked for; OpenAI's.
const COMPLETION_TOKENS: usize = 16;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) prompt: Prompt,
    /// Whether tokens are sent as they come.
    pub(crate) streams: bool,
    /// Whether the last event of a stream counts tokens.
    pub(crate) counts: bool,
    /// Texts that end the answer and are no part of it.
    pub(crate) stops: Vec<String>,
    pub(crate) length: Length,
    /// None for the most probable tokens.
    pub(crate) sampling: Option<Sampling>,
    pub(crate) top_log_probs: Option<usize>,
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) tokens: usize,
    /// The field that says so. Without one it is as long as there is room for.
    pub(crate) field: Option<&'static str>,
}

/// What is answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Prompt {
    Conversation(Vec<Message>),
    Text(String),
}

impl Prompt {
    /// The field that it comes in.
    pub(crate) fn field(&self) -> &'static str {
        match self {
            Self::Conversation(_) => "messages",
            Self::Text(_) => "prompt",
        }
    }
}

/// Settings of a draw that other servers know, and the number of each that changes nothing.
const OTHER_DRAWS: [(&str, f64); 10] = [
    ("frequency_penalty", 0.0),
    ("presence_penalty", 0.0),
    ("repetition_penalty", 1.0),
    ("repeat_penalty", 1.0),
    ("length_penalty", 1.0),
    ("min_p", 0.0),
    ("typical_p", 1.0),
    ("tfs_z", 1.0),
    ("mirostat", 0.0),
    ("min_tokens", 0.0),
];
/// What else would change an answer on one server or another: false or empty it changes nothing.
const OTHER_CHANGES: [&str; 20] = [
    "logit_bias",
    "logits_processors",
    "bad_words",
    "stop_token_ids",
    "ignore_eos",
    "use_beam_search",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "json_schema",
    "grammar",
    "chat_template",
    "chat_template_kwargs",
    "prompt_embeds",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
    "audio",
];

impl Asked {
    /// A request for a chat completion, of at most `most_tokens`.
    pub(crate) fn chat(mut fields: Fields, most_tokens: usize) -> Result<Self, ApiError> {
        let messages = fields.take("messages").ok_or_else(|| missing("messages"))?;
        let prompt = Prompt::Conversation(conversation(&messages)?);
        let [old, new] = ["max_tokens", "max_completion_tokens"].map(|name| fields.count(name, 1, most_tokens as u64));
        let (old, new) = (old?, new?);
        let field = match (new, old) {
            (Some(_), _) => Some("max_completion_tokens"),
            (None, old) => old.map(|_| "max_tokens"),
        };
        let length = Length { tokens: new.or(old).unwrap_or(most_tokens), field };
        let wants_log_probs = fields.boolean("logprobs")?;
        let top = fields.count("top_logprobs", 0, MOST_TOP)?;
        if top.is_some_and(|top| top > 0) && !wants_log_probs {
            return Err(ApiError::field("top_logprobs", "logprobs to be true beside it", "that it is not"));
        }
        fields.refuse("tools", is_nothing)?;
        fields.refuse("functions", is_nothing)?;
        fields.refuse("tool_choice", |value| value == "none" || value == "auto")?;
        fields.refuse("response_format", |value| value["type"] == "text")?;
        fields.refuse("modalities", |value| *value == serde_json::json!(["text"]))?;
        let top_log_probs = wants_log_probs.then_some(top.unwrap_or(0));
        Self::both(fields, prompt, length, top_log_probs)
    }

    /// A request for a plain completion, of at most `most_tokens`.
    pub(crate) fn completion(mut fields: Fields, most_tokens: usize) -> Result<Self, ApiError> {
        let prompt = fields.take("prompt").ok_or_else(|| missing("prompt"))?;
        let text = match &prompt {
            Value::Array(items) if items.len() == 1 => items[0].as_str(),
            prompt => prompt.as_str(),
        };
        let text = text.ok_or_else(|| ApiError::field("prompt", "one string", kind(&prompt)))?.to_owned();
        let max_tokens = fields.count("max_tokens", 1, most_tokens as u64)?;
        let tokens = max_tokens.unwrap_or(COMPLETION_TOKENS.min(most_tokens));
        let length = Length { tokens, field: max_tokens.map(|_| "max_tokens") };
        fields.refuse("logprobs", |value| value == 0)?;
        fields.refuse("best_of", |value| value == 1)?;
        fields.refuse("echo", |value| value == false)?;
        fields.refuse("suffix", |value| value == "")?;
        Self::both(fields, Prompt::Text(text), length, None)
    }

    /// What both kinds have in common.
    fn both(
        mut fields: Fields,
        prompt: Prompt,
        length: Length,
        top_log_probs: Option<usize>,
    ) -> Result<Self, ApiError> {
        let model = fields.text("model")?.ok_or_else(|| missing("model"))?;
        let streams = fields.boolean("stream")?;
        let counts = match fields.take("stream_options") {
            None => false,
            Some(Value::Object(options)) => match options.get("include_usage") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(counts)) => *counts,
                Some(other) => {
                    return Err(ApiError::field("stream_options.include_usage", "true or false", kind(other)));
                }
            },
            Some(other) => return Err(ApiError::field("stream_options", "an object", kind(&other))),
        };
        let stops = stops(fields.take("stop"))?;
        fields.refuse("n", |value| value == 1)?;
        for (name, idle) in OTHER_DRAWS {
            fields.refuse(name, |value| value.as_f64() == Some(idle))?;
        }
        for name in OTHER_CHANGES {
            fields.refuse(name, is_nothing)?;
        }
        let sampling = sampling(&mut fields)?;
        Ok(Self { model, prompt, streams, counts, stops, length, sampling, top_log_probs })
    }
}

/// Whether a value asks for nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Null | Value::Number(_) => false,
    }
}

fn missing(name: &'static str) -> ApiError {
    ApiError::field(name, "a value", "none")
}

fn conversation(messages: &Value) -> Result<Vec<Message>, ApiError> {
    let list = messages.as_array().filter(|messages| !messages.is_empty());
    let list = list.ok_or_else(|| ApiError::field("messages", "a list of at least one message", kind(messages)))?;
    list.iter().enumerate().map(|(number, value)| message(number, value)).collect()
}

fn message(number: usize, message: &Value) -> Result<Message, ApiError> {
    let wrong = |field: &str, expected: &str, got: &Value| {
        ApiError::field(format!("messages[{number}]{field}"), expected, kind(got))
    };
    if !message.is_object() {
        return Err(wrong("", "an object", message));
    }
    let role = match message["role"].as_str() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => return Err(wrong(".role", "system, developer, user or assistant", &message["role"])),
    };
    let expected = "a string, or a list of parts {type: text, text}";
    let content = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = |part: &Value| part["text"].as_str().filter(|_| part["type"] == "text").map(str::to_owned);
            let texts: Option<String> = parts.iter().map(text).collect();
            texts.ok_or_else(|| wrong(".content", expected, &message["content"]))?
        }
        other => return Err(wrong(".content", expected, other)),
    };
    Ok(Message { role, content })
}

fn stops(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    let stops: Option<Vec<String>> = match &value {
        None => Some(vec![]),
        Some(Value::String(stop)) => Some(vec![stop.clone()]),
        Some(Value::Array(stops)) => stops.iter().map(|stop| stop.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    let stops = stops.filter(|stops| stops.len() <= MOST_STOPS && stops.iter().all(|stop| !stop.is_empty()));
    stops.ok_or_else(|| {
        let expected = format!("a string, or a list of at most {MOST_STOPS}, none of them empty");
        ApiError::field("stop", &expected, value.as_ref().map_or_else(String::new, kind))
    })
}

/// OpenAI's defaults: at temperature 1, from all tokens, each time other ones.
fn sampling(fields: &mut Fields) -> Result<Option<Sampling>, ApiError> {
    let temperature = fields.number("temperature")?.unwrap_or(1.0);
    let top_p = fields.number("top_p")?.unwrap_or(1.0);
    let top_k = fields.count("top_k", 1, u64::from(u32::MAX))?;
    let seed = fields.seed()?.unwrap_or_else(|| RandomState::new().hash_one(0));
    // Where tokens are drawn it is above 0; here 0 is the most probable token.
    if temperature < 0.0 {
        return Err(ApiError::field("temperature", "a number of at least 0", temperature));
    }
    // The other settings are checked all the same.
    let drawn = if temperature == 0.0 { 1.0 } else { temperature };
    let sampling = Sampling::new(drawn, top_k, top_p, seed);
    let sampling = sampling.map_err(|error| match error {
        // Named as its flag elsewhere.
        SamplingError::Setting { setting, expected, got } => ApiError::field(setting.replace('-', "_"), expected, got),
        error => ApiError::new(StatusCode::BAD_REQUEST, error.to_string()),
    })?;
    Ok((temperature != 0.0).then_some(sampling))
}
