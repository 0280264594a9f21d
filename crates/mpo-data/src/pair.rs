//! One preference: a prompt, the answer to prefer and the answer to avoid; and the same in two languages.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::language::Language;

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions above the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that chat templates know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// What it says.
    pub content: String,
}

impl Message {
    /// A message of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }
}

/// The tools that a model is offered, each described as its chat template expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Tools(Value);

impl Tools {
    /// Tools by their descriptions.
    pub fn new(tools: Vec<Value>) -> Self {
        Self(tools.into())
    }

    /// The list of their descriptions.
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}

/// Why texts do not make a preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairProblem {
    /// Nothing was asked.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt does not leave the model to speak.
    #[error("the prompt does not end with a message of the user")]
    PromptNotUser,
    /// No answer to prefer.
    #[error("the chosen answer is empty")]
    EmptyChosen,
    /// No answer to avoid.
    #[error("the rejected answer is empty")]
    EmptyRejected,
    /// No answer.
    #[error("the completion is empty")]
    EmptyAnswer,
    /// Nothing to prefer between.
    #[error("the chosen and the rejected answer are the same")]
    SameAnswers,
}

impl PairProblem {
    /// The first thing that keeps these texts from being a preference.
    pub(crate) fn find(prompt: &[Message], chosen: &str, rejected: &str) -> Option<Self> {
        match Self::of_prompt(prompt) {
            Some(problem) => Some(problem),
            None if blank(chosen) => Some(Self::EmptyChosen),
            None if blank(rejected) => Some(Self::EmptyRejected),
            None if chosen == rejected => Some(Self::SameAnswers),
            None => None,
        }
    }

    /// The first thing that keeps these texts from being an exchange.
    pub(crate) fn of_exchange(prompt: &[Message], answer: &str) -> Option<Self> {
        Self::of_prompt(prompt).or(blank(answer).then_some(Self::EmptyAnswer))
    }

    /// The first thing that keeps these messages from being a prompt.
    pub(crate) fn of_prompt(prompt: &[Message]) -> Option<Self> {
        match prompt.last() {
            None => Some(Self::EmptyPrompt),
            Some(last) if blank(&last.content) => Some(Self::EmptyPrompt),
            Some(last) if last.role != Role::User => Some(Self::PromptNotUser),
            _ => None,
        }
    }
}

fn blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A preference in one language. No part is empty, the prompt ends with the user, and the answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PreferencePair {
    language: Language,
    prompt: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Tools>,
    #[serde(serialize_with = "as_message")]
    chosen: String,
    #[serde(serialize_with = "as_message")]
    rejected: String,
    /// A row says it beside its sides.
    #[serde(skip)]
    is_benign: bool,
}

/// An answer as a list of one message: what a text says is never taken for its shape then.
fn as_message<S: Serializer>(answer: &str, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Said<'a> {
        role: Role,
        content: &'a str,
    }
    [Said { role: Role::Assistant, content: answer }].serialize(serializer)
}

impl PreferencePair {
    /// Makes the pair, if it is one.
    pub fn new(
        language: Language,
        prompt: Vec<Message>,
        chosen: String,
        rejected: String,
    ) -> Result<Self, PairProblem> {
        match PairProblem::find(&prompt, &chosen, &rejected) {
            Some(problem) => Err(problem),
            None => Ok(Self { language, prompt, tools: None, chosen, rejected, is_benign: false }),
        }
    }

    /// The same with the tools that the prompt offers.
    #[must_use]
    pub fn with_tools(self, tools: Option<Tools>) -> Self {
        Self { tools, ..self }
    }

    /// The same with a prompt that is to be answered, if `is_benign`, instead of one to refuse.
    #[must_use]
    pub fn with_benign(self, is_benign: bool) -> Self {
        Self { is_benign, ..self }
    }

    /// The language of the prompt.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The conversation so far; its last message is the user's.
    pub fn prompt(&self) -> &[Message] {
        &self.prompt
    }

    /// The tools that the prompt offers, if any.
    pub fn tools(&self) -> Option<&Tools> {
        self.tools.as_ref()
    }

    /// Whether the prompt is to be answered and not refused, as its row says.
    pub fn is_benign(&self) -> bool {
        self.is_benign
    }

    /// The answer to prefer: the safe one.
    pub fn chosen(&self) -> &str {
        &self.chosen
    }

    /// The answer to avoid: the unsafe one.
    pub fn rejected(&self) -> &str {
        &self.rejected
    }
}

/// Where a row is in its file, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// A line of a JSONL file.
    Line(usize),
    /// An element of a JSON array.
    Row(usize),
}

/// The place a row came from. Displays as `file.json, row 17`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The place in it.
    #[serde(flatten)]
    pub position: Position,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Position::Line(line) => write!(f, "{}, line {line}", self.file.display()),
            Position::Row(row) => write!(f, "{}, row {row}", self.file.display()),
        }
    }
}

/// The same preference in the dominant language and in a target language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BilingualPair {
    /// The side whose reward gap is the measure.
    pub dominant: PreferencePair,
    /// The side that is aligned to it.
    pub target: PreferencePair,
    /// The row it came from.
    #[serde(skip)]
    pub origin: Origin,
}

/// A preference in one language with nothing to compare it to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MonolingualPair {
    /// The preference.
    #[serde(flatten)]
    pub pair: PreferencePair,
    /// The row it came from.
    #[serde(skip)]
    pub origin: Origin,
}

/// A single answer, good or bad. Neither it nor its prompt is empty, and the prompt ends with the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnpairedAnswer {
    /// The language of the prompt.
    pub language: Language,
    /// The conversation so far.
    pub prompt: Vec<Message>,
    /// The tools that the prompt offers, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,
    /// The answer.
    #[serde(rename = "completion", serialize_with = "as_message")]
    pub answer: String,
    /// Whether it is one to learn, or one to avoid.
    #[serde(rename = "label")]
    pub desirable: bool,
    /// Whether the prompt is to be answered and not refused, as its row says.
    #[serde(skip)]
    pub is_benign: bool,
    /// The row it came from.
    #[serde(skip)]
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_never_incomplete() {
        let ask = || vec![Message::user("How do I boil an egg?")];
        let answered = vec![Message { role: Role::Assistant, content: "Seven minutes.".into() }];
        for (prompt, chosen, rejected, expected) in [
            (ask(), "Seven minutes.", "No.", None),
            (vec![], "a", "b", Some(PairProblem::EmptyPrompt)),
            (vec![Message::user(" \n\u{3000}")], "a", "b", Some(PairProblem::EmptyPrompt)),
            (answered, "a", "b", Some(PairProblem::PromptNotUser)),
            (ask(), "\t", "b", Some(PairProblem::EmptyChosen)),
            (ask(), "a", "", Some(PairProblem::EmptyRejected)),
            (ask(), "a", "a", Some(PairProblem::SameAnswers)),
        ] {
            let pair = PreferencePair::new("en".parse().unwrap(), prompt, chosen.into(), rejected.into());
            assert_eq!(pair.err(), expected);
        }
    }

    #[test]
    fn origins_are_readable_by_people_and_programs() {
        let row = Origin { file: "a.json".into(), position: Position::Row(17) };
        assert_eq!(row.to_string(), "a.json, row 17");
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"file":"a.json","row":17}"#);
        let line = Origin { file: "a.jsonl".into(), position: Position::Line(3) };
        assert_eq!(line.to_string(), "a.jsonl, line 3");
    }
}
