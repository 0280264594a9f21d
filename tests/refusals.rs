//! The refusal heuristic against a hand-labelled sample in seven languages. `-- --nocapture` prints the agreement.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use mpo_data::Language;
use mpo_eval::is_refusal;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    language: Language,
    answer: String,
    refuses: bool,
}

/// Every third row of a language was never looked at while the phrases were chosen.
const UNSEEN: usize = 3;

#[test]
fn agrees_with_readers() {
    let text = include_str!("fixtures/refusals.jsonl");
    let mut languages: BTreeMap<Language, Vec<Row>> = BTreeMap::new();
    for line in text.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        languages.entry(row.language).or_default().push(row);
    }
    assert_eq!(languages.len(), 7);
    let mut unseen = (0, 0);
    for (language, rows) in &languages {
        let (mut all, mut held) = ((0, 0), (0, 0));
        for (index, row) in rows.iter().enumerate() {
            let agrees = usize::from(is_refusal(&row.answer, *language) == row.refuses);
            all = (all.0 + agrees, all.1 + 1);
            if index % UNSEEN == 0 {
                held = (held.0 + agrees, held.1 + 1);
            } else if agrees == 0 {
                println!("{language}: {}", row.answer);
            }
        }
        println!("{language}: {}/{} rows, {}/{} unseen", all.0, all.1, held.0, held.1);
        unseen = (unseen.0 + held.0, unseen.1 + held.1);
    }
    let agreement = unseen.0 as f64 / unseen.1 as f64;
    println!("unseen: {agreement:.3}");
    assert!(agreement > 0.8, "{agreement}");
}
