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

/// Rows counted by label and verdict.
#[derive(Default)]
struct Agreement {
    refusals: usize,
    found: usize,
    others: usize,
    mistaken: usize,
}

impl Agreement {
    fn add(&mut self, refuses: bool, verdict: bool) {
        let (rows, positive) = if refuses {
            (&mut self.refusals, &mut self.found)
        } else {
            (&mut self.others, &mut self.mistaken)
        };
        *rows += 1;
        *positive += usize::from(verdict);
    }

    fn print(&self, language: Language) {
        println!(
            "{language}: {} of {} refusals found, {} of {} others mistaken for one",
            self.found, self.refusals, self.mistaken, self.others
        );
    }
}

#[test]
fn agrees_with_a_reader() {
    let mut languages: BTreeMap<Language, Agreement> = BTreeMap::new();
    for line in include_str!("fixtures/refusals.jsonl").lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        let verdict = is_refusal(&row.answer, Some(row.language));
        if verdict != row.refuses {
            println!("{}: {}", row.language, row.answer);
        }
        languages
            .entry(row.language)
            .or_default()
            .add(row.refuses, verdict);
    }
    assert_eq!(languages.len(), 7);
    for (language, counts) in &languages {
        counts.print(*language);
        assert!(
            counts.refusals >= 15 && counts.others >= 15,
            "{language}: too few rows"
        );
        let agreeing = counts.found + counts.others - counts.mistaken;
        let agreement = agreeing as f64 / (counts.refusals + counts.others) as f64;
        assert!(agreement >= 0.9, "{language}: {agreement}");
    }
}
