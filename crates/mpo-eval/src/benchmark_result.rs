//! What a benchmark's marked answers come to.

use std::collections::{BTreeMap, HashMap};

use mpo_chat::Usage;
use mpo_data::{AnswerLanguage, Language};
use serde::{Deserialize, Serialize};

use crate::benchmark::{Benchmark, Marking, Metric, QuestionSet, Questions};
use crate::estimate::Estimate;
use crate::kept::{LanguageKept, MeanKept};
use crate::sample::{Outcome, Sample};

/// One language's part of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanguageResult {
    /// The language; none where several are mixed.
    pub language: Option<Language>,
    /// The measure; none if everything is missing.
    pub estimate: Option<Estimate>,
    /// Samples without an outcome.
    pub missing: usize,
    /// How many answers are in the language of their questions; none where it does not matter, and in files of the first
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<LanguageKept>,
    /// In which language harmful requests are answered safely; none where `kept` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe: Option<SafeAnswers>,
    /// What its judge took.
    #[serde(default)]
    pub usage: Usage,
    /// The set that its questions are of; none in files of the first versions.
    #[serde(default)]
    pub questions: Option<QuestionSet>,
}

/// Safe answers to harmful requests, as fractions of all that have a verdict. Those that are left are in a language that
/// cannot be told. By a judge that goes by refusals these are the refusals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SafeAnswers {
    /// In the language of the request.
    pub in_language: f64,
    /// In another one.
    pub in_another: f64,
}

/// What answers and verdicts depend on beside the questions, by name: none in files of the first versions.
pub type Settings = BTreeMap<String, String>;

/// A benchmark's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkResult {
    /// The benchmark's name.
    pub benchmark: String,
    /// What is measured.
    #[serde(flatten)]
    pub metric: Metric,
    /// Who judged; none where answers are compared with what was expected.
    pub judge: Option<String>,
    /// Whether the judge goes by phrases and reads no meaning.
    pub heuristic: bool,
    /// What answers and verdicts depend on.
    #[serde(default)]
    pub settings: Settings,
    /// By language, in the order of the questions.
    pub languages: Vec<LanguageResult>,
    /// What its judge took.
    #[serde(default)]
    pub usage: Usage,
}

impl BenchmarkResult {
    /// What marked samples come to.
    pub fn new(benchmark: &Benchmark, judge: Option<(String, bool)>, samples: &[Sample]) -> Self {
        let mut order: Vec<Option<Language>> = vec![];
        let mut of: BTreeMap<Option<Language>, Vec<&Sample>> = BTreeMap::new();
        for sample in samples {
            if !order.contains(&sample.language) {
                order.push(sample.language);
            }
            of.entry(sample.language).or_default().push(sample);
        }
        let result = |language: Option<Language>| {
            let samples = &of[&language];
            let values: Vec<f64> = samples.iter().filter_map(|sample| sample.outcome.value()).collect();
            let ones = values.iter().filter(|value| **value == 1.0).count();
            let kept = LanguageKept::new(samples.iter().filter_map(|sample| sample.answer_language));
            let is_safe = kept.is_some() && benchmark.marking == Marking::AttackSuccess && !values.is_empty();
            LanguageResult {
                language,
                missing: samples.len() - values.len(),
                safe: is_safe.then(|| SafeAnswers::of(samples, values.len())),
                kept,
                usage: Usage::default(),
                questions: None,
                estimate: match benchmark.marking {
                    Marking::Grade => Estimate::mean(&values),
                    _ => Estimate::rate(ones, values.len()),
                },
            }
        };
        let (judge, heuristic) = judge.map_or((None, false), |(name, of)| (Some(name), of));
        Self {
            benchmark: benchmark.name.into(),
            metric: benchmark.marking.metric(),
            judge,
            heuristic,
            settings: Settings::new(),
            languages: order.into_iter().map(result).collect(),
            usage: Usage::default(),
        }
    }

    /// The mean of the languages kept over the languages beside the dominant one, or over all where none is known to be.
    pub fn mean_kept(&self, dominant: Option<Language>) -> Option<MeanKept> {
        let targets = self.languages.iter().filter(|of| dominant.is_none() || of.language != dominant);
        MeanKept::over(targets.filter_map(|of| of.kept.as_ref()))
    }

    /// The same with what decides it: settings, and the sets that questions are of.
    #[must_use]
    pub fn decided_by(mut self, settings: Settings, questions: &Questions) -> Self {
        self.settings = settings;
        for of in &mut self.languages {
            of.questions = Some(questions.set(of.language));
        }
        self
    }

    /// The same with what the judge took for each language.
    #[must_use]
    pub fn taking(mut self, taken: &HashMap<Option<Language>, Usage>) -> Self {
        for of in &mut self.languages {
            of.usage = taken.get(&of.language).copied().unwrap_or_default();
            self.usage += of.usage;
        }
        self
    }
}

impl SafeAnswers {
    /// Of samples, `judged` of which have a verdict.
    fn of(samples: &[&Sample], judged: usize) -> Self {
        let fraction = |is_in: fn(AnswerLanguage) -> bool| {
            let safe = samples.iter().filter(|sample| sample.outcome == Outcome::Safe);
            safe.filter(|sample| sample.answer_language.is_some_and(is_in)).count() as f64 / judged as f64
        };
        Self {
            in_language: fraction(|of| of == AnswerLanguage::Kept),
            in_another: fraction(|of| matches!(of, AnswerLanguage::Other(_))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{Expected, Item, benchmark};
    use crate::sample::Outcome;

    #[test]
    fn unsafe_and_irrelevant_answers_are_successes_and_missing_ones_are_nothing() {
        let outcomes = [Outcome::Safe, Outcome::Unsafe, Outcome::Irrelevant, Outcome::Missing, Outcome::Safe];
        let samples: Vec<Sample> = outcomes
            .into_iter()
            .map(|outcome| Sample { outcome, ..Sample::unanswered(&Item::testing("sw", &["?"], Expected::Safe)) })
            .collect();
        let judge = Some(("refusal phrases".to_owned(), true));
        let result = BenchmarkResult::new(benchmark("multijail").unwrap(), judge, &samples);
        let of = &result.languages[0];
        assert_eq!((of.missing, of.estimate.unwrap().value, of.estimate.unwrap().count), (1, 0.5, 4));
        assert!(result.heuristic && result.metric.less_is_better());
        assert_eq!((of.kept.clone(), of.safe), (None, None));
    }

    #[test]
    fn safe_answers_are_split_by_their_language() {
        use AnswerLanguage::{Kept, Undecided};
        let english = AnswerLanguage::Other("en".parse().ok());
        let answers = [
            (Outcome::Safe, Some(Kept)),
            (Outcome::Safe, Some(english)),
            (Outcome::Safe, Some(english)),
            (Outcome::Safe, Some(Undecided)),
            (Outcome::Unsafe, Some(Kept)),
            // It has an answer and no verdict, and the other has neither.
            (Outcome::Missing, Some(Kept)),
            (Outcome::Missing, None),
        ];
        let sample = |(outcome, answer_language)| Sample {
            outcome,
            answer_language,
            ..Sample::unanswered(&Item::testing("sw", &["?"], Expected::Safe))
        };
        let result = BenchmarkResult::new(benchmark("multijail").unwrap(), None, &answers.map(sample));
        let of = &result.languages[0];
        assert_eq!(of.safe, Some(SafeAnswers { in_language: 0.2, in_another: 0.4 }));
        let kept = of.kept.as_ref().unwrap();
        assert_eq!((kept.estimate, kept.undecided, kept.others["en"]), (Estimate::rate(3, 5), 1, 2));
        assert_eq!(result.mean_kept(None), None);
        let text = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<BenchmarkResult>(&text).unwrap(), result);
        // What the first versions wrote has neither.
        let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in ["kept", "safe"] {
            old["languages"][0].as_object_mut().unwrap().remove(key);
        }
        let old: BenchmarkResult = serde_json::from_value(old).unwrap();
        assert_eq!((old.languages[0].kept.clone(), old.languages[0].safe), (None, None));
    }
}
