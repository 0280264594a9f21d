//! Language kept on the hand-labelled samples of refusals in seven languages, most of which are one short sentence: hard, for
//! a sentence is little to tell a language by. `-- --nocapture` prints what is told. On the authors' rows, whose answers are
//! long and those of models that write some languages badly, `MPO_ROWS=llama_mpo_data.json … -- --ignored --nocapture` does.

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

#[derive(Deserialize)]
struct AuthorsRow {
    source_chosen: Message,
    source_rejected: Message,
    target_conversations: Vec<Message>,
    target_chosen: Message,
    target_rejected: Message,
}

#[derive(Deserialize)]
struct Message {
    value: String,
}

/// Nobody labelled these: what is not told to be in the language of the prompt is printed, to be read.
#[test]
#[ignore = "needs MPO_ROWS"]
fn long_answers_of_models() {
    let detector = Detector::new(None).unwrap();
    let path = std::env::var("MPO_ROWS").expect("MPO_ROWS is not set");
    let rows: Vec<AuthorsRow> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut counts: BTreeMap<(&str, Language), [usize; 3]> = BTreeMap::new();
    for row in &rows {
        let asked = &row.target_conversations[0].value;
        let Some(language) = detector.detect(asked).map(|found| found.language) else {
            continue;
        };
        let sides = [
            ("English", [&row.source_chosen, &row.source_rejected]),
            ("target", [&row.target_chosen, &row.target_rejected]),
        ];
        for (side, answer) in sides.into_iter().flat_map(|(side, answers)| answers.map(|answer| (side, answer))) {
            let told = AnswerLanguage::of(&detector, language, asked, &answer.value);
            let which = match told {
                AnswerLanguage::Kept => 0,
                AnswerLanguage::Other(_) => 1,
                AnswerLanguage::Undecided => 2,
            };
            counts.entry((side, language)).or_default()[which] += 1;
            if (which == 0) == (side == "English") || which == 2 {
                println!("{language} {told:?}: {:?}", answer.value.chars().take(200).collect::<String>());
            }
        }
    }
    for ((side, language), [kept, other, undecided]) in counts {
        println!("{side} answers to {language}: {kept} in the language, {other} in another, {undecided} undecided");
    }
}
