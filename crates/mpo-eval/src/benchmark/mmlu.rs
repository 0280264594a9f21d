//! MMLU (Hendrycks et al., 2021) and its translations: questions of 57 subjects with four options, after five examples
//! of the subject, in the words of lm-evaluation-harness.

use std::path::Path;

use mpo_data::Language;

use super::table::{sorted, text};
use super::{Benchmark, Expected, Item, Marking};
use crate::error::EvalError;

/// What options are called. The answer is the likeliest of these after a space.
pub const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// Examples before a question.
const SHOTS: usize = 5;

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "mmlu",
    title: "MMLU",
    source: "Hendrycks et al., 2021: multiple choice in 57 subjects, 5-shot",
    layout: "a folder with dev/SUBJECT_dev.csv and test/SUBJECT_test.csv (English), or with such a folder for each language's code",
    marking: Marking::Choice,
    max_new_tokens: 1,
    read: |path| {
        if path.join("test").is_dir() {
            return subjects(path, "en".parse().ok());
        }
        let mut items = vec![];
        for folder in sorted(path, None)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            if let Ok(language) = name.parse::<Language>() {
                items.extend(subjects(&folder, Some(language))?);
            }
        }
        Ok(items)
    },
};

/// The questions of one language: the first of every subject, then the second, so that a few are of many subjects.
fn subjects(folder: &Path, language: Option<Language>) -> Result<Vec<Item>, EvalError> {
    let mut items: Vec<(usize, Item)> = vec![];
    for file in sorted(&folder.join("test"), Some("csv"))? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let subject = name.strip_suffix("_test").unwrap_or(&name).to_owned();
        let beside = |name: String| folder.join("dev").join(name);
        let with_suffix = beside(format!("{subject}_dev.csv"));
        let examples = questions(&match with_suffix.exists() {
            true => with_suffix,
            false => beside(format!("{subject}.csv")),
        })?;
        let mut opening = format!(
            "The following are multiple choice questions (with answers) about {}.\n\n",
            subject.replace('_', " ")
        );
        for example in examples.iter().take(SHOTS) {
            opening += &format!("{} {}\n\n", example.text, LETTERS[example.answer]);
        }
        for (number, question) in questions(&file)?.into_iter().enumerate() {
            let item = Item {
                id: format!("{subject}/{number}"),
                language,
                group: Some(subject.clone()),
                turns: vec![format!("{opening}{}", question.text)],
                expected: Expected::Option(question.answer),
            };
            items.push((number, item));
        }
    }
    // Stable: within a turn, subjects by name.
    items.sort_by_key(|(number, _)| *number);
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// A question up to `Answer:`, and the number of the right option.
struct Question {
    text: String,
    answer: usize,
}

/// The rows of a file: question, four options, letter; no header.
fn questions(path: &Path) -> Result<Vec<Question>, EvalError> {
    let text = text(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut questions = vec![];
    for (row, number) in reader.records().zip(1..) {
        let row = row.map_err(|error| EvalError::broken(path, error.to_string()))?;
        let answer = row.get(5).map(str::trim);
        let answer = LETTERS.iter().position(|&letter| Some(letter) == answer);
        let (Some(answer), 6) = (answer, row.len()) else {
            let problem = format!(
                "row {number}: expected question, four options and A, B, C or D, got {} cells",
                row.len()
            );
            return Err(EvalError::broken(path, problem));
        };
        let mut text = format!("{}\n", row[0].trim());
        for (letter, option) in LETTERS.iter().zip(row.iter().skip(1)) {
            text += &format!("{letter}. {option}\n");
        }
        text += "Answer:";
        questions.push(Question { text, answer });
    }
    Ok(questions)
}
