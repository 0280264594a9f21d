//! What a template is given to write.

use std::mem;

use serde_json::{Value, json};

use crate::pair::{Message, PreferencePair, Role, Tools, UnpairedAnswer};

/// A conversation, and what may stand beside it. A list of messages is one without anything beside it.
#[derive(Debug, Clone, Copy)]
pub struct Conversation<'a> {
    /// What was said.
    pub messages: &'a [Message],
    /// The functions that the model may call, a list of JSON schemas.
    pub tools: Option<&'a Value>,
    /// Texts that the model may draw on.
    pub documents: Option<&'a Value>,
}

impl<'a> From<&'a [Message]> for Conversation<'a> {
    fn from(messages: &'a [Message]) -> Self {
        Self { messages, tools: None, documents: None }
    }
}

impl<'a> From<&'a Vec<Message>> for Conversation<'a> {
    fn from(messages: &'a Vec<Message>) -> Self {
        messages.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Message; N]> for Conversation<'a> {
    fn from(messages: &'a [Message; N]) -> Self {
        messages.as_slice().into()
    }
}

impl<'a> From<&'a PreferencePair> for Conversation<'a> {
    fn from(pair: &'a PreferencePair) -> Self {
        Self { tools: pair.tools().map(Tools::as_json), ..pair.prompt().into() }
    }
}

impl<'a> From<&'a UnpairedAnswer> for Conversation<'a> {
    fn from(answer: &'a UnpairedAnswer) -> Self {
        Self { tools: answer.tools.as_ref().map(Tools::as_json), ..(&answer.prompt).into() }
    }
}

/// A conversation as JSON.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) messages: Value,
    /// Null for none.
    pub(crate) tools: Value,
    pub(crate) documents: Value,
}

impl From<Conversation<'_>> for Parts {
    fn from(conversation: Conversation<'_>) -> Self {
        Self {
            messages: json!(conversation.messages),
            tools: json!(conversation.tools),
            documents: json!(conversation.documents),
        }
    }
}

impl Parts {
    /// The text of the system message that comes first.
    pub(crate) fn system(&self) -> Option<&str> {
        let first = self.messages.get(0)?;
        let is_system = first.get("role")? == Role::System.as_str();
        first.get("content")?.as_str().filter(|_| is_system)
    }

    /// The conversation with another text in its system message.
    pub(crate) fn with_other_system(mut self) -> Self {
        if let Some(content) = self.messages.get_mut(0).and_then(|first| first.get_mut("content")) {
            *content = format!("{}, else", content.as_str().unwrap_or_default()).into();
        }
        self
    }

    /// The conversation with the text of its system message before that of the user's first turn.
    pub(crate) fn merged(mut self) -> Option<Self> {
        let system = self.system()?.to_owned();
        let messages = self.messages.as_array_mut()?;
        messages.remove(0);
        let first = messages.first_mut()?;
        if first.get("role")? != Role::User.as_str() {
            return None;
        }
        let content = first.get_mut("content")?;
        *content = format!("{system}\n\n{}", content.as_str()?).into();
        Some(self)
    }

    /// Calls `change` with every text, names of fields included: a tool's parameters are named by whoever wrote it.
    pub(crate) fn each_text(&mut self, change: &mut impl FnMut(&mut String)) {
        for part in [&mut self.messages, &mut self.tools, &mut self.documents] {
            each_text(part, change);
        }
    }
}

fn each_text(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => {
            for (mut name, mut value) in mem::take(fields) {
                change(&mut name);
                each_text(&mut value, change);
                fields.insert(name, value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
