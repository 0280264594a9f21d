//! A prompt and two answers to it, in the shapes that preference data has: TRL's, with or without a prompt of its own,
//! plain or conversational; HH's transcripts; LLaMA-Factory's alpaca and sharegpt; ms-swift's conversation with a rejected
//! response; NeMo's two responses.

use serde_json::Value;

use super::conversation::{of_bearable_length, unfolded};
use super::elsewhere::refuse_pointers;
use super::{DraftSide, PairDraft, Row, Unfit, transcript};
use crate::pair::{Message, Role};
use crate::records::Fields;
use crate::report::WarningKind;

/// A row of one language.
pub(super) fn one(row: &mut Row<'_>) -> Result<PairDraft, Unfit> {
    let mut oddities = Vec::new();
    let is_benign = is_benign(row);
    let target = DraftSide { is_benign, ..side(row, &mut oddities)? };
    Ok(PairDraft { dominant: None, target, oddities })
}

/// Whether a row that was prepared is of a benign prompt. What else it says of where its parts came from is for people.
pub(super) fn is_benign(row: &mut Row<'_>) -> bool {
    row.take("provenance").is_some_and(|provenance| provenance.get("benign") == Some(&Value::Bool(true)))
}

/// A row of this project's own format, `{"dominant": {…}, "target": {…}}`. What the row says beside its sides, such as a
/// `system`, holds for each that does not say it itself.
pub(super) fn two(row: &mut Row<'_>) -> Result<PairDraft, Unfit> {
    let mut oddities = Vec::new();
    let is_benign = is_benign(row);
    let (system, tools) = (row.take("system"), row.take("tools"));
    let mut of = |key: &'static str, prefix: &'static str| {
        let Value::Object(mut fields) = row.need(key)? else {
            return Err(format!("{key}: expected an object").into());
        };
        for (key, value) in [("system", &system), ("tools", &tools)] {
            if let Some(value) = value
                && fields.get(key).is_none_or(Value::is_null)
            {
                fields.insert(key.into(), value.clone());
            }
        }
        let side = within(row, fields, prefix, |row| side(row, &mut oddities))?;
        Ok::<_, Unfit>(DraftSide { is_benign, ..side })
    };
    let (dominant, target) = (of("dominant", "dominant.")?, of("target", "target.")?);
    Ok(PairDraft { dominant: Some(dominant), target, oddities })
}

/// Reads fields that lie within a row. Those that are not read stay in the row, by the names that the user has written.
pub(super) fn within<T>(
    row: &mut Row<'_>,
    fields: Fields,
    prefix: &'static str,
    read: impl FnOnce(&mut Row<'_>) -> Result<T, Unfit>,
) -> Result<T, Unfit> {
    let mut inner = Row { fields, prefix, tags: row.tags };
    let value = read(&mut inner)?;
    let left: Vec<String> = inner.unread().collect();
    row.fields.extend(left.into_iter().map(|name| (name, Value::Bool(true))));
    Ok(value)
}

/// The prompt, the answers and the language of a row or of a side.
pub(super) fn side(row: &mut Row<'_>, oddities: &mut Vec<WarningKind>) -> Result<DraftSide, Unfit> {
    let language = row.language()?;
    let tools = row.tools()?;
    let (mut chosen, mut rejected) = answers(row)?;
    let prompt = match prompt(row)? {
        Some(prompt) => {
            let of_chosen = joined(&prompt, &mut chosen)?;
            let of_rejected = joined(&prompt, &mut rejected)?;
            if !same(&of_chosen, &of_rejected) {
                return Err(DIVERGED);
            }
            of_chosen
        }
        None if !chosen.before.is_empty() => {
            if !rejected.before.is_empty() && !same(&chosen.before, &rejected.before) {
                return Err(DIVERGED);
            }
            std::mem::take(&mut chosen.before)
        }
        None => {
            let shared = shared_beginning(&mut chosen, &mut rejected);
            oddities.extend(shared.is_some().then_some(WarningKind::SharedBeginning));
            let missing = || Unfit::Missing(row.name("prompt"));
            vec![Message::user(shared.ok_or_else(missing)?)]
        }
    };
    let prompt = instructed(row, prompt)?;
    Ok(DraftSide { language, is_benign: false, prompt, tools, chosen: chosen.text, rejected: rejected.text })
}

/// The two answers of a row.
fn answers(row: &mut Row<'_>) -> Result<(Answer, Answer), Unfit> {
    if row.has("rejected_response") && !row.has("chosen") {
        let rejected = answer(row, "rejected_response")?;
        let chosen = match last_of_conversation(row)? {
            Some(chosen) => chosen,
            None if row.has("chosen_response") => answer(row, "chosen_response")?,
            None => answer(row, "response")?,
        };
        return Ok((chosen, rejected));
    }
    if let Some(Value::Array(outputs)) = row.fields.get("output")
        && !row.has("chosen")
        && let [chosen, rejected] = &outputs[..]
    {
        let (chosen, rejected) = (chosen.clone(), rejected.clone());
        row.fields.shift_remove("output");
        row.fields.insert("chosen".into(), chosen);
        row.fields.insert("rejected".into(), rejected);
    }
    refuse_pointers(row)?;
    Ok((answer(row, "chosen")?, answer(row, "rejected")?))
}

const DIVERGED: Unfit = Unfit::NoPreference("the two conversations differ before their last answers");

/// An answer, and the conversation that was written with it.
pub(super) struct Answer {
    /// What a message about it calls it.
    name: String,
    pub(super) before: Vec<Message>,
    pub(super) text: String,
}

impl Answer {
    /// Of a conversation: the last message, which is the assistant's.
    fn last(name: String, mut messages: Vec<Message>) -> Result<Self, Unfit> {
        match messages.pop() {
            Some(last) if last.role == Role::Assistant => Ok(Self { name, before: messages, text: last.content }),
            Some(last) => Err(format!(
                "{name}: expected an answer by the assistant at the end, got a message of the {}",
                last.role.as_str()
            )
            .into()),
            None => Err(format!("{name}: expected an answer, got an empty list").into()),
        }
    }
}

/// An answer under this key: a text, a message, or a conversation that ends with it.
pub(super) fn answer(row: &mut Row<'_>, key: &str) -> Result<Answer, Unfit> {
    let name = row.name(key);
    match unfolded(row.need(key)?, &name)? {
        Value::String(text) => match transcript::messages(&text) {
            Some(messages) => Answer::last(name, messages),
            None => Ok(Answer { text: of_bearable_length(text, &name)?, before: vec![], name }),
        },
        value => {
            let messages = row.messages(key, &value)?;
            Answer::last(name, messages)
        }
    }
}

/// The last message of a conversation that the row is, and what was before.
pub(super) fn last_of_conversation(row: &mut Row<'_>) -> Result<Option<Answer>, Unfit> {
    match conversation(row)? {
        Some((name, messages)) => Answer::last(name, messages).map(Some),
        None => Ok(None),
    }
}

/// Under `conversations` or `messages`, and that name.
fn conversation(row: &mut Row<'_>) -> Result<Option<(String, Vec<Message>)>, Unfit> {
    let Some(key) = ["conversations", "messages"].into_iter().find(|key| row.has(key)) else {
        return Ok(None);
    };
    let name = row.name(key);
    let value = unfolded(row.need(key)?, &name)?;
    let messages = row.messages(key, &value)?;
    Ok(Some((name, messages)))
}

/// What was asked.
pub(super) struct Prompt {
    pub(super) messages: Vec<Message>,
    /// Whether it is a transcript that ends where the assistant is to speak.
    is_open: bool,
}

impl From<Vec<Message>> for Prompt {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, is_open: false }
    }
}

/// What was asked, where the row says it apart from the answers.
pub(super) fn prompt(row: &mut Row<'_>) -> Result<Option<Prompt>, Unfit> {
    if row.fields.contains_key("prompt") {
        return asked(row, "prompt").map(Some);
    }
    if row.has("instruction") {
        return Ok(Some(instruction(row)?.into()));
    }
    if let Some((_, messages)) = conversation(row)? {
        return Ok(Some(messages.into()));
    }
    for key in ["question", "query", "input"] {
        let name = row.name(key);
        if let Some(text) = row.text(key)? {
            return Ok(Some(spoken(text, &name)?));
        }
    }
    Ok(None)
}

/// The prompt under a key: a text or messages.
pub(super) fn asked(row: &mut Row<'_>, key: &str) -> Result<Prompt, Unfit> {
    let name = row.name(key);
    match unfolded(row.need(key)?, &name)? {
        Value::String(text) => spoken(text, &name),
        value => Ok(row.messages(key, &value)?.into()),
    }
}

/// A prompt's text as messages.
fn spoken(text: String, name: &str) -> Result<Prompt, Unfit> {
    match transcript::messages(&text) {
        Some(mut messages) => {
            // A last turn with nothing in it says who is to speak.
            let open = messages.pop_if(|last| last.role == Role::Assistant && last.content.is_empty());
            Ok(Prompt { messages, is_open: open.is_some() })
        }
        None => Ok(vec![Message::user(of_bearable_length(text, name)?)].into()),
    }
}

/// Alpaca's prompt: earlier turns, then an instruction and its input on a line of their own.
fn instruction(row: &mut Row<'_>) -> Result<Vec<Message>, Unfit> {
    let mut messages = Vec::new();
    let history = row.name("history");
    let wrong = || format!("{history}: expected a list of pairs of texts");
    match row.take("history") {
        None => {}
        Some(Value::String(text)) if text.trim().is_empty() => {}
        Some(Value::Array(turns)) => {
            for turn in turns {
                let (Some(Value::String(asked)), Some(Value::String(answered)), None) =
                    (turn.get(0), turn.get(1), turn.get(2))
                else {
                    return Err(wrong().into());
                };
                messages.push(Message::user(asked));
                messages.push(Message { role: Role::Assistant, content: answered.clone() });
            }
        }
        Some(_) => return Err(wrong().into()),
    }
    let name = row.name("instruction");
    let parts = [row.text("instruction")?, row.text("input")?];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
    messages.push(Message::user(of_bearable_length(text, &name)?));
    Ok(messages)
}

/// The conversation before an answer, of a prompt and of what was written with the answer, which must agree. White space around
/// an answer that goes on with a transcript is part of that, as it is between its turns.
pub(super) fn joined(prompt: &Prompt, answer: &mut Answer) -> Result<Vec<Message>, Unfit> {
    if prompt.is_open {
        answer.text = answer.text.trim().into();
    }
    let prompt = &prompt.messages[..];
    let before = &answer.before;
    let begins = |long: &[Message], short: &[Message]| long.len() >= short.len() && same(&long[..short.len()], short);
    let (system, asked) = split_system(prompt);
    let (own_system, own) = split_system(before);
    match own.first() {
        None if before.is_empty() => return Ok(prompt.to_vec()),
        // What goes on after the prompt.
        Some(first) if first.role == Role::Assistant && own_system.is_none() => {
            return Ok([prompt, before].concat());
        }
        Some(_) if begins(own, asked) => match (system, own_system) {
            (Some(one), Some(other)) if one.content.trim() != other.content.trim() => {}
            (Some(system), None) => return Ok([&[system.clone()][..], own].concat()),
            _ => return Ok(before.clone()),
        },
        _ => {}
    }
    Err(format!("{}: expected a conversation that begins with the prompt, got another beginning", answer.name).into())
}

fn split_system(messages: &[Message]) -> (Option<&Message>, &[Message]) {
    match messages.split_first() {
        Some((first, rest)) if first.role == Role::System => (Some(first), rest),
        _ => (None, messages),
    }
}

/// Whether two conversations say the same, but for white space around their texts.
fn same(one: &[Message], other: &[Message]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| one.role == other.role && one.content.trim() == other.content.trim())
}

/// Takes the words that both answers begin with off them, and returns these; none if an answer would be left empty.
fn shared_beginning(chosen: &mut Answer, rejected: &mut Answer) -> Option<String> {
    if !chosen.before.is_empty() || !rejected.before.is_empty() {
        return None;
    }
    let pairs = chosen.text.char_indices().zip(rejected.text.chars());
    let same = pairs.take_while(|((_, a), b)| a == b).last();
    let common = same.map_or(0, |((at, c), _)| at + c.len_utf8());
    // Whole words: `The sky is b` of `blue` and `black` is no beginning.
    let end = chosen.text[..common].rfind(char::is_whitespace)?;
    let (prompt, one) = chosen.text.split_at(end);
    let other = &rejected.text[end..];
    if [prompt, one, other].iter().any(|text| text.trim().is_empty()) {
        return None;
    }
    let prompt = prompt.trim().to_owned();
    (chosen.text, rejected.text) = (one.trim_start().into(), other.trim_start().into());
    Some(prompt)
}

/// The prompt under the row's own system message. A prompt that has the same already is left as it is.
pub(super) fn instructed(row: &mut Row<'_>, prompt: Vec<Message>) -> Result<Vec<Message>, Unfit> {
    let mut found = None;
    for key in ["system", "system_prompt"] {
        let name = row.name(key);
        if let Some(text) = row.text(key)? {
            found = Some((of_bearable_length(text, &name)?, name));
            break;
        }
    }
    let Some((content, name)) = found else {
        return Ok(prompt);
    };
    let system = Message { role: Role::System, content };
    match split_system(&prompt).0 {
        None => Ok([vec![system], prompt].concat()),
        Some(own) if own.content.trim() == system.content.trim() => Ok(prompt),
        Some(_) => Err(format!("{name}: expected the system message that the prompt begins with, got another").into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{parsed, problem};

    fn talk(turns: &[(&str, &str)]) -> Value {
        let turns = turns.iter();
        turns.map(|(role, content)| json!({ "role": role, "content": content })).collect()
    }

    #[test]
    fn the_same_preference_in_many_shapes() {
        let said = |answer| json!({ "from": "gpt", "value": answer });
        let asked = [("user", "Ask?")];
        let whole = |answer| talk(&[("user", "Ask?"), ("assistant", answer)]);
        let hh = |answer: &str| format!("\n\nHuman: Ask?\n\nAssistant: {answer}");
        for row in [
            json!({ "prompt": "Ask?", "chosen": "Yes.", "rejected": "No." }),
            json!({ "prompt": "Ask? ", "chosen": whole("Yes."), "rejected": whole("No."), "messages": whole("Yes.") }),
            json!({ "prompt": talk(&asked), "chosen": whole("Yes."), "rejected": whole("No.") }),
            json!({ "prompt": talk(&asked), "chosen": talk(&[("assistant", "Yes.")]), "rejected": "No." }),
            json!({ "chosen": whole("Yes."), "rejected": whole("No.") }),
            json!({ "chosen": hh("Yes."), "rejected": hh("No.") }),
            json!({ "prompt": hh(""), "chosen": "Yes.", "rejected": "No." }),
            json!({ "prompt": hh("").trim_end(), "chosen": " Yes.", "rejected": " No.\n" }),
            json!({ "prompt": "Ask?", "chosen": hh("Yes."), "rejected": hh("No.") }),
            json!({ "conversations": [{ "from": "human", "value": "Ask?" }], "chosen": said("Yes."), "rejected": said("No.") }),
            json!({ "messages": talk(&asked), "chosen": said("Yes."), "rejected": "No." }),
            json!({ "instruction": "Ask?", "input": "", "chosen": "Yes.", "rejected": "No.", "history": [], "system": "" }),
            json!({ "question": "Ask?", "chosen": "Yes.", "rejected": "No.", "system": null }),
            json!({ "input": "Ask?", "chosen": "Yes.", "rejected": "No." }),
            json!({ "instruction": "Ask?", "input": "", "output": ["Yes.", "No."] }),
            json!({ "messages": whole("Yes."), "rejected_response": "No." }),
            json!({ "query": "Ask?", "response": "Yes.", "rejected_response": "No." }),
            json!({ "prompt": whole("Yes.")[0], "chosen": whole("Yes.").to_string(), "rejected": "No." }),
        ] {
            let parsed = parsed(row.clone()).unwrap_or_else(|problem| panic!("{row}: {problem:?}"));
            assert_eq!(parsed, "user: Ask? > Yes. | No.", "{row}");
        }
    }

    #[test]
    fn longer_conversations_keep_every_turn() {
        let before = [("user", "One?"), ("assistant", "Two."), ("user", "Three?")];
        let expected = "user: One? / assistant: Two. / user: Three? > Yes. | No.";
        let whole = |answer| talk(&[&before[..], &[("assistant", answer)]].concat());
        let rest = |answer| talk(&[&before[1..], &[("assistant", answer)]].concat());
        let hh = |answer: &str| format!("\n\nHuman: One?\n\nAssistant: Two.\n\nHuman: Three?\n\nAssistant: {answer}");
        for row in [
            json!({ "chosen": whole("Yes."), "rejected": whole("No.") }),
            json!({ "prompt": "One?", "chosen": whole("Yes."), "rejected": whole("No.") }),
            json!({ "prompt": "One?", "chosen": rest("Yes."), "rejected": rest("No.") }),
            json!({ "chosen": hh("Yes."), "rejected": hh("No.") }),
            json!({ "instruction": "Three?", "history": [["One?", "Two."]], "chosen": "Yes.", "rejected": "No." }),
        ] {
            assert_eq!(parsed(row.clone()).unwrap(), expected, "{row}");
        }
        let with_input = json!({ "instruction": "Sum up.", "input": "A tale.", "chosen": "Yes.", "rejected": "No." });
        assert_eq!(parsed(with_input).unwrap(), "user: Sum up.\nA tale. > Yes. | No.");
    }

    #[test]
    fn plain_texts_share_the_words_they_begin_with() {
        let row = json!({ "chosen": "The sky at noon is blue.", "rejected": "The sky at noon is black." });
        assert_eq!(parsed(row).unwrap(), "user: The sky at noon is > blue. | black.");
        for (chosen, rejected) in [("Yes.", "No."), ("Yes, sure.", "Yesterday."), ("a b", "a "), (" x", " y")] {
            let row = json!({ "chosen": chosen, "rejected": rejected });
            assert_eq!(problem(row), "missing field `prompt`", "{chosen:?}");
        }
    }

    #[test]
    fn a_system_column_is_the_first_message_once() {
        let with = |system: Value, prompt: Value| json!({ "system": system, "prompt": prompt, "chosen": "Yes.", "rejected": "No." });
        let own = talk(&[("system", "Be kind."), ("user", "Ask?")]);
        let expected = "system: Be kind. / user: Ask? > Yes. | No.";
        assert_eq!(parsed(with(json!("Be kind."), json!("Ask?"))).unwrap(), expected);
        assert_eq!(parsed(with(json!("Be kind.\n"), own.clone())).unwrap(), expected);
        assert_eq!(parsed(with(json!(" "), own.clone())).unwrap(), expected);
        let whole = |answer| talk(&[("system", "Be kind."), ("user", "Ask?"), ("assistant", answer)]);
        let row = json!({ "prompt": "Ask?", "system": "Be kind.", "chosen": whole("Yes."), "rejected": whole("No.") });
        assert_eq!(parsed(row).unwrap(), expected);
        let other = problem(with(json!("Be brief."), own));
        assert!(other.starts_with("system: expected the system message that the prompt"), "{other}");
        assert_eq!(problem(with(json!(3), json!("Ask?"))), "system: expected a text, got 3");
    }

    #[test]
    fn sides_have_systems_of_their_own_or_the_rows() {
        let side = |system: Value| json!({ "language": "en", "prompt": "Ask?", "chosen": "Yes.", "rejected": "No.", "system": system });
        let row = json!({ "dominant": side(json!("Be kind.")), "target": side(json!(null)), "system": "Be brief." });
        assert_eq!(
            parsed(row).unwrap(),
            "system: Be kind. / user: Ask? > Yes. | No. ~ system: Be brief. / user: Ask? > Yes. | No."
        );
    }

    #[test]
    fn what_does_not_agree_is_no_row() {
        let whole = |question, answer| talk(&[("user", question), ("assistant", answer)]);
        let differ = json!({ "chosen": whole("Ask?", "Yes."), "rejected": whole("Say?", "No.") });
        assert_eq!(problem(differ), "dropped: the two conversations differ before their last answers");
        for (row, expected) in [
            (
                json!({ "prompt": "Other?", "chosen": whole("Ask?", "Yes."), "rejected": "No." }),
                "chosen: expected a conversation that begins with the prompt",
            ),
            (
                json!({ "prompt": "Ask?", "chosen": talk(&[("user", "Ask?")]), "rejected": "No." }),
                "chosen: expected an answer by the assistant at the end, got a message of the user",
            ),
            (
                json!({ "chosen": talk(&[("assistant", "Yes.")]), "rejected": talk(&[("assistant", "No.")]) }),
                "missing field `prompt`",
            ),
            (json!({ "prompt": "Ask?", "chosen": "Yes." }), "missing field `rejected`"),
            (json!({ "prompt": null, "chosen": "Yes.", "rejected": "No." }), "prompt: expected a value, got null"),
            (
                json!({ "prompt": "Ask?", "chosen": [], "rejected": "No." }),
                "chosen: expected an answer, got an empty list",
            ),
            (json!({ "prompt": "Ask?", "chosen": 4, "rejected": "No." }), "chosen: expected a string or a list"),
            (
                json!({ "instruction": "Ask?", "history": [["a"]], "chosen": "Yes.", "rejected": "No." }),
                "history: expected a list of pairs of texts",
            ),
            (
                json!({ "dominant": { "prompt": "Ask?", "chosen": "Yes." }, "target": {} }),
                "missing field `dominant.rejected`",
            ),
            (json!({ "dominant": 3 }), "dominant: expected an object"),
        ] {
            let problem = problem(row.clone());
            assert!(problem.starts_with(expected), "{row}: {problem}");
        }
    }
}
