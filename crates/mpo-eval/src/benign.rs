//! Benign prompts: what a model should answer. A file has one a line; a set of our own is compiled in.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use mpo_data::Language;
use serde::Deserialize;

use crate::error::EvalError;

/// What stands in the place of a file for the set that comes with the program: 40 prompts in each of en, zh, ja, ko, ar, bn
/// and sw. It is for evaluation, so nothing should be trained on it.
pub const BUILT_IN: &str = "builtin";

const PROMPTS: &str = include_str!("../data/benign.jsonl");

/// A prompt that should be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenignPrompt {
    /// Its language.
    pub language: Language,
    /// What is asked.
    pub prompt: String,
    /// Its line in the file, counted from one.
    pub line: usize,
}

/// The prompts of a file of JSON Lines, `{"language": "sw", "prompt": "…"}`, or those that are [built in](BUILT_IN).
///
/// # Errors
/// If the file cannot be read, or a line is no such prompt.
pub fn read_benign(path: &Path) -> Result<Vec<BenignPrompt>, EvalError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        language: Language,
        prompt: String,
    }
    let text = match path.to_str() {
        Some(BUILT_IN) => Cow::Borrowed(PROMPTS),
        _ => fs::read_to_string(path).map_err(EvalError::io(path))?.into(),
    };
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(text, line)| {
            let no_prompt = |problem: String| EvalError::NoPrompt { path: path.to_owned(), line, problem };
            let Line { language, prompt } = serde_json::from_str(text).map_err(|error| no_prompt(error.to_string()))?;
            if prompt.trim().is_empty() {
                return Err(no_prompt("expected a prompt, got an empty one".into()));
            }
            Ok(BenignPrompt { language, prompt, line })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use mpo_data::Detector;

    use super::*;

    #[test]
    fn lines_are_read_and_what_is_no_prompt_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("benign.jsonl");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_benign(&path)
        };
        let prompts =
            read("{\"language\": \"sw\", \"prompt\": \"Habari?\"}\n\n{\"language\": \"en\", \"prompt\": \"Hi?\"}\n");
        let found: Vec<_> =
            prompts.unwrap().into_iter().map(|of| (of.language.to_string(), of.prompt, of.line)).collect();
        assert_eq!(found, [("sw".into(), "Habari?".into(), 1), ("en".into(), "Hi?".into(), 3)]);
        for text in ["{\"language\": \"sw\", \"prompt\": \" \"}", "{\"prompt\": \"Hi?\"}", "Hi?"] {
            let error = read(&format!("\n{text}")).unwrap_err();
            assert!(error.to_string().contains("benign.jsonl, line 2: ") && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn the_set_of_our_own_is_whole_in_seven_languages() {
        let prompts = read_benign(BUILT_IN.as_ref()).unwrap();
        let detector = Detector::new(None).unwrap();
        let mut by_language: BTreeMap<Language, BTreeSet<&str>> = BTreeMap::new();
        for of in &prompts {
            assert!(by_language.entry(of.language).or_default().insert(&of.prompt), "{} twice", of.prompt);
            if let Some(found) = detector.detect(&of.prompt) {
                assert!(found.language == of.language || found.confidence < 0.8, "{}: {found:?}", of.prompt);
            }
        }
        let codes: Vec<_> = by_language.keys().map(Language::to_string).collect();
        assert_eq!(
            codes.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            BTreeSet::from(["en", "zh", "ja", "ko", "ar", "bn", "sw"])
        );
        assert!(by_language.values().all(|of| of.len() == 40));
    }
}
