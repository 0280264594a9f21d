//! What a folder tells of a run: how it was trained, and how its model was evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mpo_data::Language;
use mpo_trainer::{is_edited, is_written, read_checked, read_file};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::estimate::Estimate;
use crate::evaluation::{BenchmarkResult, Evaluation};
use crate::reward_gap::LanguageGap;
use crate::sample::{Sample, read_samples};

/// A run as the report shows it.
#[derive(Debug, Default)]
pub struct RunReport {
    /// The run folder's name.
    pub name: String,
    /// `config.yaml`, if it was trained here.
    pub(super) config: Option<String>,
    /// The steps of training.
    steps: Vec<Step>,
    /// Reward gaps before and after training.
    results: Results,
    pub(super) evaluation: Option<Evaluation>,
    /// What was damaged, and is not shown.
    damaged: Vec<String>,
    /// By benchmark.
    pub(super) samples: BTreeMap<String, Vec<Sample>>,
}

/// A number, and its interval where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Number {
    pub(super) value: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) count: Option<usize>,
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
}

#[derive(Debug, Deserialize)]
struct Step {
    event: String,
    step: Option<f64>,
    #[serde(flatten)]
    metrics: BTreeMap<String, serde_json::Value>,
}

/// `results.json` of a training run, or of the miniature.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Results {
    steps: u64,
    dominant: Option<Language>,
    reward_gap: Gaps,
    languages: BTreeMap<Language, MiniatureLanguage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gaps {
    before: Vec<LanguageGap>,
    after: Vec<LanguageGap>,
}

#[derive(Debug, Deserialize)]
struct MiniatureLanguage {
    reward_gap: Change,
    refusal_rate: Change,
    benign_answer_rate: Change,
}

#[derive(Debug, Deserialize)]
struct Change {
    before: f64,
    after: f64,
}

const CONFIG: &str = "config.yaml";
const EVENTS: &str = "events.jsonl";
const EVALUATION: &str = "evaluation.json";

/// Of the rows that training measures before and after.
const GAP: &str = "Reward gap";
/// Of the rows of `eval --data`, which are others: numbers of both are not compared.
const EVALUATED_GAP: &str = "Reward gap on the rows evaluated";
const GAP_NOTE: &str = "mean log p(safe answer) − mean log p(unsafe answer), nats a token (MPO, eq. 4)";

impl RunReport {
    /// What is in a run folder, or in the folder of an evaluation.
    ///
    /// # Errors
    /// If there is neither, or a file in it is broken.
    pub fn read(folder: &Path) -> Result<Self, EvalError> {
        let whole = folder.canonicalize().map_err(EvalError::io(folder))?;
        let no_run = |got| EvalError::NoRun { path: folder.to_owned(), got };
        if !whole.is_dir() {
            return Err(no_run("a file"));
        }
        let evaluated =
            [folder.to_owned(), folder.join("eval")].into_iter().find(|path| path.join(EVALUATION).exists());
        let around = run_around(folder, &whole);
        let trained = around.unwrap_or(folder);
        let config = read_file(&trained.join(CONFIG))?;
        let config = config.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if config.is_none() && evaluated.is_none() {
            return Err(no_run("one with neither config.yaml nor evaluation.json"));
        }
        let mut run = Self {
            name: called(&whole, around.is_some()),
            config,
            results: results(trained)?.unwrap_or_default(),
            ..Self::default()
        };
        (run.steps, run.damaged) = steps(&trained.join(EVENTS))?;
        run.note_missing(trained);
        if is_edited(trained, CONFIG) {
            let note = "config.yaml: it was changed since the run was started, which had other settings";
            run.damaged.push(note.into());
        }
        if let Some(evaluated) = evaluated {
            run.read_evaluation(&evaluated)?;
        }
        if run.measures().is_empty() && run.steps.is_empty() {
            return Err(EvalError::NothingToShow { path: folder.to_owned() });
        }
        Ok(run)
    }

    /// Notes steps that were taken and have no line in the log.
    fn note_missing(&mut self, trained: &Path) {
        let checkpoints = fs::read_dir(trained.join("checkpoints")).into_iter().flatten();
        let last = checkpoints.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("step-")?.parse::<u64>().ok()
        });
        let told: BTreeSet<u64> = self.steps.iter().filter_map(|step| step.number()).collect();
        let known = last.chain([self.results.steps]).chain(told.last().copied());
        let mut missing = (1..=known.max().unwrap_or(0)).filter(|step| !told.contains(step));
        if let Some(first) = missing.next() {
            self.damaged.push(format!(
                "events.jsonl: the lines of {} steps are gone, the first is that of step {first}",
                1 + missing.count()
            ));
        }
    }

    /// The numbers and samples in the folder of an evaluation.
    fn read_evaluation(&mut self, folder: &Path) -> Result<(), EvalError> {
        self.evaluation = Evaluation::read(&folder.join(EVALUATION))?;
        let evaluation = self.evaluation.iter();
        for result in evaluation.flat_map(|evaluation| &evaluation.benchmarks) {
            let file = format!("samples/{}.jsonl", result.benchmark);
            let (samples, damaged) = read_samples(&folder.join(&file))?;
            self.damaged.extend(damaged.first().map(|line| {
                format!(
                    "{file}: lines that were damaged since they were written, the first is line {line}, are not shown"
                )
            }));
            self.samples.insert(result.benchmark.clone(), samples);
        }
        Ok(())
    }

    /// What of it is not as it was written, in words.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// A metric by step.
    pub(super) fn curve(&self, key: &str) -> Vec<(f64, f64)> {
        let points = self.steps.iter();
        points.filter_map(|step| Some((step.step?, step.metrics.get(key)?.as_f64()?))).collect()
    }

    /// Whether a benchmark's requests are harmful.
    pub(super) fn is_harmful(&self, benchmark: &str) -> bool {
        let results = self.evaluation.iter().flat_map(|evaluation| &evaluation.benchmarks);
        let mut of = results.filter(|result| result.benchmark == benchmark);
        of.any(|result| result.metric == "attack success rate")
    }

    /// What is shown of how it came about.
    pub(super) fn summary(&self) -> BTreeMap<&'static str, String> {
        let evaluation = self.evaluation.as_ref();
        let judging = evaluation.map(|evaluation| {
            let usage = evaluation.judging.usage;
            let cost = evaluation.judging.cost.map_or(String::new(), |cost| format!(", cost {cost:.2}"));
            match usage.prompt_tokens + usage.completion_tokens {
                0 => String::new(),
                _ => format!(
                    "{} tokens read and {} written by judges{cost}",
                    usage.prompt_tokens, usage.completion_tokens
                ),
            }
        });
        BTreeMap::from([
            ("name", self.name.clone()),
            ("model", evaluation.map_or(String::new(), |evaluation| evaluation.model.clone())),
            ("config", self.config.clone().unwrap_or_default()),
            ("judging", judging.unwrap_or_default()),
            ("damaged", self.damaged.join("; ")),
        ])
    }

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
        if !self.results.reward_gap.after.is_empty() {
            let trained = &self.results.reward_gap;
            found.push(gaps(GAP, measured("before"), &trained.before));
            found.push(gaps(GAP, measured("after"), &trained.after));
        }
        found.extend(self.miniature());
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
                note: "DPO's, with β = 1, nats an answer (MPO, eq. 2)".into(),
                series: self.name.clone(),
                values: implicit,
                ..Found::default()
            });
        }
        let benchmarks = evaluation.benchmarks.iter();
        found.extend(benchmarks.map(|result| self.benchmark(result)));
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
        let title = crate::benchmark::benchmark(&result.benchmark).map_or("", |of| of.title);
        let name = |language: Option<Language>| language.map_or("mixed".to_owned(), |language| language.name().into());
        let better = match result.less_is_better {
            true => "less is better",
            false => "more is better",
        };
        Found {
            title: format!("{title}: {}", result.metric),
            note: better.into(),
            percent: result.metric != "grade",
            series: self.name.clone(),
            judged: judged(result),
            values: result
                .languages
                .iter()
                .filter_map(|of| Some((name(of.language), Number::of(&of.estimate?))))
                .collect(),
        }
    }

    fn miniature(&self) -> Vec<Found> {
        type Of = fn(&MiniatureLanguage) -> &Change;
        let measures: [(&str, &str, bool, Of); 3] = [
            (GAP, GAP_NOTE, false, |of| &of.reward_gap),
            ("Unsafe prompts refused", "held-out prompts; more is better", true, |of| &of.refusal_rate),
            ("Benign prompts answered", "held-out prompts; more is better", true, |of| &of.benign_answer_rate),
        ];
        let mut found = vec![];
        if self.results.languages.is_empty() {
            return found;
        }
        for (title, note, percent, of) in measures {
            for (when, value) in
                [("before", (|change| change.before) as fn(&Change) -> f64), ("after", |change| change.after)]
            {
                let mut languages: Vec<_> = self.results.languages.iter().collect();
                languages.sort_by_key(|(language, _)| Some(**language) != self.results.dominant);
                found.push(Found {
                    title: title.into(),
                    note: note.into(),
                    percent,
                    series: format!("{}, {when}", self.name),
                    values: languages
                        .into_iter()
                        .map(|(language, l)| (language.name().into(), Number::plain(value(of(l)))))
                        .collect(),
                    ..Found::default()
                });
            }
        }
        found
    }
}

impl Step {
    fn number(&self) -> Option<u64> {
        self.step.filter(|step| step.fract() == 0.0).map(|step| step as u64)
    }
}

impl Number {
    fn plain(value: f64) -> Self {
        Self { value, low: None, high: None, count: None }
    }

    fn of(estimate: &Estimate) -> Self {
        Self { value: estimate.value, low: estimate.low, high: estimate.high, count: Some(estimate.count) }
    }

    fn gap(gap: &LanguageGap) -> Self {
        Self {
            value: gap.mean,
            low: gap.half_width.map(|half| gap.mean - half),
            high: gap.half_width.map(|half| gap.mean + half),
            count: Some(gap.rows),
        }
    }
}

/// Who judged, and how many answers are without a verdict.
fn judged(result: &BenchmarkResult) -> String {
    let judge = match (&result.judge, result.heuristic) {
        (Some(judge), true) => Some(format!("judged by a heuristic: {judge}")),
        (Some(judge), false) => Some(format!("judged by {judge}")),
        (None, _) => None,
    };
    let missing: usize = result.languages.iter().map(|of| of.missing).sum();
    let missing = (missing > 0).then(|| format!("{missing} without a verdict"));
    let parts: Vec<String> = judge.into_iter().chain(missing).collect();
    parts.join("; ")
}

/// The run folder that an evaluation lies in, which says how its model was trained; `whole` is the evaluation's full path.
fn run_around<'a>(folder: &Path, whole: &'a Path) -> Option<&'a Path> {
    let is_evaluation = folder.join(EVALUATION).exists() && !folder.join(CONFIG).exists();
    // A configuration alone may be anybody's.
    let is_run = |around: &&Path| around.join(CONFIG).exists() && around.join(EVENTS).exists();
    whole.parent().filter(|_| is_evaluation).filter(is_run)
}

/// What a run is called: as its folder. An evaluation in the folder `eval` is called as what is evaluated, and any other
/// one in a run folder by both.
fn called(whole: &Path, is_in_run: bool) -> String {
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let own = name(whole);
    match whole.parent().map(name) {
        Some(outer) if own == "eval" => outer,
        Some(outer) if is_in_run => format!("{outer}/{own}"),
        _ => own,
    }
}

/// The steps that a file of events tells of.
fn steps(path: &Path) -> Result<(Vec<Step>, Vec<String>), EvalError> {
    let (mut steps, mut damaged) = (vec![], vec![]);
    let bytes = read_file(path)?.unwrap_or_default();
    for (line, number) in bytes.split_inclusive(|&byte| byte == b'\n').zip(1..) {
        let is_whole = line.ends_with(b"\n");
        let line = String::from_utf8_lossy(line);
        // A run that is going on may be in the middle of a line, and a disk may have damaged one. Logs of earlier versions
        // have no checksums.
        let object = match line.contains(",\"check\":\"") {
            true => mpo_models::unchecked_line(&line),
            false => Some(line.into_owned()),
        };
        if object.is_none() && is_whole {
            damaged.push(format!("events.jsonl: line {number} was damaged since it was written, and is not shown"));
        }
        let Ok(event) = serde_json::from_str::<Step>(object.as_deref().unwrap_or_default()) else {
            if number == 1 && object.is_some() {
                let problem = "expected events, a line of JSON each";
                return Err(EvalError::broken(path, problem.into()));
            }
            continue;
        };
        if event.event == "step" {
            steps.push(event);
        }
    }
    Ok((steps, damaged))
}

/// A run's results, checked by their sum, which runs of earlier versions have not.
fn results(folder: &Path) -> Result<Option<Results>, EvalError> {
    const SUM: &str = "results.json.blake3";
    let path = folder.join("results.json");
    let bytes = match folder.join(SUM).exists() || is_written(folder, SUM) {
        true => read_checked(&path)?,
        false => read_file(&path)?,
    };
    let value = bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    value.map_err(|error| EvalError::broken(&path, error.to_string()))
}
