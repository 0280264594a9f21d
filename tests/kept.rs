//! Language kept on the hand-labelled samples of refusals in seven languages, most of which are one short sentence: hard, for
//! a sentence is little to tell a language by. `-- --nocapture` prints what is told.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use mpo_data::{AnswerLanguage, Detector, Language};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    language: Language,
    answer: String,
}

/// Answers that are told right, wrong, or not at all.
#[derive(Default)]
struct Told {
    right: usize,
    wrong: Vec<String>,
    undecided: usize,
}

impl Told {
    fn add(&mut self, found: AnswerLanguage, expected: AnswerLanguage, answer: &str) {
        match found {
            AnswerLanguage::Undecided => self.undecided += 1,
            // Letters alone tell that it is another language, and not which.
            AnswerLanguage::Other(None) if expected != AnswerLanguage::Kept => self.right += 1,
            found if found == expected => self.right += 1,
            found => self.wrong.push(format!("{answer} ({found:?})")),
        }
    }
}

fn rows() -> Vec<Row> {
    let samples = [include_str!("fixtures/refusals.jsonl"), include_str!("fixtures/refusals_hard.jsonl")];
    let lines = samples.iter().flat_map(|sample| sample.lines());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Some rows are refusals in English to prompts in another language.
fn is_english(row: &Row) -> bool {
    row.language.code() != "en" && ["I ", "I'm ", "I can't "].iter().any(|opening| row.answer.starts_with(opening))
}

#[test]
fn one_sentence_tells_its_language() {
    let detector = Detector::new(None).unwrap();
    let english: Language = "en".parse().unwrap();
    let (mut own, mut foreign): (BTreeMap<Language, Told>, BTreeMap<Language, Told>) = Default::default();
    let languages: Vec<Language> = ["en", "zh", "ja", "ko", "ar", "bn", "sw"].map(|code| code.parse().unwrap()).into();
    for row in rows() {
        let of = |asked: Language| AnswerLanguage::of(&detector, asked, "?", &row.answer);
        if is_english(&row) {
            let expected = AnswerLanguage::Other(Some(english));
            foreign.entry(english).or_default().add(of(row.language), expected, &row.answer);
            continue;
        }
        own.entry(row.language).or_default().add(of(row.language), AnswerLanguage::Kept, &row.answer);
        // The same answer to a question in each of the other languages.
        for asked in languages.iter().filter(|asked| **asked != row.language) {
            let expected = AnswerLanguage::Other(Some(row.language));
            foreign.entry(row.language).or_default().add(of(*asked), expected, &row.answer);
        }
    }
    for (what, told) in [("asked in the same language", own), ("asked in another", foreign)] {
        for (language, Told { right, wrong, undecided }) in told {
            let all = right + wrong.len() + undecided;
            println!("{what}: answers in {language}: {right} of {all} told, {undecided} undecided, wrong: {wrong:?}");
            // One answer in English is mostly a quotation in French.
            assert!(50 * wrong.len() <= all, "{what} {language}: {wrong:?}");
            assert!(20 * undecided <= all, "{what} {language}: {undecided} of {all} undecided");
        }
    }
}
