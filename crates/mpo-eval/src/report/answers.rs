//! What runs answered to the same questions.

use std::collections::{BTreeMap, BTreeSet};

use mpo_trainer::{MeasuredEvent, SampledAnswer};
use serde::Serialize;

use super::run::RunReport;
use crate::benchmark;
use crate::sample::{Outcome, Sample};

/// Samples of a benchmark that are shown, for each language.
const SAMPLES: usize = 4;

/// A question with what every run said.
#[derive(Debug, Serialize)]
struct Beside {
    language: String,
    prompt: String,
    /// Its beginning, where it is long.
    opening: Option<String>,
    /// Whether a request is harmful, so that it and its answers are folded.
    harmful: bool,
    answers: Vec<Said>,
}

#[derive(Debug, Serialize)]
struct Said {
    run: String,
    text: String,
    translation: Option<String>,
    outcome: String,
    /// The language it is in, where that is another than the question's.
    language: Option<String>,
    complete: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct SampleSection {
    benchmark: String,
    samples: Vec<Beside>,
}

/// The first samples of every benchmark and language, run beside run.
pub(super) fn samples(runs: &[RunReport]) -> Vec<SampleSection> {
    let mut sections: Vec<SampleSection> = vec![];
    let mut seen = BTreeSet::new();
    for (benchmark, first) in runs.iter().flat_map(|run| &run.samples) {
        if !seen.insert(benchmark) {
            continue;
        }
        let mut shown: BTreeMap<_, usize> = BTreeMap::new();
        let chosen = first.iter().filter(|sample| {
            let count = shown.entry(sample.language).or_default();
            *count += 1;
            *count <= SAMPLES
        });
        sections.push(SampleSection {
            benchmark: benchmark::benchmark(benchmark).map_or(benchmark.as_str(), |of| of.title).to_owned(),
            samples: chosen.map(|sample| beside(runs, benchmark, sample)).collect(),
        });
    }
    sections
}

/// Measurements whose answers are shown of a run: the first, and so many of the last.
const LAST: usize = 4;

/// What each run that was sampled while it trained said to every prompt, step by step.
pub(super) fn sampled(runs: &[RunReport]) -> Vec<SampleSection> {
    let section = |run: &RunReport| {
        let sampled: Vec<&MeasuredEvent> = run.measured.iter().filter(|event| !event.samples.is_empty()).collect();
        let first = *sampled.first()?;
        let last = sampled.len().saturating_sub(LAST).max(1);
        let shown: Vec<&MeasuredEvent> = std::iter::once(first).chain(sampled[last..].iter().copied()).collect();
        Some(SampleSection {
            benchmark: format!("{}, while it trained", run.name),
            samples: first.samples.iter().map(|sample| step_by_step(&shown, sample)).collect(),
        })
    };
    runs.iter().filter_map(section).collect()
}

fn step_by_step(shown: &[&MeasuredEvent], sample: &SampledAnswer) -> Beside {
    let of = |event: &&MeasuredEvent| {
        let same = |other: &&SampledAnswer| other.language == sample.language && other.prompt == sample.prompt;
        let found = event.samples.iter().find(same)?;
        Some(Said {
            run: format!("step {}", event.step),
            text: found.answer.clone(),
            translation: None,
            outcome: found.outcome().into(),
            language: found.answer_language.other().map(str::to_owned),
            complete: found.complete,
        })
    };
    Beside {
        language: sample.language.name().into(),
        opening: opening(&sample.prompt),
        prompt: sample.prompt.clone(),
        harmful: sample.is_unsafe,
        answers: shown.iter().filter_map(of).collect(),
    }
}

fn beside(runs: &[RunReport], benchmark: &str, sample: &Sample) -> Beside {
    let of = |run: &RunReport| {
        // Another set may have the same ids.
        let same =
            |other: &&Sample| other.id == sample.id && other.language == sample.language && other.turns == sample.turns;
        let found = run.samples.get(benchmark)?.iter().find(same)?;
        Some(Said {
            run: run.name.clone(),
            text: found.answers.join("\n\n"),
            translation: found.translation.clone(),
            outcome: match found.outcome {
                Outcome::Grade(grade) => format!("{grade:.1}"),
                outcome => format!("{outcome:?}").to_lowercase(),
            },
            language: found.answer_language.and_then(|language| language.other().map(str::to_owned)),
            complete: found.complete,
        })
    };
    let harmful = |outcome| matches!(outcome, Outcome::Safe | Outcome::Unsafe | Outcome::Irrelevant);
    Beside {
        language: sample.language.map_or("mixed".into(), |language| language.name().into()),
        opening: opening(&sample.turns.join(" ")),
        prompt: sample.turns.join("\n\n"),
        // A benchmark of harmful requests, judged or not.
        harmful: harmful(sample.outcome) || runs.iter().any(|run| run.is_harmful(benchmark)),
        answers: runs.iter().filter_map(of).collect(),
    }
}

/// The first characters of a text that is too long for a line.
fn opening(text: &str) -> Option<String> {
    const LINE: usize = 160;
    let end = text.char_indices().nth(LINE)?.0;
    Some(format!("{} …", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_prompts_are_opened_at_a_character() {
        assert_eq!(opening("short"), None);
        assert_eq!(opening(&"あ".repeat(161)).unwrap(), format!("{} …", "あ".repeat(160)));
    }
}
