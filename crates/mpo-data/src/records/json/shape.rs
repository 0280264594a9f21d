//! JSON that holds rows in a shape of its own, as tools write it, and is not read.

use serde_json::Value;

use crate::records::Fields;

/// What a file is that is one object but no row, and what helps; none for others. `head` is the whole file.
pub(super) fn of_no_rows(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let object: Fields = serde_json::from_slice(head).ok()?;
    let all = |is: fn(&Value) -> bool| object.len() > 1 && object.values().all(is);
    let first = object.get("rows").and_then(|rows| rows.get(0));
    if first.is_some_and(|row| row.get("row_idx").is_some() && row.get("row").is_some()) {
        return Some((
            "an answer of the hub's data set viewer, which has a few rows of a set",
            "give the name of the set, --data OWNER/NAME, or download its files",
        ));
    }
    if all(is_a_column) || all(is_an_indexed_column) {
        return Some((
            "columns and no rows, as a data frame is written",
            "write rows: DataFrame.to_json(NEW, orient=\"records\", lines=True) in Python",
        ));
    }
    if all(Value::is_object) && object.keys().all(|key| is_number(key)) {
        return Some((
            "rows under their numbers, as a data frame is written",
            "write a list of them: DataFrame.to_json(NEW, orient=\"records\", lines=True) in Python, or `jq -c '.[]' FILE`",
        ));
    }
    None
}

/// A list with a cell for each row. Objects in it would be messages.
fn is_a_column(value: &Value) -> bool {
    let cells = value.as_array();
    cells.is_some_and(|cells| !cells.is_empty() && !cells.iter().any(Value::is_object))
}

/// An object with a cell for each row under its number.
fn is_an_indexed_column(value: &Value) -> bool {
    let cells = value.as_object();
    cells.is_some_and(|cells| !cells.is_empty() && cells.keys().all(|key| is_number(key)))
}

fn is_number(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_tools_are_called_by_their_names() {
        for (text, expected) in [
            (r#"{"prompt": ["a", "b"], "chosen": ["c", null]}"#, Some("columns")),
            (r#"{"prompt": {"0": "a", "1": "b"}, "chosen": {"0": "c"}}"#, Some("columns")),
            (r#"{"columns": ["prompt"], "index": [0], "data": [["a"]]}"#, Some("columns")),
            (r#"{"features": [{"name": "a"}], "rows": [{"row_idx": 0, "row": {"a": 1}}]}"#, Some("viewer")),
            (r#"{"0": {"prompt": "a"}, "1": {"prompt": "b"}}"#, Some("under their numbers")),
            (r#"{"prompt": "a", "chosen": ["b"]}"#, None),
            (r#"{"prompt": [{"role": "user"}], "chosen": [{"role": "assistant"}]}"#, None),
            (r#"{"dominant": {"prompt": "a"}, "target": {"prompt": "b"}}"#, None),
            (r#"{"prompt": []}"#, None),
            ("{\"a\": [1], \"b\": [2]}\n{}", None),
        ] {
            let found = of_no_rows(text.as_bytes()).map(|(what, _)| what);
            assert_eq!(found.is_some(), expected.is_some(), "{text}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{text}");
        }
    }
}
