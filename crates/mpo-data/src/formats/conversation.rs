//! Messages, in the ways that data sets write them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Unfit, kind, short};
use crate::pair::{Message, Role};
use crate::records::Fields;

/// The longest text that is read: 1 MiB. To split a text into tokens takes hundreds of times its length in memory, and
/// no prompt or answer is a book.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Names within a message beside those that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    /// The field of who speaks.
    pub(crate) role: Option<String>,
    /// The field of what is said.
    pub(crate) content: Option<String>,
    /// Who gives instructions.
    pub(crate) system: Option<String>,
    /// Who asks.
    pub(crate) user: Option<String>,
    /// Who answers.
    pub(crate) assistant: Option<String>,
}

impl Tags {
    fn speaker(&self, name: &str) -> Option<Role> {
        let is = |tag: &Option<String>| tag.as_deref() == Some(name);
        match name.to_ascii_lowercase().as_str() {
            _ if is(&self.system) => Some(Role::System),
            _ if is(&self.user) => Some(Role::User),
            _ if is(&self.assistant) => Some(Role::Assistant),
            "system" | "developer" => Some(Role::System),
            "user" | "human" | "prompter" => Some(Role::User),
            "assistant" | "gpt" | "model" | "bot" | "chatgpt" => Some(Role::Assistant),
            _ => None,
        }
    }

    /// The field of a message by the user's name for it or one of the usual ones.
    fn field<'f>(fields: &'f Fields, tag: Option<&String>, usual: [&'static str; 2]) -> Option<&'f Value> {
        let names = tag.map(String::as_str).into_iter().chain(usual);
        names.filter_map(|name| fields.get(name)).next()
    }
}

/// A conversation: a list of messages, or one alone. `name` is what it is called in messages about it.
pub(super) fn messages(value: &Value, name: &str, tags: &Tags) -> Result<Vec<Message>, Unfit> {
    match value {
        Value::Array(list) => {
            let places = list.iter().enumerate();
            let places: Vec<(String, &Value)> =
                places.map(|(index, value)| (format!("{name}[{index}]"), value)).collect();
            // Who speaks is looked at first: what a tool is told has no text.
            let roles: Result<Vec<Role>, Unfit> = places.iter().map(|(name, value)| role(value, name, tags)).collect();
            let roles = roles?.into_iter().zip(&places);
            roles
                .map(|(role, (name, value))| {
                    let content = said(value, name, tags)?;
                    Ok(Message { role, content })
                })
                .collect()
        }
        Value::Object(_) => Ok(vec![Message { role: role(value, name, tags)?, content: said(value, name, tags)? }]),
        other => Err(format!(
            "{name}: expected a string or a list of messages, {{role, content}} or {{from, value}}; got {}",
            kind(other)
        )
        .into()),
    }
}

/// The names of what messages say beside who speaks and what is said, as `name[].field`, or `name.field` of one alone.
pub(super) fn unread(value: &Value, name: &str, tags: &Tags) -> BTreeSet<String> {
    let (messages, brackets) = match value {
        Value::Array(messages) => (&messages[..], "[]"),
        message => (std::slice::from_ref(message), ""),
    };
    let own = [&tags.role, &tags.content];
    let own: Vec<&str> = own.into_iter().flatten().map(String::as_str).collect();
    let is_read = |field: &str| own.contains(&field) || matches!(field, "role" | "from" | "content" | "value");
    let fields = messages.iter().filter_map(Value::as_object).flatten();
    let left = fields.filter(|(field, value)| !value.is_null() && !is_read(field));
    left.map(|(field, _)| format!("{name}{brackets}.{field}")).collect()
}

/// A value in which a text that is a list of messages in JSON, as a cell of a table holds it, has become that list.
///
/// # Errors
/// If it is such a list as Python shows it, which is no JSON.
pub(super) fn unfolded(value: Value, name: &str) -> Result<Value, Unfit> {
    let Value::String(text) = &value else {
        return Ok(value);
    };
    let start = text.trim_start();
    let speaks = |list: &Value| {
        let first = list.get(0).unwrap_or(list);
        ["role", "from"].iter().any(|key| first.get(key).is_some())
    };
    if start.starts_with("[{'") && (start.contains("'role'") || start.contains("'from'")) {
        return Err(format!(
            "{name}: expected messages in JSON, got them as Python shows a list; write the file as JSONL or Parquet"
        )
        .into());
    }
    match start.starts_with(['[', '{']).then(|| serde_json::from_str(start)) {
        Some(Ok(list)) if speaks(&list) => Ok(list),
        _ => Ok(value),
    }
}

fn role(value: &Value, name: &str, tags: &Tags) -> Result<Role, Unfit> {
    let Value::Object(fields) = value else {
        let kind = kind(value);
        return Err(format!("{name}: expected a message, got {kind}").into());
    };
    match Tags::field(fields, tags.role.as_ref(), ["role", "from"]) {
        Some(Value::String(role)) => tags.speaker(role).ok_or_else(|| {
            format!("{name}: expected the role system, user or assistant, got `{}`", short(role)).into()
        }),
        Some(other) => Err(format!("{name}: expected a role, got {}", kind(other)).into()),
        None => Err(format!("{name}: expected a field `role` or `from`, got none").into()),
    }
}

fn said(value: &Value, name: &str, tags: &Tags) -> Result<String, Unfit> {
    let fields = value.as_object();
    let content = fields
        .and_then(|fields| Tags::field(fields, tags.content.as_ref(), ["content", "value"]))
        .unwrap_or(&Value::Null);
    if content.is_null() && fields.is_some_and(|fields| fields.get("tool_calls").is_some_and(|calls| !calls.is_null()))
    {
        return Err(format!("{name}: expected a text, got a call of tools").into());
    }
    text(content, &format!("{name}.content"))
}

/// A text, or the parts of one.
fn text(value: &Value, name: &str) -> Result<String, Unfit> {
    match value {
        Value::String(text) => Ok(of_bearable_length(text.as_str(), name)?.into()),
        Value::Array(parts) => {
            let mut text = String::new();
            for (index, part) in parts.iter().enumerate() {
                text += part_text(part, &format!("{name}[{index}]"))?;
            }
            Ok(of_bearable_length(text, name)?)
        }
        other => Err(format!("{name}: expected a text, got {}", kind(other)).into()),
    }
}

fn part_text<'v>(part: &'v Value, name: &str) -> Result<&'v str, Unfit> {
    let of_type = |part: &Value| part.get("type").and_then(Value::as_str).map(short);
    match (part, part.get("text")) {
        (Value::String(text), _) => Ok(text),
        (_, Some(Value::String(text))) if of_type(part).is_none_or(|of| of.ends_with("text")) => Ok(text),
        _ => {
            let got = match of_type(part) {
                Some(of) => format!("one of type `{of}`"),
                None => kind(part),
            };
            Err(format!("{name}: expected a part of type `text`, got {got}; models here read text only").into())
        }
    }
}

/// The text, if it is one that is read; else what is wrong with it, under its name.
pub(crate) fn of_bearable_length<T: AsRef<str>>(text: T, name: &str) -> Result<T, String> {
    match text.as_ref().len() {
        0..=MAX_TEXT_BYTES => Ok(text),
        length => Err(format!("{name}: expected a text of at most {MAX_TEXT_BYTES} bytes, got {length}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<String, String> {
        match messages(&value, "prompt", &Tags::default()) {
            Ok(messages) => Ok(messages
                .iter()
                .map(|message| format!("{}={}", message.role.as_str(), message.content))
                .collect::<Vec<_>>()
                .join(" ")),
            Err(Unfit::Malformed(problem)) => Err(problem),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_are_written_in_many_ways() {
        for (value, expected) in [
            (json!([{ "role": "user", "content": "a", "name": "x" }]), "user=a"),
            (json!({ "role": "assistant", "content": "a" }), "assistant=a"),
            (
                json!([{ "from": "system", "value": "s" }, { "from": "human", "value": "a" }, { "from": "gpt", "value": "b" }]),
                "system=s user=a assistant=b",
            ),
            (
                json!([{ "role": "user", "content": [{ "type": "text", "text": "a " }, { "text": "b", "type": "input_text" }, "c"] }]),
                "user=a bc",
            ),
            (json!([]), ""),
        ] {
            assert_eq!(read(value.clone()).unwrap(), expected, "{value}");
        }
        let tags = Tags {
            role: Some("who".into()),
            content: Some("words".into()),
            user: Some("person".into()),
            ..Tags::default()
        };
        let value = json!([{ "who": "person", "words": "a" }]);
        assert_eq!(messages(&value, "m", &tags).unwrap(), [Message::user("a")]);
    }

    #[test]
    fn messages_may_be_a_text_of_json() {
        let list = json!([{ "role": "user", "content": "a" }]);
        let unfold = |text: &str| unfolded(text.into(), "chosen");
        assert_eq!(unfold(&list.to_string()).unwrap(), list);
        for text in ["[1] says so", "[1, 2]", "{\"a\": 1}", "Hello", "[", ""] {
            assert_eq!(unfold(text).unwrap(), json!(text));
        }
        let shown = "[{'content': 'a', 'role': 'user'}]";
        assert!(matches!(unfold(shown), Err(Unfit::Malformed(problem)) if problem.starts_with("chosen: ")));
    }

    #[test]
    fn what_is_wrong_with_a_message_is_said_with_its_place() {
        let image = json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": {} }] }]);
        let calls = json!([{ "role": "assistant", "content": null, "tool_calls": [{}] }]);
        let tool = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": null }, { "role": "tool", "content": "12" }]);
        let long = json!([{ "role": "user", "content": "x".repeat(MAX_TEXT_BYTES + 1) }]);
        for (value, expected) in [
            (image, "prompt[0].content[1]: expected a part of type `text`, got one of type `image_url`"),
            (calls, "prompt[0]: expected a text, got a call of tools"),
            (tool, "prompt[2]: expected the role system, user or assistant, got `tool`"),
            (long, "prompt[0].content: expected a text of at most 1048576 bytes, got 1048577"),
            (json!([{ "role": "user", "content": null }]), "prompt[0].content: expected a text, got null"),
            (json!([{ "role": "user" }]), "prompt[0].content: expected a text, got null"),
            (json!([{ "role": 3, "content": "a" }]), "prompt[0]: expected a role, got 3"),
            (json!([{ "content": "a" }]), "prompt[0]: expected a field `role` or `from`, got none"),
            (json!(["a"]), "prompt[0]: expected a message, got `a`"),
            (json!(7), "prompt: expected a string or a list"),
        ] {
            let problem = read(value).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
