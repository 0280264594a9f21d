//! Rows and answers in places where no known format has them, and what helps.

use serde_json::Value;

use super::{Format, Row, Unfit};
use crate::records::Fields;
use crate::text::visible;

/// Names of numbers that tell how good an answer is.
const RANKS: [&str; 6] = ["rank", "score", "rating", "reward", "overall_score", "votes"];

/// How deep an object is looked into.
const DEPTH: usize = 3;

/// What helps where a row of no known format holds rows or answers with ranks; none where it holds neither.
pub(crate) fn advice(fields: &Fields) -> Option<String> {
    for (list, value) in fields {
        let first = value.get(0).and_then(Value::as_object);
        if let Some(rank) = first.and_then(|first| RANKS.iter().find(|rank| first.contains_key(**rank))) {
            return Some(format!(
                "`{rank}` decides which of the answers in `{}` is the better one, and no name of a column can: write a row for \
                 each pair of them, with the better answer as `chosen` and the other as `rejected`",
                visible(list)
            ));
        }
    }
    let path = path_to_rows(fields, DEPTH)?;
    let names = path.iter().map(|name| visible(name));
    let steps = path.iter().map(|name| Value::from(*name).to_string());
    Some(format!(
        "rows lie in the list `{}` of each row here, and a row must be one by itself: `jq -c '.{}[]' FILE` writes each in a line \
         of its own",
        names.collect::<Vec<_>>().join("."),
        steps.map(|step| format!("[{}]", visible(&step))).collect::<String>(),
    ))
}

/// The names that lead to a list of rows.
fn path_to_rows(fields: &Fields, depth: usize) -> Option<Vec<&str>> {
    let is_row = |row: &Value| row.as_object().is_some_and(|row| Format::of(row).is_some());
    fields.iter().find_map(|(name, value)| match value {
        Value::Array(rows) if rows.first().is_some_and(is_row) => Some(vec![name.as_str()]),
        Value::Object(inner) if depth > 1 => {
            let rest = path_to_rows(inner, depth - 1)?;
            Some([&[name.as_str()][..], &rest].concat())
        }
        _ => None,
    })
}

/// Fails where `chosen` and `rejected` are not the answers but say which of a row's columns has them: by its name, as
/// `response_a`, by the end of it, as `a`, or by the place in a list of answers.
pub(super) fn refuse_pointers(row: &Row<'_>) -> Result<(), Unfit> {
    let pointer = |key: &str| match row.fields.get(key) {
        Some(Value::String(text)) => Some(text.trim().to_owned()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let (Some(chosen), Some(rejected)) = (pointer("chosen"), pointer("rejected")) else {
        return Ok(());
    };
    let columns = || row.fields.iter().filter(|(_, value)| !value.is_null());
    let column_of = |pointer: &str| {
        columns()
            .map(|(name, _)| name)
            .find(|name| *name == pointer || answer_of(name).is_some_and(|end| end.eq_ignore_ascii_case(pointer)))
    };
    let list = columns().find(|(name, value)| {
        let length = value.as_array().map_or(0, Vec::len);
        let is_choice = length > 1 && ANSWERS.contains(&name.trim_end_matches('s'));
        let is_within = |pointer: &String| pointer.parse::<usize>().is_ok_and(|place| place <= length);
        is_choice && is_within(&chosen) && is_within(&rejected)
    });
    let place = match (column_of(&chosen), column_of(&rejected), list) {
        (Some(one), Some(other), _) if one != other => {
            format!("in the columns `{one}` and `{other}`")
        }
        (_, _, Some((name, _))) => format!("in the list `{name}`"),
        _ => return Ok(()),
    };
    Err(Unfit::Elsewhere(format!(
        "{}: expected an answer, got `{}`, which says which one it is; the answers are {place}",
        row.name("chosen"),
        super::short(&chosen),
    )))
}

/// What columns of answers are called.
const ANSWERS: [&str; 10] =
    ["response", "answer", "completion", "output", "candidate", "generation", "reply", "model", "assistant", "text"];

/// What tells a column of an answer from its sisters: `a` of `response_a`, `1` of `answer1`.
fn answer_of(column: &str) -> Option<&str> {
    let mut names = ANSWERS.iter();
    let end = names.find_map(|name| column.strip_prefix(name))?;
    let own = end.trim_start_matches(['_', '-', ' ', '.']);
    let is_apart = own.len() < end.len() || own.starts_with(|c: char| c.is_ascii_digit());
    (is_apart && !own.is_empty()).then_some(own)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{parsed, problem};
    use super::*;

    #[test]
    fn answers_are_told_from_pointers_to_them() {
        for (row, expected) in [
            (
                json!({ "prompt": "Ask?", "response_a": "Yes.", "response_b": "No.", "chosen": "response_a", "rejected": "response_b" }),
                "`response_a` and `response_b`",
            ),
            (
                json!({ "prompt": "Ask?", "good": "Yes.", "bad": "No.", "chosen": "good", "rejected": " bad" }),
                "`good` and `bad`",
            ),
            (
                json!({ "prompt": "Ask?", "response_a": "Yes.", "response_b": "No.", "chosen": "B", "rejected": "A" }),
                "`response_b` and `response_a`",
            ),
            (
                json!({ "prompt": "Ask?", "answer1": "Yes.", "answer2": "No.", "chosen": 1, "rejected": 2 }),
                "`answer1` and `answer2`",
            ),
            (
                json!({ "prompt": "Ask?", "responses": ["Yes.", "No."], "chosen": 0, "rejected": "1" }),
                "list `responses`",
            ),
        ] {
            let problem = problem(row.clone());
            assert!(problem.contains(expected), "{row}: {problem}");
        }
        for row in [
            json!({ "prompt": "Ask?", "chosen": "prompt", "rejected": "No." }),
            json!({ "prompt": "1 + 1?", "chosen": "2", "rejected": "3", "answers": ["2"] }),
            json!({ "prompt": "1 - 1?", "chosen": "0", "rejected": "0.5", "answers": [] }),
            json!({ "prompt": "Which?", "option_a": "Up.", "option_b": "Down.", "chosen": "A", "rejected": "B" }),
            json!({ "prompt": "Ask?", "response_a": "Yes.", "chosen": "a", "rejected": "No." }),
        ] {
            assert!(parsed(row.clone()).is_ok(), "{row}");
        }
    }

    #[test]
    fn rows_within_a_row_are_found() {
        let pair = json!({ "prompt": "Ask?", "chosen": "Yes.", "rejected": "No." });
        for (row, expected) in [
            (json!({ "id": 1, "pairs": [pair] }), Some(".[\"pairs\"][]")),
            (json!({ "v": 1, "data": { "train": [pair] } }), Some(".[\"data\"][\"train\"][]")),
            (
                json!({ "context": "Ask?", "completions": [{ "rank": 0, "completion": "Yes." }] }),
                Some("`rank` decides"),
            ),
            (json!({ "messages": [{ "role": "user" }] }), None),
        ] {
            let found = advice(row.as_object().unwrap());
            assert_eq!(found.is_some(), expected.is_some(), "{row}");
            let found = found.unwrap_or_default();
            assert!(found.contains(expected.unwrap_or_default()), "{found}");
        }
    }
}
