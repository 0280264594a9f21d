//! Single answers with a label, true of an answer to learn: TRL's `{"prompt", "completion", "label"}` and LLaMA-Factory's
//! with a `kto_tag`, plain or conversational.

use serde_json::Value;

use super::side::{Answer, answer, instructed, is_benign, joined, last_of_conversation, prompt};
use super::{AnswerDraft, Row, Unfit, kind};
use crate::pair::Message;

pub(super) fn draft(row: &mut Row<'_>) -> Result<AnswerDraft, Unfit> {
    let language = row.language()?;
    let tools = row.tools()?;
    let desirable = label(row)?;
    let is_benign = is_benign(row);
    let (prompt, answer) = exchange(row)?;
    Ok(AnswerDraft { language, prompt: instructed(row, prompt)?, tools, answer: answer.text, desirable, is_benign })
}

/// The prompt and its answer: apart, or as one conversation.
fn exchange(row: &mut Row<'_>) -> Result<(Vec<Message>, Answer), Unfit> {
    let key = if row.has("output") && !row.fields.contains_key("completion") { "output" } else { "completion" };
    if !row.has(key)
        && let Some(mut last) = last_of_conversation(row)?
    {
        return Ok((std::mem::take(&mut last.before), last));
    }
    let mut answer = answer(row, key)?;
    let prompt = match prompt(row)? {
        Some(prompt) => joined(&prompt, &mut answer)?,
        None if !answer.before.is_empty() => std::mem::take(&mut answer.before),
        None => return Err(Unfit::Missing(row.name("prompt"))),
    };
    Ok((prompt, answer))
}

/// Whether the answer is one to learn.
fn label(row: &mut Row<'_>) -> Result<bool, Unfit> {
    let key = if row.has("kto_tag") && !row.fields.contains_key("label") { "kto_tag" } else { "label" };
    let value = row.need(key)?;
    let known = match &value {
        Value::Bool(label) => Some(*label),
        Value::Number(number) => match number.as_f64() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    known.ok_or_else(|| format!("{}: expected true or false, 1 or 0, got {}", row.name(key), kind(&value)).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{parsed, problem};

    #[test]
    fn labels_are_written_in_many_ways() {
        for (label, expected) in [
            (json!(true), "true"),
            (json!(1), "true"),
            (json!(0.0), "false"),
            (json!("True"), "true"),
            (json!(" false "), "false"),
            (json!("1"), "true"),
        ] {
            let row = json!({ "prompt": "Ask?", "completion": "Yes.", "label": label });
            assert_eq!(parsed(row).unwrap(), format!("user: Ask? > Yes. {expected}"));
        }
        for (label, got) in [(json!(2), "2"), (json!("good"), "`good`"), (json!([]), "a list")] {
            let row = json!({ "prompt": "Ask?", "completion": "Yes.", "label": label });
            let expected = format!("label: expected true or false, 1 or 0, got {got}");
            assert_eq!(problem(row), expected);
        }
    }

    #[test]
    fn the_same_answer_in_many_shapes() {
        let whole = json!([{ "role": "user", "content": "Ask?" }, { "role": "assistant", "content": "Yes." }]);
        for row in [
            json!({ "prompt": [{ "role": "user", "content": "Ask?" }], "completion": whole, "label": true }),
            json!({ "prompt": "Ask?", "completion": [{ "role": "assistant", "content": "Yes." }], "label": true }),
            json!({ "completion": whole, "label": true }),
            json!({ "messages": whole, "kto_tag": true }),
            json!({ "messages": whole, "label": true }),
            json!({ "instruction": "Ask?", "input": "", "output": "Yes.", "kto_tag": true }),
        ] {
            assert_eq!(parsed(row.clone()).unwrap(), "user: Ask? > Yes. true", "{row}");
        }
        for (row, expected) in [
            (json!({ "prompt": "Ask?", "label": true }), "missing field `completion`"),
            (json!({ "completion": "Yes.", "label": true }), "missing field `prompt`"),
            (json!({ "prompt": "Ask?", "completion": "Yes." }), "missing field `label`"),
        ] {
            assert_eq!(problem(row), expected);
        }
    }
}
