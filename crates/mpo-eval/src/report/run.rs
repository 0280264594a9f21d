//! What a folder tells of a run: how it was trained, and how its model was evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mpo_data::Language;
use mpo_progress::Counted;
use mpo_trainer::{
    CHECKPOINTS, CONFIG_FILE, EVENTS_FILE, MeasuredEvent, RESULTS_FILE, StartedEvent, StepEvent, TrainOptions,
    is_edited, is_written, read_checked, read_file,
};
use serde::Serialize;

use crate::approach::{Approaches, Goal};
use crate::benchmark::Metric;
use crate::error::EvalError;
use crate::evaluated::Evaluated;
use crate::evaluation::{EVALUATION_FILE, Evaluation};
use crate::results::RunResults;
use crate::run_log::RunLog;
use crate::sample::Sample;

/// A run at a glance.
#[derive(Debug, Serialize)]
pub(super) struct Glance {
    name: String,
    /// What was run, each with what it is.
    facts: Vec<(&'static str, String)>,
    goal: Option<String>,
    verdicts: Vec<Verdict>,
}

/// What became of a language.
#[derive(Debug, Serialize)]
struct Verdict {
    course: &'static str,
    sentence: String,
}

/// A run as the report shows it.
#[derive(Debug, Default)]
pub struct RunReport {
    /// The run folder's name.
    pub name: String,
    /// `config.yaml`, if it was trained here.
    pub(super) config: Option<String>,
    /// The steps of training.
    steps: Vec<StepEvent>,
    /// What was measured meanwhile.
    pub(super) measured: Vec<MeasuredEvent>,
    /// Its method, and the model that it began with.
    method: Option<String>,
    model: Option<String>,
    /// What the last process set out to do.
    started: Option<StartedEvent>,
    /// How long it was at work.
    seconds: Option<f64>,
    pub(super) results: Option<RunResults>,
    pub(super) evaluation: Option<Evaluation>,
    /// What was damaged, and is not shown.
    damaged: Vec<String>,
    /// By benchmark.
    pub(super) samples: BTreeMap<String, Vec<Sample>>,
}

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
        let evaluated = Evaluated::find(folder)?;
        let around = run_around(folder, &whole);
        let trained = around.unwrap_or(folder);
        let config = read_file(&trained.join(CONFIG_FILE))?;
        let config = config.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if config.is_none() && evaluated.is_none() {
            return Err(no_run("one with neither config.yaml nor evaluation.json"));
        }
        let mut run =
            Self { name: called(&whole, around.is_some()), config, results: results(trained)?, ..Self::default() };
        // One that another version wrote may have settings that are none any more.
        if let Ok(settings) = TrainOptions::from_file(&trained.join(CONFIG_FILE)) {
            run.method = settings.method.map(|method| method.definition().name.to_owned());
            run.model = settings.model;
        }
        let log = RunLog::read(&trained.join(EVENTS_FILE))?;
        // Of one that was stopped and went on, without the time between.
        run.seconds = log.seconds.or(log.elapsed);
        (run.started, run.steps, run.measured, run.damaged) = (log.started, log.steps, log.measured, log.damaged);
        run.note_missing(trained);
        if is_edited(trained, CONFIG_FILE) {
            let note = "config.yaml: it was changed since the run was started, which had other settings";
            run.damaged.push(note.into());
        }
        if let Some(Evaluated { evaluation, samples, damaged, .. }) = evaluated {
            run.damaged.extend(damaged);
            (run.evaluation, run.samples) = (Some(evaluation), samples);
        }
        if run.measures().is_empty() && run.steps.is_empty() {
            return Err(EvalError::NothingToShow { path: folder.to_owned() });
        }
        Ok(run)
    }

    /// Notes steps that were taken and have no line in the log.
    fn note_missing(&mut self, trained: &Path) {
        let checkpoints = fs::read_dir(trained.join(CHECKPOINTS)).into_iter().flatten();
        let last = checkpoints.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("step-")?.parse::<u64>().ok()
        });
        let told: BTreeSet<u64> = self.steps.iter().map(|event| event.step).collect();
        let finished = self.results.as_ref().and_then(RunResults::steps);
        let known = last.chain(finished).chain(told.last().copied());
        let mut missing = (1..=known.max().unwrap_or(0)).filter(|step| !told.contains(step));
        if let Some(first) = missing.next() {
            self.damaged.push(format!(
                "events.jsonl: the lines of {} are gone, the first is that of step {first}",
                Counted(1 + missing.count() as u64, "step")
            ));
        }
    }

    /// What went wrong while it trained, in words.
    pub(super) fn warnings(&self) -> Vec<String> {
        let steps = self.measured.iter();
        steps.flat_map(|event| event.warnings.iter().map(|text| format!("step {}: {text}", event.step))).collect()
    }

    /// What of it is not as it was written, in words.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// A metric by step.
    pub(super) fn curve(&self, key: &str) -> Vec<(f64, f64)> {
        let points = self.steps.iter();
        points.filter_map(|event| Some((event.step as f64, *event.metrics.get(key)?))).collect()
    }

    /// Whether what was measured meanwhile are rows that it was trained on.
    pub(super) fn measures_trained_on(&self) -> bool {
        self.measured.iter().any(|event| event.trained_on)
    }

    /// A number of held-out rows by step, for each language that has it.
    pub(super) fn held_out_curves(&self, key: &str) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut curves: BTreeMap<Language, Vec<(f64, f64)>> = BTreeMap::new();
        for event in &self.measured {
            for (name, value) in &event.metrics {
                let language = name.strip_prefix(key).and_then(|rest| rest.strip_prefix('/'));
                if let Some(language) = language.and_then(|code| code.parse().ok()) {
                    curves.entry(language).or_default().push((event.step as f64, *value));
                }
            }
        }
        curves.into_iter().map(|(language, points)| (language.name().to_owned(), points)).collect()
    }

    /// Whether a benchmark's requests are harmful.
    pub(super) fn is_harmful(&self, benchmark: &str) -> bool {
        let results = self.evaluation.iter().flat_map(|evaluation| &evaluation.benchmarks);
        let mut of = results.filter(|result| result.benchmark == benchmark);
        of.any(|result| result.metric == Metric::AttackSuccess)
    }

    /// What was run.
    fn facts(&self) -> Option<Vec<(&'static str, String)>> {
        let taken = self.steps.last()?.step;
        let started = self.started.as_ref();
        // Who stops early, or is going on, has not taken all.
        let steps = match started.map(|event| event.total_steps).filter(|total| *total > taken) {
            Some(total) => format!("{taken} of {total}"),
            None => taken.to_string(),
        };
        let time = self.seconds.map(|seconds| match seconds {
            0.0..100.0 => format!("{seconds:.0} s"),
            100.0..6_000.0 => format!("{:.0} min", seconds / 60.0),
            _ => format!("{:.1} h", seconds / 3_600.0),
        });
        let facts = [
            ("Model", self.model.clone()),
            ("Method", self.method.clone()),
            ("Rows", started.map(|event| event.rows.to_string())),
            ("Steps", Some(steps)),
            ("Time", time),
            // Logs of earlier versions do not say.
            ("Device", started.map(|event| event.device.clone()).filter(|device| !device.is_empty())),
        ];
        Some(facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// What stands at the top of the page.
    pub(super) fn glance(&self) -> Option<Glance> {
        let facts = self.facts()?;
        let (approaches, goal) = match &self.results {
            Some(RunResults::Trained(results)) => (Approaches::new(results), Goal::new(results)),
            Some(RunResults::Miniature(results)) => (Approaches::of_miniature(results), None),
            _ => (None, None),
        };
        let goal = approaches.as_ref().map(|of| of.goal.clone()).or(goal);
        let goal = goal.map(|goal| sentence(&goal.to_string()));
        let verdicts = approaches.iter().flat_map(|of| &of.of);
        let verdicts = verdicts.map(|of| Verdict { course: of.course.name(), sentence: of.sentence() }).collect();
        Some(Glance { name: self.name.clone(), facts, goal, verdicts })
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
}

/// A text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    format!("{}{}.", first.into_iter().flatten().collect::<String>(), letters.as_str())
}

/// The run folder that an evaluation lies in, which says how its model was trained; `whole` is the evaluation's full path.
fn run_around<'a>(folder: &Path, whole: &'a Path) -> Option<&'a Path> {
    let is_evaluation = folder.join(EVALUATION_FILE).exists() && !folder.join(CONFIG_FILE).exists();
    // A configuration alone may be anybody's.
    let is_run = |around: &&Path| around.join(CONFIG_FILE).exists() && around.join(EVENTS_FILE).exists();
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

/// A run's results, checked by their sum, which runs of earlier versions have not.
fn results(folder: &Path) -> Result<Option<RunResults>, EvalError> {
    const SUM: &str = "results.json.blake3";
    let path = folder.join(RESULTS_FILE);
    let has_sum = folder.join(SUM).exists() || is_written(folder, SUM);
    let bytes = if has_sum { read_checked(&path)? } else { read_file(&path)? };
    let value = bytes.map(|bytes| RunResults::parse(&bytes)).transpose();
    value.map_err(|error| EvalError::broken(&path, error.to_string()))
}
