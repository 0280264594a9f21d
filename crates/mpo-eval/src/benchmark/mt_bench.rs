//! MT-Bench (Zheng et al., 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena"): 80 conversations of two turns;
//! a judge grades each answer from 1 to 10, beside a reference for sums, code and logic.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mpo_data::Language;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::named;
use super::table::{file_in, sorted, stem, text};
use super::{Benchmark, Expected, Item, Marking};
use crate::error::EvalError;

const QUESTIONS: &str = "question.jsonl";
/// Beside the questions, or in a folder as the authors have them.
const REFERENCES: [&str; 2] = ["reference_answer_gpt-4.jsonl", "reference_answer/gpt-4.jsonl"];

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "mt-bench",
    title: "MT-Bench",
    source: "Zheng et al., 2023: conversations of two turns, graded from 1 to 10 by a judge",
    layout: "a folder with question.jsonl or question_LANGUAGE.jsonl and, if there are some, reference_answer_gpt-4.jsonl or reference_answer/gpt-4.jsonl; named by a language's code, or English; or a folder of such folders",
    marking: Marking::Grade,
    max_new_tokens: 1024,
    read: |path, notes| {
        if !path.is_dir() {
            return conversations(path, path.parent());
        }
        if let Some(file) = questions(path)? {
            return conversations(&file, Some(path));
        }
        let mut items = vec![];
        for folder in sorted(path, None)?.into_iter().filter(|inner| inner.is_dir()) {
            match questions(&folder)? {
                Some(_) if named::language(&folder).is_none() => notes.push(named::without(&folder)),
                Some(file) => items.extend(conversations(&file, Some(&folder))?),
                None => {}
            }
        }
        if items.is_empty() {
            let problem = format!("expected {QUESTIONS} or one question_LANGUAGE.jsonl, got none");
            Err(EvalError::broken(path, problem))
        } else {
            Ok(items)
        }
    },
};

/// The questions of a folder: those that are called so, or the only ones that a language's code is added to.
fn questions(folder: &Path) -> Result<Option<PathBuf>, EvalError> {
    let plain = file_in(folder, QUESTIONS);
    if plain.exists() {
        return Ok(Some(plain));
    }
    let mut files = sorted(folder, Some("jsonl"))?;
    files.retain(|file| stem(file).starts_with("question_") && named::language(file).is_some());
    match &files[..] {
        [] => Ok(None),
        [file] => Ok(Some(file.clone())),
        [first, second, ..] => {
            let problem = format!(
                "expected one file of questions, got {} and {}: name one of them",
                first.display(),
                second.display()
            );
            Err(EvalError::broken(folder, problem))
        }
    }
}

/// The conversations of a file, with the references beside it.
fn conversations(file: &Path, folder: Option<&Path>) -> Result<Vec<Item>, EvalError> {
    let english: Option<Language> = "en".parse().ok();
    let language = named::language(file).or_else(|| named::language(folder?)).or(english);
    let references = REFERENCES.iter().filter_map(|name| Some(folder?.join(name)));
    let references = match references.into_iter().find(|path| path.exists()) {
        Some(path) => lines::<Answer>(&path)?,
        None => vec![],
    };
    let mut references: HashMap<String, Vec<String>> = references
        .into_iter()
        .filter_map(|answer| Some((answer.question_id.0, answer.choices.into_iter().next()?.turns)))
        .collect();
    let item = |question: Question| Item {
        expected: Expected::Good(references.remove(&question.question_id.0).unwrap_or_default()),
        id: question.question_id.0,
        language,
        group: Some(question.category),
        turns: question.turns,
    };
    Ok(lines::<Question>(file)?.into_iter().map(item).collect())
}

/// A number, or a text as in `81_DE`.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a question's id, a number or a text")]
        enum Written {
            Number(u64),
            Text(String),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        }))
    }
}

#[derive(Deserialize)]
struct Question {
    question_id: Id,
    category: String,
    #[serde(deserialize_with = "at_least_one")]
    turns: Vec<String>,
}

/// Turns of a conversation: one in which nobody speaks has no grade.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let turns: Vec<String> = Vec::deserialize(deserializer)?;
    if turns.is_empty() { Err(D::Error::custom("expected at least one turn, got none")) } else { Ok(turns) }
}

#[derive(Deserialize)]
struct Answer {
    question_id: Id,
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    turns: Vec<String>,
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, EvalError> {
    let text = text(path)?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| {
            let problem = |error| EvalError::broken(path, format!("line {number}: {error}"));
            serde_json::from_str(line).map_err(problem)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::benchmark;
    use crate::benchmark::testing::{files, line};

    #[test]
    fn mt_bench_has_two_turns_and_references() {
        let (_dir, path) = files(&[
            (
                "question.jsonl",
                "{\"question_id\": 81, \"category\": \"writing\", \"turns\": [\"Write.\", \"Again.\"]}\n{\"question_id\": 101, \"category\": \"math\", \"turns\": [\"1+1?\", \"And 2+2?\"]}\n",
            ),
            ("reference_answer_gpt-4.jsonl", "{\"question_id\": 101, \"choices\": [{\"turns\": [\"2\", \"4\"]}]}\n"),
        ]);
        let items = benchmark("mt-bench").unwrap().items(&path, &[], None).unwrap();
        assert_eq!(items[0].turns, ["Write.", "Again."]);
        assert_eq!(items[0].expected, Expected::Good(vec![]));
        assert!(matches!(&items[1].expected, Expected::Good(references) if references.len() == 2));
    }

    #[test]
    fn mt_bench_has_references_where_its_authors_put_them() {
        let (_dir, path) = files(&[
            ("question.jsonl", "{\"question_id\": 101, \"category\": \"math\", \"turns\": [\"1+1?\"]}\n"),
            ("reference_answer/gpt-4.jsonl", "{\"question_id\": 101, \"choices\": [{\"turns\": [\"2\"]}]}\n"),
        ]);
        let items = benchmark("mt-bench").unwrap().items(&path, &[], None).unwrap();
        assert_eq!(items[0].expected, Expected::Good(vec!["2".into()]));
    }

    #[test]
    fn a_conversation_without_turns_is_an_error() {
        let (_dir, path) = files(&[(
            "question.jsonl",
            "{\"question_id\": 1, \"category\": \"x\", \"turns\": [\"a\"]}\n{\"question_id\": 2, \"category\": \"x\", \"turns\": []}\n",
        )]);
        let error = benchmark("mt-bench").unwrap().items(&path, &[], None).unwrap_err().to_string();
        let problem = "question.jsonl: line 2: expected at least one turn, got none";
        assert!(error.contains(problem), "{error}");
    }

    #[test]
    fn mt_bench_of_other_languages_has_ids_and_names_of_its_own() {
        let question = |id: &str| {
            format!(
                "{{\"question_id\": {id}, \"category\": \"writing\", \"turns\": [\"a\", \"b\"], \"reference\": []}}\n"
            )
        };
        let (_dir, path) = files(&[
            ("DE/question.jsonl", &question("\"81_DE\"")),
            ("ko/question_ko.jsonl", &question("81")),
            ("ko/judge_prompts_ko.jsonl", "{}\n"),
            ("ko/reference_answer_gpt-4.jsonl", "{\"question_id\": \"81\", \"choices\": [{\"turns\": [\"2\"]}]}\n"),
            ("ja/question.jsonl", &question("1")),
            ("ja/question_full.jsonl", &question("2")),
        ]);
        let items = |place: &str| benchmark("mt-bench").unwrap().items(&path.join(place), &[], None).unwrap();
        let lines: Vec<_> = items("").iter().map(line).collect();
        assert_eq!(
            lines,
            [r#"81_DE de ["a", "b"] Good([])"#, r#"1 ja ["a", "b"] Good([])"#, r#"81 ko ["a", "b"] Good(["2"])"#,]
        );
        assert_eq!(items("ko").len(), 1);
        assert_eq!(items("ja/question_full.jsonl")[0].id, "2");
        let error = benchmark("mt-bench").unwrap().items(&path.join("DE/.."), &[], Some(1));
        assert_eq!(error.unwrap().len(), 3);
    }
}
