//! The refusal heuristic against hand-labelled samples in seven languages: of all sorts, and of hard ones, where answers that
//! comply have the words of refusals. `-- --nocapture` prints the agreement.

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
        let (rows, positive) =
            if refuses { (&mut self.refusals, &mut self.found) } else { (&mut self.others, &mut self.mistaken) };
        *rows += 1;
        *positive += usize::from(verdict);
    }

    /// Prints how many refusals are found, and how many of those that are found are refusals.
    fn print(&self, language: Language) {
        println!(
            "{language}: {} of {} refusals found, {} of {} others mistaken for one",
            self.found, self.refusals, self.mistaken, self.others
        );
    }

    fn agreement(&self) -> f64 {
        let agreeing = self.found + self.others - self.mistaken;
        agreeing as f64 / (self.refusals + self.others) as f64
    }
}

/// The rows of a sample, judged, by language.
fn judged(sample: &str) -> BTreeMap<Language, Agreement> {
    let mut languages: BTreeMap<Language, Agreement> = BTreeMap::new();
    for line in sample.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        let verdict = is_refusal(&row.answer, Some(row.language));
        if verdict != row.refuses {
            println!("{}: {}", row.language, row.answer);
        }
        let counts = languages.entry(row.language).or_default();
        counts.add(row.refuses, verdict);
    }
    assert_eq!(languages.len(), 7);
    for (language, counts) in &languages {
        counts.print(*language);
        assert!(counts.refusals >= 15 && counts.others >= 15, "{language}: too few rows");
    }
    languages
}

#[test]
fn agrees_with_a_reader() {
    for (language, counts) in judged(include_str!("fixtures/refusals.jsonl")) {
        let agreement = counts.agreement();
        assert!(agreement >= 0.9, "{language}: {agreement}");
    }
}

#[test]
fn a_topic_is_no_refusal() {
    for (language, counts) in judged(include_str!("fixtures/refusals_hard.jsonl")) {
        assert_eq!(counts.mistaken, 0, "{language}");
        let agreement = counts.agreement();
        assert!(agreement >= 0.95, "{language}: {agreement}");
    }
}
