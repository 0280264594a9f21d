//! What models are asked: one file per benchmark, which reads the files its authors publish.
//!
//! None of them is shipped but benign prompts: several are harmful requests, and some have licences of their own. Adding
//! one takes a file beside these and a line in [`BENCHMARKS`].

mod advbench;
mod benign;
mod csrt;
mod item;
mod marking;
mod mgsm;
mod mmlu;
mod mt_bench;
mod multijail;
mod named;
mod questions;
mod quotes;
mod table;
#[cfg(test)]
mod testing;
mod xstest;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use mpo_data::Language;

use crate::error::EvalError;

pub use item::{Expected, Item};
pub use marking::{Marking, Metric};
pub(crate) use mgsm::first_answer;
pub(crate) use mmlu::LETTERS;
pub use questions::{QuestionSet, Questions};

/// Bytes of what a user says at most: what is longer is no question, and would take gigabytes to read as tokens.
const LONGEST_TURN: usize = 1 << 20;

/// Every benchmark, in the order reports show them.
pub static BENCHMARKS: [&Benchmark; 8] = [
    &multijail::BENCHMARK,
    &csrt::BENCHMARK,
    &advbench::BENCHMARK,
    &xstest::BENCHMARK,
    &benign::BENCHMARK,
    &mmlu::BENCHMARK,
    &mgsm::BENCHMARK,
    &mt_bench::BENCHMARK,
];

/// A set of questions and how answers to them are marked.
#[derive(Debug)]
pub struct Benchmark {
    /// The name it is asked for by.
    pub name: &'static str,
    /// The name people know.
    pub title: &'static str,
    /// Who made it, and what it measures.
    pub source: &'static str,
    /// What a file or folder of it looks like.
    pub layout: &'static str,
    /// How answers are marked.
    pub marking: Marking,
    /// Tokens an answer may have, unless the user says otherwise.
    pub max_new_tokens: usize,
    /// Reads its questions, and notes what it leaves out.
    pub(crate) read: fn(&Path, &mut Vec<String>) -> Result<Vec<Item>, EvalError>,
}

/// The benchmark of a name.
///
/// # Errors
/// If there is none.
pub fn benchmark(name: &str) -> Result<&'static Benchmark, EvalError> {
    let found = BENCHMARKS.iter().find(|benchmark| benchmark.name == name);
    found.copied().ok_or_else(|| EvalError::UnknownBenchmark { name: name.into() })
}

impl Benchmark {
    /// The questions in a file or folder: of `languages` (all if empty; mixed ones always), at most `limit` of each.
    ///
    /// # Errors
    /// If it cannot be read, is no file of this benchmark, or has no such question.
    pub fn items(&self, path: &Path, languages: &[Language], limit: Option<usize>) -> Result<Questions, EvalError> {
        let mut notes = vec![];
        let mut items = Questions::new((self.read)(path, &mut notes)?).with(notes);
        if items.is_empty() {
            return Err(EvalError::NoItems { path: path.to_owned(), layout: self.layout });
        }
        let too_long = |item: &&Item| item.turns.iter().any(|turn| turn.len() > LONGEST_TURN);
        if let Some(item) = items.iter().find(too_long) {
            let problem =
                format!("question {}: expected at most {} MiB of text, got more", item.id, LONGEST_TURN >> 20);
            return Err(EvalError::broken(path, problem));
        }
        let found: BTreeSet<Language> = items.iter().filter_map(|item| item.language).collect();
        let mut taken: HashMap<Option<Language>, usize> = HashMap::new();
        items.retain(|item| {
            let asked = item.language.is_none_or(|language| languages.is_empty() || languages.contains(&language));
            let count = taken.entry(item.language).or_default();
            *count += usize::from(asked);
            asked && limit.is_none_or(|limit| *count <= limit)
        });
        if items.is_empty() {
            Err(EvalError::NotInLanguages {
                path: path.to_owned(),
                asked: named_together(languages.iter()),
                found: named_together(found.iter()),
                layout: self.layout,
            })
        } else {
            Ok(items)
        }
    }
}

/// English names of languages.
fn named_together<'l>(languages: impl Iterator<Item = &'l Language>) -> String {
    let names: Vec<&str> = languages.map(Language::name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::testing::{files, read};
    use super::*;

    #[test]
    fn a_file_without_questions_and_one_of_megabytes_are_errors() {
        let error = read("multijail", "m.csv", "id,en\n").unwrap_err();
        assert!(error.contains("expected at least one question, got none"), "{error}");
        let text = format!("id,en\n1,a\n2,{}\n", "la ".repeat(400_000));
        let error = read("multijail", "m.csv", &text).unwrap_err();
        assert!(error.contains("m.csv: question 2: expected at most 1 MiB"), "{error}");
    }

    #[test]
    fn languages_and_limits() {
        let (_dir, path) = files(&[("m.csv", "id,en,sw\n1,a,b\n2,c,d\n3,e,f\n")]);
        let path = path.join("m.csv");
        let ids = |languages: &[&str], limit| {
            let languages: Vec<Language> = languages.iter().map(|code| code.parse().unwrap()).collect();
            let items = benchmark("multijail").unwrap().items(&path, &languages, limit);
            items.map(|items| items.iter().map(|item| item.turns.concat()).collect::<String>())
        };
        assert_eq!(ids(&[], Some(2)).unwrap(), "acbd");
        assert_eq!(ids(&["sw"], None).unwrap(), "bdf");
        assert!(ids(&["ko"], None).unwrap_err().hint().unwrap().contains("column"));
        let error = ids(&["ko"], None).unwrap_err().to_string();
        assert!(error.contains("expected at least one question in Korean, got those in English, Swahili"), "{error}");
        assert!(benchmark("glue").unwrap_err().to_string().contains("multijail, csrt"));
    }
}
