//! Everything that was found out about a model, as numbers.

use std::collections::BTreeMap;

use mpo_data::Language;
use serde::{Deserialize, Serialize};

use crate::benchmark::{Benchmark, Marking};
use crate::chat::Usage;
use crate::estimate::Estimate;
use crate::projection::Projection;
use crate::reward_gap::{ImplicitGap, LanguageGap};
use crate::sample::Sample;

/// One language's part of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanguageResult {
    /// The language; none where several are mixed.
    pub language: Option<Language>,
    /// The measure; none if everything is missing.
    pub estimate: Option<Estimate>,
    /// Samples without an outcome.
    pub missing: usize,
}

/// A benchmark's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkResult {
    /// The benchmark's name.
    pub benchmark: String,
    /// What is measured.
    pub metric: String,
    /// Whether a smaller number is a better model.
    pub less_is_better: bool,
    /// Who judged; none where answers are compared with what was expected.
    pub judge: Option<String>,
    /// Whether the judge goes by phrases and reads no meaning.
    pub heuristic: bool,
    /// By language, in the order of the questions.
    pub languages: Vec<LanguageResult>,
    /// What its judge took.
    #[serde(default)]
    pub usage: Usage,
}

/// Everything that was found out about a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The model, as it was named.
    pub model: String,
    /// Identifies its weights, tokenizer and configuration; empty in files of the first versions.
    #[serde(default)]
    pub model_hash: String,
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
    /// Takes a benchmark's result in, in the place of an earlier one.
    pub fn replace(&mut self, result: BenchmarkResult) {
        let same = |of: &&mut BenchmarkResult| of.benchmark == result.benchmark;
        match self.benchmarks.iter_mut().find(same) {
            Some(earlier) => *earlier = result,
            None => self.benchmarks.push(result),
        }
        self.judging.usage = Usage::default();
        for of in &self.benchmarks {
            self.judging.usage += of.usage;
        }
    }
}

impl BenchmarkResult {
    /// What marked samples come to.
    pub fn new(benchmark: &Benchmark, judge: Option<(String, bool)>, samples: &[Sample]) -> Self {
        let mut order: Vec<Option<Language>> = vec![];
        let mut of: BTreeMap<Option<Language>, Vec<Option<f64>>> = BTreeMap::new();
        for sample in samples {
            if !order.contains(&sample.language) {
                order.push(sample.language);
            }
            of.entry(sample.language)
                .or_default()
                .push(sample.outcome.value());
        }
        let result = |language: Option<Language>| {
            let values: Vec<f64> = of[&language].iter().copied().flatten().collect();
            let ones = values.iter().filter(|value| **value == 1.0).count();
            LanguageResult {
                language,
                missing: of[&language].len() - values.len(),
                estimate: match benchmark.marking {
                    Marking::Grade => Estimate::mean(&values),
                    _ => Estimate::rate(ones, values.len()),
                },
            }
        };
        let (judge, heuristic) = judge.map_or((None, false), |(name, of)| (Some(name), of));
        Self {
            benchmark: benchmark.name.into(),
            metric: benchmark.marking.metric().into(),
            less_is_better: benchmark.marking.less_is_better(),
            judge,
            heuristic,
            languages: order.into_iter().map(result).collect(),
            usage: Usage::default(),
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
        let outcomes = [
            Outcome::Safe,
            Outcome::Unsafe,
            Outcome::Irrelevant,
            Outcome::Missing,
            Outcome::Safe,
        ];
        let samples: Vec<Sample> = outcomes
            .into_iter()
            .map(|outcome| Sample {
                outcome,
                ..Sample::unanswered(&Item::testing("sw", &["?"], Expected::Safe))
            })
            .collect();
        let judge = Some(("refusal phrases".to_owned(), true));
        let result = BenchmarkResult::new(benchmark("multijail").unwrap(), judge, &samples);
        let of = &result.languages[0];
        assert_eq!(
            (
                of.missing,
                of.estimate.unwrap().value,
                of.estimate.unwrap().count
            ),
            (1, 0.5, 4)
        );
        assert!(result.heuristic && result.less_is_better);
    }
}
