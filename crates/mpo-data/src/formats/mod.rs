//! The formats a row may have, and how each becomes a [`Draft`].

mod authors;
mod conversation;
mod elsewhere;
mod markers;
mod parallel;
mod side;
mod transcript;
mod unpaired;

use serde_json::Value;

use crate::language::Language;
use crate::pair::{Message, Tools};
use crate::records::Fields;
use crate::report::WarningKind;
pub(crate) use conversation::{Tags, of_bearable_length};
pub(crate) use elsewhere::advice;

/// What a row says once its syntax is known and before its content is judged.
pub(crate) enum Draft {
    Pair(PairDraft),
    Answer(AnswerDraft),
    Prompts(PromptsDraft),
}

/// A pair, in one language or two.
pub(crate) struct PairDraft {
    /// None in formats of one language.
    pub(crate) dominant: Option<DraftSide>,
    pub(crate) target: DraftSide,
    /// What is odd about it.
    pub(crate) oddities: Vec<WarningKind>,
}

impl Draft {
    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let of_prompt = |prompt: &[Message]| {
            let messages = prompt.iter();
            let sizes = messages.map(|message| size_of::<Message>() + message.content.len());
            sizes.sum::<usize>()
        };
        let of_tools = |tools: &Option<Tools>| {
            let tools = tools.as_ref();
            tools.map_or(0, |tools| tools.as_json().to_string().len())
        };
        let of_side = |side: &DraftSide| {
            let answers = side.chosen.len() + side.rejected.len();
            of_prompt(&side.prompt) + of_tools(&side.tools) + answers
        };
        let texts = match self {
            Self::Pair(pair) => pair.dominant.as_ref().map_or(0, of_side) + of_side(&pair.target),
            Self::Answer(answer) => of_prompt(&answer.prompt) + of_tools(&answer.tools) + answer.answer.len(),
            Self::Prompts(draft) => draft.prompts.iter().map(|(_, prompt)| of_prompt(prompt)).sum(),
        };
        size_of::<Self>() + texts
    }
}

/// One side of a row; its language is none where the row does not name it.
pub(crate) struct DraftSide {
    pub(crate) language: Option<Language>,
    /// Whether the prompt is to be answered, and not refused.
    pub(crate) is_benign: bool,
    pub(crate) prompt: Vec<Message>,
    pub(crate) tools: Option<Tools>,
    pub(crate) chosen: String,
    pub(crate) rejected: String,
}

/// A single answer.
pub(crate) struct AnswerDraft {
    pub(crate) language: Option<Language>,
    pub(crate) prompt: Vec<Message>,
    pub(crate) tools: Option<Tools>,
    pub(crate) answer: String,
    pub(crate) desirable: bool,
    /// Whether the prompt is to be answered, and not refused.
    pub(crate) is_benign: bool,
}

/// One prompt in several languages, as the row has them.
pub(crate) struct PromptsDraft {
    pub(crate) prompts: Vec<(Language, Vec<Message>)>,
}

/// Why a row makes no draft.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is not what its format promises.
    Malformed(String),
    /// It does not have this field.
    Missing(String),
    /// Where its answers should be, it says which fields they are in.
    Elsewhere(String),
    /// It is well formed, and no preference between two answers to one prompt.
    NoPreference(&'static str),
}

impl From<String> for Unfit {
    fn from(problem: String) -> Self {
        Self::Malformed(problem)
    }
}

/// The first of some columns that, in the data sets known to have it, decides which answer of a row is the better one.
pub(crate) fn deciding(columns: &[String]) -> Option<&String> {
    let decides = |name: &str| {
        matches!(
            name,
            "better_response_id" | "safer_response_id" | "winner" | "labels" | "overall_preference" | "preference"
        )
    };
    columns.iter().find(|name| decides(name))
}

/// A known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The paper's release: `source_*` and `target_*`.
    Authors,
    /// This project's own, a side in each of two languages.
    Bilingual,
    /// Two answers: TRL's, HH's, LLaMA-Factory's.
    Pairs,
    /// One answer and a label.
    Unpaired,
    /// This project's own, one prompt in several languages.
    Parallel,
}

impl Format {
    /// The format whose keys this row has. One key is enough, so that another that is missing is reported by its name.
    pub(crate) fn of(fields: &Fields) -> Option<Self> {
        let has = |keys: &[&str]| keys.iter().any(|key| fields.contains_key(*key));
        let two_outputs = fields.get("output").is_some_and(Value::is_array);
        if has(&["source_conversations", "target_conversations"]) {
            Some(Self::Authors)
        } else if has(&["dominant", "target"]) {
            Some(Self::Bilingual)
        } else if has(&["chosen", "rejected", "rejected_response"]) || two_outputs {
            Some(Self::Pairs)
        } else if has(&["completion", "label", "kto_tag"]) {
            Some(Self::Unpaired)
        // A list of this name holds rows.
        } else if fields.get("prompts").is_some_and(Value::is_object) {
            Some(Self::Parallel)
        } else {
            None
        }
    }

    /// What a row says. The fields that stay in it were not read.
    pub(crate) fn parse(self, row: &mut Row<'_>) -> Result<Draft, Unfit> {
        match self {
            Self::Authors => authors::draft(row).map(Draft::Pair),
            Self::Bilingual => side::two(row).map(Draft::Pair),
            Self::Pairs => side::one(row).map(Draft::Pair),
            Self::Unpaired => unpaired::draft(row).map(Draft::Answer),
            Self::Parallel => parallel::draft(row).map(Draft::Prompts),
        }
    }
}

/// The fields of a row; each is taken out as it is read.
pub(crate) struct Row<'a> {
    fields: Fields,
    /// What these names begin with in the file, such as `target.`.
    prefix: &'static str,
    tags: &'a Tags,
}

impl<'a> Row<'a> {
    pub(crate) fn new(fields: Fields, tags: &'a Tags) -> Self {
        Self { fields, prefix: "", tags }
    }

    /// The names of the fields that were not read.
    pub(crate) fn unread(&self) -> impl Iterator<Item = String> {
        self.fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| self.name(name))
    }

    /// Messages that were under this key. What they say beside a role and a text stays in the row as not read, named as in
    /// `prompt[].tool_calls`.
    fn messages(&mut self, key: &str, value: &Value) -> Result<Vec<Message>, Unfit> {
        let messages = conversation::messages(value, &self.name(key), self.tags)?;
        for name in conversation::unread(value, key, self.tags) {
            self.fields.insert(name, Value::Bool(true));
        }
        Ok(messages)
    }

    /// A field's name as the user has written it.
    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn has(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(|value| !value.is_null())
    }

    /// A field's value; `null` is none.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.shift_remove(key).filter(|value| !value.is_null())
    }

    /// A field's value.
    ///
    /// # Errors
    /// If there is none.
    fn need(&mut self, key: &str) -> Result<Value, Unfit> {
        let is_null = self.fields.contains_key(key);
        self.take(key).ok_or_else(|| {
            if is_null {
                format!("{}: expected a value, got null", self.name(key)).into()
            } else {
                Unfit::Missing(self.name(key))
            }
        })
    }

    /// A text that says something; blank is none.
    fn text(&mut self, key: &str) -> Result<Option<String>, Unfit> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
            Some(other) => Err(format!("{}: expected a text, got {}", self.name(key), kind(&other)).into()),
        }
    }

    /// The language that the row names. `und` is how standards say that nobody knows.
    fn language(&mut self) -> Result<Option<Language>, Unfit> {
        match self.text("language")? {
            Some(code) if code.trim() != "und" => {
                let language = code.parse::<Language>();
                Ok(Some(language.map_err(|error| format!("{}: {error}", self.name("language")))?))
            }
            _ => Ok(None),
        }
    }

    /// The tools that the row offers, as JSON or as a text of it.
    fn tools(&mut self) -> Result<Option<Tools>, Unfit> {
        let value = match self.take("tools") {
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(Value::String(text)) => Some(
                serde_json::from_str(&text)
                    .map_err(|_| format!("{}: expected a list in JSON, got another text", self.name("tools")))?,
            ),
            value => value,
        };
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(tools)) if tools.is_empty() => Ok(None),
            Some(Value::Array(tools)) => Ok(Some(Tools::new(tools))),
            Some(other) => {
                let (name, kind) = (self.name("tools"), kind(&other));
                Err(format!("{name}: expected a list, got {kind}").into())
            }
        }
    }
}

/// What a value is, for people.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("`{}`", short(text)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// The beginning of a text, for a message about it.
fn short(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a row becomes, as `role: text` of the prompt, then the answers.
    pub(super) fn parsed(row: Value) -> Result<String, Unfit> {
        let fields = row.as_object().unwrap().clone();
        let format = Format::of(&fields).unwrap();
        let tags = Tags::default();
        let prompt = |messages: &[Message]| {
            let messages = messages.iter();
            let messages = messages.map(|message| format!("{}: {}", message.role.as_str(), message.content));
            messages.collect::<Vec<_>>().join(" / ")
        };
        let side = |side: &DraftSide| format!("{} > {} | {}", prompt(&side.prompt), side.chosen, side.rejected);
        Ok(match format.parse(&mut Row::new(fields, &tags))? {
            Draft::Pair(PairDraft { dominant: Some(dominant), target, .. }) => {
                format!("{} ~ {}", side(&dominant), side(&target))
            }
            Draft::Pair(pair) => side(&pair.target),
            Draft::Answer(answer) => {
                format!("{} > {} {}", prompt(&answer.prompt), answer.answer, answer.desirable)
            }
            Draft::Prompts(draft) => {
                let prompts =
                    draft.prompts.iter().map(|(language, messages)| format!("{language} {}", prompt(messages)));
                prompts.collect::<Vec<_>>().join(" | ")
            }
        })
    }

    pub(super) fn problem(row: Value) -> String {
        match parsed(row.clone()) {
            Err(Unfit::Malformed(problem) | Unfit::Elsewhere(problem)) => problem,
            Err(Unfit::Missing(field)) => format!("missing field `{field}`"),
            Err(Unfit::NoPreference(problem)) => format!("dropped: {problem}"),
            Ok(parsed) => panic!("{row}: {parsed}"),
        }
    }

    #[test]
    fn fields_that_are_not_read_are_known() {
        let tags = Tags::default();
        let row = json!({
            "prompt": "q", "chosen": "a", "rejected": "b", "score": 1, "note": null, "messages": [],
        });
        let mut row = Row::new(row.as_object().unwrap().clone(), &tags);
        Format::Pairs.parse(&mut row).unwrap();
        assert_eq!(row.unread().collect::<Vec<_>>(), ["score", "messages"]);
    }

    #[test]
    fn what_messages_say_beside_their_texts_is_known_as_not_read() {
        let tags = Tags::default();
        let said = |text: &str| json!({ "role": "assistant", "content": text, "tool_calls": [{}], "name": null });
        let side = |text: &str| {
            json!({
                "prompt": [{ "from": "human", "value": "q", "name": "x" }, { "from": "gpt", "value": "a", "weight": 1 },
                           { "from": "human", "value": "q" }],
                "chosen": [said(text)], "rejected": said("b"),
            })
        };
        let row = json!({ "dominant": side("a"), "target": side("c") });
        let mut row = Row::new(row.as_object().unwrap().clone(), &tags);
        Format::Bilingual.parse(&mut row).unwrap();
        let one = ["chosen[].tool_calls", "rejected.tool_calls", "prompt[].name", "prompt[].weight"];
        let both = ["dominant", "target"].into_iter().flat_map(|side| one.map(|name| format!("{side}.{name}")));
        assert_eq!(row.unread().collect::<Vec<_>>(), both.collect::<Vec<_>>());
    }

    #[test]
    fn tools_are_a_list_or_a_text_of_one() {
        let tags = Tags::default();
        let tools = |tools: Value| {
            let fields = Fields::from_iter([("tools".into(), tools)]);
            Row::new(fields, &tags).tools()
        };
        let list = json!([{ "type": "function" }]);
        let some = Some(Tools::new(list.as_array().unwrap().clone()));
        assert_eq!(tools(list.clone()).unwrap(), some);
        assert_eq!(tools(list.to_string().into()).unwrap(), some);
        for none in [json!(null), json!(""), json!("null"), json!([]), json!("[]")] {
            assert_eq!(tools(none.clone()).unwrap(), None, "{none}");
        }
        for wrong in [json!("get_time"), json!({}), json!(3)] {
            let Err(Unfit::Malformed(problem)) = tools(wrong) else { panic!() };
            assert!(problem.starts_with("tools: expected a list"), "{problem}");
        }
    }
}
