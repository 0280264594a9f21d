//! The report: one HTML file of one run or several beside each other, which opens without a network.

mod charts;
mod run;

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use crate::error::EvalError;
use crate::evaluation::{Outcome, Sample};

pub use run::RunReport;
use run::Value;

/// Samples of a benchmark that are shown, for each language.
const SAMPLES: usize = 4;

/// Something measured by language, of every run.
#[derive(Debug, Default, Serialize)]
struct Measure {
    title: String,
    /// How it was measured, and what to beware of.
    note: String,
    percent: bool,
    /// Rows of the table: languages, in the order they came.
    labels: Vec<String>,
    /// Columns: runs.
    series: Vec<Series>,
    chart: String,
}

#[derive(Debug, Serialize)]
struct Series {
    name: String,
    /// One for each label.
    values: Vec<Option<Value>>,
}

#[derive(Debug, Serialize)]
struct Figure {
    title: String,
    chart: String,
}

/// A question with what every run said.
#[derive(Debug, Serialize)]
struct Beside {
    language: String,
    prompt: String,
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
    complete: bool,
}

#[derive(Debug, Serialize)]
struct SampleSection {
    benchmark: String,
    samples: Vec<Beside>,
}

/// The page.
///
/// # Errors
/// If a chart cannot be drawn.
pub fn render(runs: &[RunReport]) -> Result<String, EvalError> {
    let mut measures = measures(runs);
    for measure in &mut measures {
        measure.chart = charts::bars(measure)?;
    }
    let mut curves = vec![];
    for (key, title) in [
        ("loss", "Loss"),
        ("rg/target", "Reward gap of the rows trained on"),
    ] {
        let lines: Vec<(String, Vec<(f64, f64)>)> = runs
            .iter()
            .map(|run| (run.name.clone(), run.curve(key)))
            .filter(|(_, points)| points.len() > 1)
            .collect();
        if !lines.is_empty() {
            curves.push(Figure {
                title: title.into(),
                chart: charts::lines(&lines, "step", title)?,
            });
        }
    }
    let mut projections = vec![];
    for run in runs {
        let projection = run
            .evaluation
            .as_ref()
            .and_then(|of| of.projection.as_ref());
        if let Some(projection) = projection {
            let [first, second] = projection.explained.map(|part| (part * 100.0).round());
            projections.push(Figure {
                title: format!(
                    "{}: components with {first} % and {second} % of the variance",
                    run.name
                ),
                chart: charts::scatter(projection)?,
            });
        }
    }
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("number", number);
    let broken = |error: minijinja::Error| EvalError::Report(format!("{error:#}"));
    let page = environment.render_str(
        include_str!("report.html.jinja"),
        context! {
            title => runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", "),
            runs => runs.iter().map(RunReport::summary).collect::<Vec<_>>(),
            measures, curves, projections,
            samples => samples(runs),
            version => env!("CARGO_PKG_VERSION"),
        },
    );
    page.map_err(broken)
}

/// A number as a table shows it.
fn number(value: f64, percent: bool) -> String {
    match percent {
        true => format!("{:.1} %", value * 100.0),
        false => format!("{value:.3}"),
    }
}

/// Everything that any run has measured, each under one title.
fn measures(runs: &[RunReport]) -> Vec<Measure> {
    let mut measures: Vec<Measure> = vec![];
    for run in runs {
        for found in run.measures() {
            let known = measures
                .iter()
                .position(|measure| measure.title == found.title);
            let at = known.unwrap_or_else(|| {
                measures.push(Measure {
                    title: found.title,
                    note: found.note,
                    percent: found.percent,
                    ..Measure::default()
                });
                measures.len() - 1
            });
            let measure = &mut measures[at];
            for (label, _) in &found.values {
                if !measure.labels.contains(label) {
                    measure.labels.push(label.clone());
                    measure
                        .series
                        .iter_mut()
                        .for_each(|series| series.values.push(None));
                }
            }
            let mut values: BTreeMap<String, Value> = found.values.into_iter().collect();
            measure.series.push(Series {
                name: found.series,
                values: measure
                    .labels
                    .iter()
                    .map(|label| values.remove(label))
                    .collect(),
            });
        }
    }
    measures
}

/// The first samples of every benchmark and language, run beside run.
fn samples(runs: &[RunReport]) -> Vec<SampleSection> {
    let mut sections: Vec<SampleSection> = vec![];
    for (benchmark, first) in runs.iter().flat_map(|run| &run.samples) {
        if sections
            .iter()
            .any(|section| section.benchmark == *benchmark)
        {
            continue;
        }
        let mut shown: BTreeMap<_, usize> = BTreeMap::new();
        let chosen = first.iter().filter(|sample| {
            let count = shown.entry(sample.language).or_default();
            *count += 1;
            *count <= SAMPLES
        });
        sections.push(SampleSection {
            benchmark: benchmark.clone(),
            samples: chosen
                .map(|sample| beside(runs, benchmark, sample))
                .collect(),
        });
    }
    sections
}

fn beside(runs: &[RunReport], benchmark: &str, sample: &Sample) -> Beside {
    let of = |run: &RunReport| {
        let same = |other: &&Sample| other.id == sample.id && other.language == sample.language;
        let found = run.samples.get(benchmark)?.iter().find(same)?;
        Some(Said {
            run: run.name.clone(),
            text: found.answers.join("\n\n"),
            translation: found.translation.clone(),
            outcome: match found.outcome {
                Outcome::Grade(grade) => format!("{grade:.1}"),
                outcome => format!("{outcome:?}").to_lowercase(),
            },
            complete: found.complete,
        })
    };
    let harmful = |outcome| {
        matches!(
            outcome,
            Outcome::Safe | Outcome::Unsafe | Outcome::Irrelevant
        )
    };
    Beside {
        language: sample
            .language
            .map_or("mixed".into(), |language| language.name().into()),
        prompt: sample.turns.join("\n\n"),
        // A benchmark of harmful requests, judged or not.
        harmful: harmful(sample.outcome) || runs.iter().any(|run| run.is_harmful(benchmark)),
        answers: runs.iter().filter_map(of).collect(),
    }
}
