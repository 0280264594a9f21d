//! Everything that was found out about a model, as numbers.

use std::path::Path;

use mpo_chat::Usage;
use mpo_data::Language;
use mpo_models::{checked_line, unseal};
use mpo_trainer::read_file;
use serde::{Deserialize, Serialize};

use crate::benchmark::{Benchmark, QuestionSet, Questions};
use crate::benchmark_result::{BenchmarkResult, LanguageResult, Settings};
use crate::error::EvalError;
use crate::layers::Layers;
use crate::projection::Projection;
use crate::reward_gap::{ImplicitGap, LanguageGap};

/// What an evaluation is called in its folder.
pub const EVALUATION_FILE: &str = "evaluation.json";

/// Everything that was found out about a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The model, as it was named.
    pub model: String,
    /// Identifies its weights, tokenizer and configuration; empty in files of the first versions.
    #[serde(default)]
    pub model_hash: String,
    /// The chat template and its settings; none in files of the first versions.
    #[serde(default)]
    pub template: Option<String>,
    /// The language that others are compared with.
    pub dominant: Option<Language>,
    /// The reward gap of each language.
    pub reward_gap: Vec<LanguageGap>,
    /// The implicit reward gap against the model it was made from, if that was named.
    pub implicit_gap: Vec<ImplicitGap>,
    /// The benchmarks.
    pub benchmarks: Vec<BenchmarkResult>,
    /// Where safe and unsafe answers lie.
    pub projection: Option<Projection>,
    /// How far apart languages lie, layer by layer; none in files of the first versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
    /// What judges took.
    pub judging: Judging,
}

/// What judges took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Judging {
    /// Tokens read and written.
    pub usage: Usage,
    /// What they cost by the prices given; none without prices.
    pub cost: Option<f64>,
}

impl Evaluation {
    /// What a file says, if it is there.
    ///
    /// # Errors
    /// If it cannot be read, is no evaluation, or was changed since it was written.
    pub fn read(path: &Path) -> Result<Option<Self>, EvalError> {
        let value = read_file(path)?.map(|text| unseal(&text)).transpose();
        value.map_err(|problem| EvalError::Damaged { path: path.to_owned(), problem })
    }

    /// JSON for a file, with a checksum.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which numbers and texts can.
    pub fn to_json(&self) -> Result<Vec<u8>, EvalError> {
        let broken = |error: serde_json::Error| EvalError::Report(error.to_string());
        let text = serde_json::to_string_pretty(self).map_err(broken)?;
        Ok(checked_line(&text).into_bytes())
    }

    /// Those of an earlier result, language by language, that one of `asked` leaves as they are.
    ///
    /// # Errors
    /// If there are some, and they were measured in another way or on other questions: beside each other they would pass
    /// for the same.
    pub fn others(
        &self,
        benchmark: &Benchmark,
        settings: &Settings,
        asked: &Questions,
    ) -> Result<Vec<LanguageResult>, EvalError> {
        let Some(earlier) = self.of(benchmark.name) else {
            return Ok(vec![]);
        };
        let is_asked = |of: &LanguageResult| asked.iter().any(|item| item.language == of.language);
        let others = earlier.languages.iter().filter(|of| !is_asked(of));
        let others: Vec<_> = others.cloned().collect();
        for of in &others {
            let is_other = |set: &QuestionSet| {
                let mut languages = asked.iter().map(|item| item.language);
                languages.any(|language| !asked.set(language).is_of(set))
            };
            if of.questions.as_ref().is_some_and(is_other) {
                return Err(EvalError::OtherQuestions { benchmark: benchmark.title, language: of.language });
            }
        }
        let names = earlier.settings.keys().chain(settings.keys());
        let differing = names.filter(|name| earlier.settings.get(*name) != settings.get(*name)).max();
        match differing {
            Some(name) if !others.is_empty() => {
                let said = |of: &Settings| of.get(name).map_or("unknown", |of| of).to_owned();
                Err(EvalError::OtherSettings {
                    benchmark: benchmark.title,
                    name: name.clone(),
                    earlier: said(&earlier.settings),
                    got: said(settings),
                })
            }
            _ => Ok(others),
        }
    }

    /// Takes a benchmark's result in: each language in the place of an earlier result of it.
    pub fn add(&mut self, mut result: BenchmarkResult) {
        let same = |of: &&mut BenchmarkResult| of.benchmark == result.benchmark;
        match self.benchmarks.iter_mut().find(same) {
            Some(earlier) => {
                let mut languages = vec![];
                for of in &earlier.languages {
                    let again = result.languages.iter().position(|new| new.language == of.language);
                    languages.push(again.map_or_else(|| of.clone(), |at| result.languages.remove(at)));
                }
                languages.append(&mut result.languages);
                result.languages = languages;
                result.usage = Usage::default();
                for of in &result.languages {
                    result.usage += of.usage;
                }
                *earlier = result;
            }
            None => self.benchmarks.push(result),
        }
        self.judging.usage = Usage::default();
        for of in &self.benchmarks {
            self.judging.usage += of.usage;
        }
    }

    /// The result of a benchmark, if there is one.
    pub fn of(&self, benchmark: &str) -> Option<&BenchmarkResult> {
        self.benchmarks.iter().find(|of| of.benchmark == benchmark)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::benchmark::{Expected, Item, benchmark};
    use crate::sample::Sample;

    /// A result of these languages, measured with one setting.
    fn measured(languages: &[&str], limit: &str) -> BenchmarkResult {
        let samples: Vec<Sample> = languages
            .iter()
            .map(|language| Sample::unanswered(&Item::testing(language, &["?"], Expected::Safe)))
            .collect();
        let mut result = BenchmarkResult::new(benchmark("multijail").unwrap(), None, &samples);
        result.settings.insert("--limit".into(), limit.into());
        for of in &mut result.languages {
            of.usage.prompt_tokens = limit.len() as u64;
        }
        result
    }

    #[test]
    fn a_file_that_was_changed_is_no_evaluation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evaluation.json");
        assert_eq!(Evaluation::read(&path).unwrap(), None);
        let mut evaluation = Evaluation::default();
        evaluation.add(measured(&["en", "sw"], "10"));
        let text = String::from_utf8(evaluation.to_json().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
        assert_eq!(Evaluation::read(&path).unwrap(), Some(evaluation));
        fs::write(&path, text.replacen("\"missing\": 1", "\"missing\": 2", 1)).unwrap();
        let error = Evaluation::read(&path).unwrap_err().to_string();
        assert!(error.contains("got bytes that were changed"), "{error}");
    }

    #[test]
    fn languages_that_are_not_asked_again_stay() {
        let mut evaluation = Evaluation::default();
        evaluation.add(measured(&["en", "sw", "bn"], "10"));
        evaluation.add(measured(&["bn", "ko"], "10"));
        let of = evaluation.of("multijail").unwrap();
        let codes: Vec<_> = of.languages.iter().map(|of| of.language.unwrap().to_string()).collect();
        assert_eq!(codes, ["en", "sw", "bn", "ko"]);
        assert_eq!(evaluation.judging.usage.prompt_tokens, 4 * 2);
    }

    /// Questions in these languages, all with one answer.
    fn questions(languages: &[&str], answer: &str) -> Questions {
        let of = |code: &&str| Item::testing(code, &[code], Expected::Number(answer.into()));
        Questions::new(languages.iter().map(of).collect())
    }

    #[test]
    fn results_of_other_settings_are_not_mixed() {
        let mut evaluation = Evaluation::default();
        let multijail = benchmark("multijail").unwrap();
        evaluation.add(measured(&["en", "sw"], "10"));
        let settings = measured(&[], "9").settings;
        let error = evaluation.others(multijail, &settings, &questions(&["sw"], "5")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--limit 10") && text.contains("9") && error.hint().is_some(), "{text}");
        // All of them anew are no mixture.
        let all = questions(&["sw", "en"], "5");
        assert_eq!(evaluation.others(multijail, &settings, &all).unwrap(), []);
        let same = measured(&[], "10").settings;
        let others = evaluation.others(multijail, &same, &questions(&["sw"], "5")).unwrap();
        let of: Vec<_> = others.iter().map(|of| of.language).collect();
        assert_eq!(of, ["en".parse().ok()]);
    }

    #[test]
    fn results_of_other_questions_are_not_mixed() {
        let multijail = benchmark("multijail").unwrap();
        let result = measured(&["en"], "10");
        let settings = result.settings.clone();
        let mut evaluation = Evaluation::default();
        evaluation.add(result.decided_by(settings.clone(), &questions(&["en"], "5")));
        let others = |answer| evaluation.others(multijail, &settings, &questions(&["sw"], answer));
        assert_eq!(others("5").unwrap().len(), 1);
        let error = others("6").unwrap_err();
        assert!(error.to_string().contains("results in English"), "{error}");
        assert!(error.hint().unwrap().contains("--output"));
        // Read back, it says the same.
        let text = evaluation.to_json().unwrap();
        assert_eq!(unseal::<Evaluation>(&text).unwrap(), evaluation);
    }
}
