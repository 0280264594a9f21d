//! MT-Bench (Zheng et al., 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena"): 80 conversations of two turns;
//! a judge grades each answer from 1 to 10, beside a reference for sums, code and logic.

use std::collections::HashMap;
use std::path::Path;

use mpo_data::Language;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::table::text;
use super::{Benchmark, Expected, Item, Marking};
use crate::error::EvalError;

const QUESTIONS: &str = "question.jsonl";
/// Beside the questions, or in a folder as the authors have them.
const REFERENCES: [&str; 2] = [
    "reference_answer_gpt-4.jsonl",
    "reference_answer/gpt-4.jsonl",
];

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "mt-bench",
    title: "MT-Bench",
    source: "Zheng et al., 2023: conversations of two turns, graded from 1 to 10 by a judge",
    layout: "a folder with question.jsonl and, if there are some, reference_answer_gpt-4.jsonl or reference_answer/gpt-4.jsonl; named by a language's code, or English",
    marking: Marking::Grade,
    max_new_tokens: 1024,
    read: |path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let language = name.parse::<Language>().ok().or_else(|| "en".parse().ok());
        let files = REFERENCES.map(|name| path.join(name));
        let references = match files.iter().find(|file| file.exists()) {
            Some(file) => lines::<Answer>(file)?,
            None => vec![],
        };
        let mut references: HashMap<u64, Vec<String>> = references
            .into_iter()
            .filter_map(|answer| {
                Some((answer.question_id, answer.choices.into_iter().next()?.turns))
            })
            .collect();
        let item = |question: Question| Item {
            id: question.question_id.to_string(),
            language,
            group: Some(question.category),
            turns: question.turns,
            expected: Expected::Good(references.remove(&question.question_id).unwrap_or_default()),
        };
        Ok(lines::<Question>(&path.join(QUESTIONS))?
            .into_iter()
            .map(item)
            .collect())
    },
};

#[derive(Deserialize)]
struct Question {
    question_id: u64,
    category: String,
    #[serde(deserialize_with = "at_least_one")]
    turns: Vec<String>,
}

/// Turns of a conversation: one in which nobody speaks has no grade.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let turns: Vec<String> = Vec::deserialize(deserializer)?;
    match turns.is_empty() {
        true => Err(D::Error::custom("expected at least one turn, got none")),
        false => Ok(turns),
    }
}

#[derive(Deserialize)]
struct Answer {
    question_id: u64,
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    turns: Vec<String>,
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, EvalError> {
    let text = text(path)?;
    let lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| {
            let problem = |error| EvalError::broken(path, format!("line {number}: {error}"));
            serde_json::from_str(line).map_err(problem)
        })
        .collect()
}
