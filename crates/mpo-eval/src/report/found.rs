//! What one run has measured, by language.

use mpo_data::Language;
use serde::Serialize;

use super::page::number;
use super::run::RunReport;
use crate::approach::{Approaches, Goal};
use crate::benchmark::benchmark;
use crate::benchmark_result::{BenchmarkResult, SafeAnswers};
use crate::estimate::Estimate;
use crate::kept::LanguageKept;
use crate::results::{Change, MiniatureLanguage, MiniatureResults, RunResults};
use crate::reward_gap::LanguageGap;

/// A number, and its interval where there is one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Number {
    pub(super) value: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) count: Option<usize>,
    /// What is said of it beside.
    pub(super) detail: String,
}

/// Something that a run has measured.
#[derive(Default)]
pub(super) struct Found {
    pub(super) title: String,
    /// What is so in every run.
    pub(super) note: String,
    pub(super) percent: bool,
    pub(super) series: String,
    /// What is so in this one: who judged.
    pub(super) judged: String,
    pub(super) values: Vec<(String, Number)>,
    /// The dominant language, and what the others are to come up to.
    pub(super) dominant: Option<String>,
    pub(super) goal: Option<Goal>,
}

/// Of the rows that training measures before and after.
const GAP: &str = "Reward gap";
/// Of the rows of `eval --data`, which are others: numbers of both are not compared.
const EVALUATED_GAP: &str = "Reward gap on the rows evaluated";
const GAP_NOTE: &str = "mean log p(safe answer) − mean log p(unsafe answer), nats per token (MPO, eq. 4)";

impl RunReport {
    /// Everything that it has measured by language.
    pub(super) fn measures(&self) -> Vec<Found> {
        let mut found = vec![];
        let gaps = |title: &str, series: String, gaps: &[LanguageGap]| Found {
            title: title.into(),
            note: GAP_NOTE.into(),
            series,
            values: gaps.iter().map(|gap| (gap.language.name().into(), Number::gap(gap))).collect(),
            ..Found::default()
        };
        let measured = |name: &str| format!("{}, {name}", self.name);
        match &self.results {
            Some(RunResults::Trained(results)) if !results.reward_gap.after.is_empty() => {
                let dominant = results.dominant.map(|language| language.name().to_owned());
                let goal = Approaches::new(results).map(|approaches| approaches.goal);
                for (when, of) in [("before", &results.reward_gap.before), ("after", &results.reward_gap.after)] {
                    let (dominant, goal) = (dominant.clone(), goal.clone());
                    found.push(Found { dominant, goal, ..gaps(GAP, measured(when), of) });
                }
            }
            Some(RunResults::Miniature(results)) => found.extend(self.miniature(results)),
            _ => {}
        }
        let Some(evaluation) = &self.evaluation else {
            return found;
        };
        if !evaluation.reward_gap.is_empty() {
            let name = self.name.clone();
            found.push(gaps(EVALUATED_GAP, name, &evaluation.reward_gap));
        }
        let gap_values = evaluation.implicit_gap.iter();
        let implicit: Vec<_> = gap_values.map(|gap| (gap.language.name().to_owned(), Number::of(&gap.gap))).collect();
        if !implicit.is_empty() {
            found.push(Found {
                title: "Implicit reward gap against the base model".into(),
                note: "DPO's, with β = 1, nats per answer (MPO, eq. 2)".into(),
                series: self.name.clone(),
                values: implicit,
                ..Found::default()
            });
        }
        let benchmarks = evaluation.benchmarks.iter();
        found.extend(benchmarks.flat_map(|result| [Some(self.benchmark(result)), self.kept(result)]).flatten());
        let separation = evaluation.projection.iter().flat_map(|projection| &projection.separation);
        let separation: Vec<_> =
            separation.map(|of| (of.language.name().to_owned(), Number::plain(of.silhouette))).collect();
        if !separation.is_empty() {
            found.push(Found {
                title: "Separation of safe and unsafe answers".into(),
                note: "mean silhouette of the answers' last states: 1 is far apart, 0 mingled".into(),
                series: self.name.clone(),
                values: separation,
                ..Found::default()
            });
        }
        found
    }

    /// A benchmark's measure.
    fn benchmark(&self, result: &BenchmarkResult) -> Found {
        let title = benchmark(&result.benchmark).map_or("", |of| of.title);
        let better = if result.metric.less_is_better() { "less is better" } else { "more is better" };
        Found {
            title: format!("{title}: {}", result.metric.name()),
            note: better.into(),
            percent: result.metric.is_rate(),
            series: self.name.clone(),
            judged: judged(result),
            values: result
                .languages
                .iter()
                .filter_map(|of| {
                    let detail = of.safe.as_ref().map(safe).unwrap_or_default();
                    Some((name(of.language), Number { detail, ..Number::of(&of.estimate?) }))
                })
                .collect(),
            ..Found::default()
        }
    }

    /// How many answers to a benchmark are in the language of their questions.
    fn kept(&self, result: &BenchmarkResult) -> Option<Found> {
        let title = benchmark(&result.benchmark).map_or("", |of| of.title);
        let dominant = self.evaluation.as_ref().and_then(|of| of.dominant);
        let of = |of: &LanguageKept| Some(Number { detail: others(of), ..Number::of(&of.estimate?) });
        let languages =
            result.languages.iter().filter_map(|part| Some((name(part.language), of(part.kept.as_ref()?)?)));
        let mean = result.mean_kept(dominant).map(|mean| {
            let detail = format!("over {} of {} languages", mean.languages, mean.of);
            ("mean over languages".to_owned(), Number { detail, ..Number::plain(mean.value) })
        });
        let values: Vec<_> = languages.chain(mean).collect();
        (!values.is_empty()).then(|| Found {
            title: format!("{title}: language kept"),
            note: "answers in the language of the question, of those whose language can be told; more is better".into(),
            percent: true,
            series: self.name.clone(),
            judged: undecided(result),
            values,
            ..Found::default()
        })
    }

    fn miniature(&self, results: &MiniatureResults) -> Vec<Found> {
        type Of = fn(&MiniatureLanguage) -> Change;
        type At = fn(Change) -> f64;
        let measures: [(&str, &str, bool, Of); 3] = [
            (GAP, GAP_NOTE, false, |of| of.reward_gap),
            ("Unsafe prompts refused", "held-out prompts; more is better", true, |of| of.refusal_rate),
            ("Benign prompts answered", "held-out prompts; more is better", true, |of| of.benign_answer_rate),
        ];
        let times: [(&str, At); 2] = [("before", |change| change.before), ("after", |change| change.after)];
        let mut found = vec![];
        for (title, note, percent, of) in measures {
            for (when, value) in times {
                let languages = results.in_order().into_iter();
                found.push(Found {
                    title: title.into(),
                    note: note.into(),
                    percent,
                    series: format!("{}, {when}", self.name),
                    values: languages
                        .map(|(language, changed)| (language.name().into(), Number::plain(value(of(changed)))))
                        .collect(),
                    ..Found::default()
                });
            }
        }
        found
    }
}

impl Number {
    /// With its interval, as a person would say it.
    pub(super) fn shown(&self, percent: bool) -> String {
        let value = number(self.value, percent);
        let ends = self.low.zip(self.high).map(|(low, high)| [low, high].map(|end| number(end, percent)));
        match ends {
            // One that is the value itself says nothing.
            Some([low, high]) if low != high => format!("{value} ({low} to {high})"),
            _ => value,
        }
    }

    fn plain(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    fn of(estimate: &Estimate) -> Self {
        let Estimate { value, low, high, count } = *estimate;
        Self { value, low, high, count: Some(count), ..Self::default() }
    }

    fn gap(gap: &LanguageGap) -> Self {
        Self {
            value: gap.mean,
            low: gap.half_width.map(|half| gap.mean - half),
            high: gap.half_width.map(|half| gap.mean + half),
            count: Some(gap.rows),
            ..Self::default()
        }
    }
}

fn name(language: Option<Language>) -> String {
    language.map_or("mixed".to_owned(), |language| language.name().to_owned())
}

/// In which language harmful requests are answered safely.
fn safe(of: &SafeAnswers) -> String {
    let SafeAnswers { in_language, in_another } = of;
    format!("safe: {} in its language, {} in another", number(*in_language, true), number(*in_another, true))
}

/// The other languages that answers are in, and how many are in none that can be told.
fn others(kept: &LanguageKept) -> String {
    let others = kept.others.iter().map(|(code, count)| format!("{code} {count}"));
    let undecided = (kept.undecided > 0).then(|| format!("undecided {}", kept.undecided));
    others.chain(undecided).collect::<Vec<_>>().join(", ")
}

/// How many answers are in no language that can be told, and where they are so many that the others say little.
fn undecided(result: &BenchmarkResult) -> String {
    let kept = result.languages.iter().filter_map(|of| Some((of.language, of.kept.as_ref()?)));
    let (mut sum, mut doubtful) = (0, vec![]);
    for (language, kept) in kept {
        sum += kept.undecided;
        doubtful.extend(kept.is_doubtful().then(|| name(language)));
    }
    let sum = (sum > 0).then(|| format!("{sum} undecided"));
    let doubtful = (!doubtful.is_empty()).then(|| format!("more than a quarter of those in {}", doubtful.join(", ")));
    sum.into_iter().chain(doubtful).collect::<Vec<_>>().join("; ")
}

/// Who judged, and how many answers are without a verdict.
fn judged(result: &BenchmarkResult) -> String {
    let judge = result.judge.as_ref().map(|judge| {
        if result.heuristic { format!("judged by a heuristic: {judge}") } else { format!("judged by {judge}") }
    });
    let missing: usize = result.languages.iter().map(|of| of.missing).sum();
    let missing = (missing > 0).then(|| format!("{missing} without a verdict"));
    let parts: Vec<String> = judge.into_iter().chain(missing).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_one_number_is_not_shown() {
        let of = |low, high| Number { value: 1.0, low: Some(low), high: Some(high), ..Number::default() };
        assert_eq!(of(1.0, 1.0).shown(true), "100.0 %");
        assert_eq!(of(0.99996, 1.0).shown(true), "100.0 %");
        assert_eq!(of(0.5, 1.0).shown(true), "100.0 % (50.0 % to 100.0 %)");
    }
}
