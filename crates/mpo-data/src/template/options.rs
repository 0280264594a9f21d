//! How conversations are written: which template, and what it is told.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::builtin::BuiltinTemplate;
use crate::error::DataError;

/// Where a model's chat template is taken from. Written as `auto`, the name of a built-in one, or a `.jinja` file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TemplateChoice {
    /// The one in the model's folder.
    #[default]
    Auto,
    /// One that the program carries.
    Builtin(BuiltinTemplate),
    /// One in a file.
    File(PathBuf),
}

impl FromStr for TemplateChoice {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let builtin = BuiltinTemplate::ALL.into_iter().find(|one| one.name() == name);
        match (name, builtin) {
            ("auto", _) => Ok(Self::Auto),
            (_, Some(builtin)) => Ok(Self::Builtin(builtin)),
            (file, _) if file.ends_with(".jinja") => Ok(Self::File(file.into())),
            _ => Err(DataError::UnknownTemplate(name.into())),
        }
    }
}

impl TryFrom<String> for TemplateChoice {
    type Error = DataError;

    fn try_from(name: String) -> Result<Self, DataError> {
        name.parse()
    }
}

impl From<TemplateChoice> for String {
    fn from(choice: TemplateChoice) -> Self {
        match choice {
            TemplateChoice::Auto => "auto".into(),
            TemplateChoice::Builtin(builtin) => builtin.name().into(),
            TemplateChoice::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// What becomes of a system message that the template refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SystemMessage {
    /// The conversation is refused; also where the template leaves the message out without a word.
    #[default]
    Keep,
    /// Its text is put before that of the first user turn.
    Merge,
}

impl FromStr for SystemMessage {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "keep" => Ok(Self::Keep),
            "merge" => Ok(Self::Merge),
            _ => Err(DataError::Option { expected: "keep or merge", got: name.into() }),
        }
    }
}

impl TryFrom<String> for SystemMessage {
    type Error = DataError;

    fn try_from(name: String) -> Result<Self, DataError> {
        name.parse()
    }
}

impl From<SystemMessage> for String {
    fn from(choice: SystemMessage) -> Self {
        match choice {
            SystemMessage::Keep => "keep".into(),
            SystemMessage::Merge => "merge".into(),
        }
    }
}

/// Arguments of a template, such as `enable_thinking`, by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct TemplateArguments(Map<String, Value>);

impl TemplateArguments {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of this name is given.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }
}

impl TryFrom<Map<String, Value>> for TemplateArguments {
    type Error = DataError;

    fn try_from(arguments: Map<String, Value>) -> Result<Self, DataError> {
        match arguments.keys().find(|name| is_ours(name)) {
            None => Ok(Self(arguments)),
            Some(name) => Err(DataError::Option {
                expected: "an argument of the chat template that the program does not give itself",
                got: name.clone(),
            }),
        }
    }
}

/// Whether the program itself gives templates this variable.
pub(super) fn is_ours(name: &str) -> bool {
    matches!(name, "messages" | "tools" | "documents" | "add_generation_prompt")
}

impl From<TemplateArguments> for Map<String, Value> {
    fn from(arguments: TemplateArguments) -> Self {
        arguments.0
    }
}

impl FromIterator<TemplateArgument> for TemplateArguments {
    fn from_iter<I: IntoIterator<Item = TemplateArgument>>(arguments: I) -> Self {
        Self(arguments.into_iter().map(|one| (one.name, one.value)).collect())
    }
}

impl IntoIterator for TemplateArguments {
    type Item = TemplateArgument;
    type IntoIter = std::vec::IntoIter<TemplateArgument>;

    fn into_iter(self) -> Self::IntoIter {
        let arguments = self.0.into_iter();
        let arguments = arguments.map(|(name, value)| TemplateArgument { name, value });
        arguments.collect::<Vec<_>>().into_iter()
    }
}

/// One argument, written as `name=value`: the value is JSON, else text.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateArgument {
    name: String,
    value: Value,
}

impl FromStr for TemplateArgument {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !is_ours(name) => (name, value),
            _ => {
                return Err(DataError::Option {
                    expected: "NAME=VALUE, with a name that is not messages, tools, documents or add_generation_prompt",
                    got: text.into(),
                });
            }
        };
        // As Python programs write them, too.
        let value = match value {
            "True" => true.into(),
            "False" => false.into(),
            "None" => Value::Null,
            value => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
        };
        Ok(Self { name: name.into(), value })
    }
}

/// Everything that decides how a conversation becomes tokens, beside the model's folder.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TemplateOptions {
    /// The template.
    pub template: TemplateChoice,
    /// What it is told.
    pub arguments: TemplateArguments,
    /// What becomes of a system message that it refuses.
    pub system_message: SystemMessage,
    /// Whether what texts spell out, such as `</s>`, becomes the control token. Otherwise only the template writes those.
    pub special_tokens_in_text: bool,
}

impl From<TemplateChoice> for TemplateOptions {
    fn from(template: TemplateChoice) -> Self {
        Self { template, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_written_as_they_are_read() {
        for name in ["auto", "llama3", "gemma", "qwen", "plain", "mine.jinja"] {
            assert_eq!(String::from(name.parse::<TemplateChoice>().unwrap()), name);
        }
        assert!(
            matches!("llama4".parse::<TemplateChoice>(), Err(DataError::UnknownTemplate(name)) if name == "llama4")
        );
        for name in ["keep", "merge"] {
            assert_eq!(String::from(name.parse::<SystemMessage>().unwrap()), name);
        }
        assert!("drop".parse::<SystemMessage>().is_err());
    }

    #[test]
    fn arguments_are_json_or_text() {
        let arguments: TemplateArguments = [
            "enable_thinking=false",
            "thinking=True",
            "budget=8",
            "style=plain",
            "day=26 Jul",
            "list=[1, \"a\"]",
            "empty=",
        ]
        .iter()
        .map(|text| text.parse::<TemplateArgument>().unwrap())
        .collect();
        let expected = serde_json::json!({
            "enable_thinking": false, "thinking": true, "budget": 8, "style": "plain", "day": "26 Jul",
            "list": [1, "a"], "empty": "",
        });
        assert_eq!(serde_json::to_value(&arguments).unwrap(), expected);
        let read: TemplateArguments = serde_json::from_value(expected).unwrap();
        assert_eq!(read, arguments);
        assert!(read.contains("style") && !read.is_empty());
        for bad in ["x", "=x", "messages=[]", "tools=1"] {
            assert!(bad.parse::<TemplateArgument>().is_err(), "{bad}");
        }
        let tools = serde_json::json!({ "tools": [] });
        assert!(serde_json::from_value::<TemplateArguments>(tools).is_err());
    }
}
