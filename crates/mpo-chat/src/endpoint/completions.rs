//! OpenAI's chat completions.

use mpo_data::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::EndpointOptions;
use super::protocol::Protocol;
use crate::model::{Reply, Usage};

pub(super) struct ChatCompletions;

impl Protocol for ChatCompletions {
    fn path(&self) -> &str {
        "/chat/completions"
    }

    fn identity(&self, options: &EndpointOptions) -> String {
        let EndpointOptions { model, temperature, max_tokens, .. } = options;
        format!("{model} temperature {temperature} max_tokens {max_tokens}")
    }

    fn body(&self, options: &EndpointOptions, conversations: &[&[Message]]) -> Value {
        json!({
            "model": options.model,
            "messages": conversations.first(),
            "temperature": options.temperature,
            "max_tokens": options.max_tokens,
        })
    }

    fn replies(&self, text: &str) -> Result<Vec<Reply>, String> {
        let completion: Result<Completion, _> = serde_json::from_str(text);
        let completion = completion.map_err(|error| format!("expected a chat completion, got: {error}"))?;
        let choice = completion.choices.into_iter().next().ok_or("expected a choice, got none")?;
        let finish = choice.finish_reason.unwrap_or_default();
        if finish == "content_filter" {
            return Ok(vec![Reply::Missing { reason: "the endpoint's content filter".into() }]);
        }
        let text = choice.message.content.ok_or("expected a message, got none")?;
        Ok(vec![Reply::Answer { text, complete: finish != "length", usage: usage(&completion.usage) }])
    }
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: AssistantMessage,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct AssistantMessage {
    content: Option<String>,
}

/// What an answer took, as far as the server says: an answer is worth more than its count.
fn usage(said: &Value) -> Usage {
    let tokens = |key: &str| said[key].as_u64().unwrap_or(0);
    Usage { prompt_tokens: tokens("prompt_tokens"), completion_tokens: tokens("completion_tokens") }
}
