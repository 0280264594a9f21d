//! What `--json` prints, as the page for assistants lists it: the keys of each command's output, from a command that was done.

use std::fmt::Write;

use serde_json::Value;

use crate::kitchen::{Kitchen, PHRASES};
use crate::made;

/// Commands with `--json`.
fn commands() -> [(&'static str, String); 10] {
    let flex = "--device flex --model MODEL";
    [
        ("train", format!("train --json --data rows.json --output runs/json {flex}")),
        ("plan", "plan --json --device cuda --memory 80GB --row-tokens 100 --model MODEL".into()),
        (
            "compare",
            format!("compare --json --methods sft --max-steps 1 --data rows.json --output runs/compared {flex}"),
        ),
        ("score", format!("score --json --data rows.json {flex}")),
        (
            "prepare",
            format!(
                "prepare --json --data unsafe.jsonl --languages sw --max-new-tokens 24 --translator phrases={PHRASES} \
                 --output runs/prepared {flex}"
            ),
        ),
        (
            "eval",
            format!(
                "eval --json --benchmark multijail=MultiJail.csv --max-new-tokens 8 --data rows.json --output evals/json {flex}"
            ),
        ),
        ("difference", "difference --json evals/json evals/json".into()),
        ("generate", format!("generate --json --max-new-tokens 8 {flex} Hello")),
        ("convert", "convert --json --data rows.json --output rows-ours.jsonl".into()),
        ("devices", "devices --json".into()),
    ]
}

/// The names of an object's values, and of those in the lists and objects below it, so many levels down.
fn keys(value: &Value, depth: usize) -> Vec<String> {
    let mut names = vec![];
    let Value::Object(object) = value else { return names };
    if !object.is_empty() && object.keys().all(|name| name.len() == 2) {
        return vec!["by a language's code".to_owned()];
    }
    for (name, value) in object {
        let below = match value {
            _ if depth == 0 => vec![],
            Value::Array(list) => list.first().map(|first| keys(first, depth - 1)).unwrap_or_default(),
            value => keys(value, depth - 1),
        };
        let list = if value.is_array() { "[]" } else { "" };
        names.push(match below.is_empty() {
            true => format!("`{name}`{list}"),
            false => format!("`{name}`{list} ({})", below.join(", ")),
        });
    }
    names
}

#[test]
fn the_page_for_assistants_lists_what_is_printed() {
    let kitchen = Kitchen::new();
    let mut table = "| command | keys |\n|---|---|\n".to_owned();
    for (name, command) in commands() {
        let words: Vec<&str> = command.split_whitespace().collect();
        let printed = kitchen.done(&words).unwrap_or_else(|error| panic!("{command}: {error}"));
        let value: Value = serde_json::from_slice(&printed).unwrap();
        _ = writeln!(table, "| `{name}` | {} |", keys(&value, 3).join(", "));
    }
    made::check("docs/agents.md", "json", &table);
}
