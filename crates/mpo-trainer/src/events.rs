//! What happens in a run, as whoever listens is told: the terminal, `events.jsonl`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use mpo_data::{AnswerLanguage, Language};
use mpo_models::{checked_line, unchecked_line};
use mpo_objectives::Settings;
use mpo_progress::{Counted, Progress};
use serde::{Deserialize, Serialize};

use crate::consistency::{CONSISTENCY, EVAL_CONSISTENCY};
use crate::error::TrainError;
use crate::folder::{RunFolder, read_file};
use crate::held_out::SampledAnswer;
use crate::mlflow::MlflowRun;
use crate::settings::{LogTo, Measure};
use crate::tensorboard::EventFile;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The loop begins, or goes on after `step`.
    Started(StartedEvent),
    /// A step was taken.
    Step(StepEvent),
    /// Held-out rows were measured.
    Measured(MeasuredEvent),
    /// The run ends with the weights of an earlier step, which was the best.
    Best {
        /// Steps taken.
        step: u64,
        /// The step whose weights they are.
        best: u64,
        /// What it was the best by.
        #[serde(default, skip_serializing_if = "Measure::is_loss")]
        measure: Measure,
    },
    /// The run can be resumed from here.
    Checkpoint {
        /// Steps taken.
        step: u64,
    },
    /// The last step was taken.
    Finished {
        /// Steps taken.
        step: u64,
        /// Seconds since this process started the loop.
        seconds: f64,
    },
}

impl Event {
    /// The step of a step or a measurement, and its numbers by name. Other events have none that a curve is drawn of.
    pub(crate) fn numbers(&self) -> (u64, Vec<(&str, f64)>) {
        fn named(metrics: &BTreeMap<String, f64>) -> impl Iterator<Item = (&str, f64)> {
            metrics.iter().map(|(name, value)| (&**name, *value))
        }
        match self {
            Self::Step(event) => {
                let pace = [("epoch", event.epoch), ("tokens_per_second", event.tokens_per_second)];
                (event.step, pace.into_iter().chain(named(&event.metrics)).collect())
            }
            Self::Measured(event) => (event.step, named(&event.metrics).collect()),
            Self::Started(_) | Self::Best { .. } | Self::Checkpoint { .. } | Self::Finished { .. } => (0, vec![]),
        }
    }
}

/// What a process sets out to do, with what and where. Logs of earlier versions have no more than the numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StartedEvent {
    /// Steps already taken.
    pub step: u64,
    /// Steps in all.
    pub total_steps: u64,
    /// Rows trained on.
    pub rows: usize,
    /// The program's name and version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub written_by: String,
    /// The device that computes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// The dominant language of rows in two languages, which the others are to come up to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dominant: Option<Language>,
    /// Digests of what was read, by what it is: the BLAKE3 of the model's weights, and what identifies the rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
}

/// An event as a line of the log has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedEvent {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// When, in seconds since 1970 (UTC), to the millisecond; logs of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<f64>,
}

impl LoggedEvent {
    /// What happens now.
    fn now(event: &Event) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { event: event.clone(), wall_time: Some(since.as_millis() as f64 / 1000.0) }
    }

    fn text(&self) -> io::Result<String> {
        Ok(checked_line(&serde_json::to_string(self)?))
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let object = unchecked_line(str::from_utf8(line).ok()?)?;
        serde_json::from_str(&object).ok()
    }
}

/// A step's numbers. Keys of `metrics` are those people know from TRL (`loss`, `grad_norm`, `learning_rate`,
/// `rewards/*`, `logps/*`) and ours (`rg/target`, `rg/dominant`, `loss/gap`, `loss/retain`), each a mean over the
/// batch, and again for each language as `key/sw`.
///
/// `rewards/*` are β times the mean log-prob per token, MPO's implicit reward (no reference term).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEvent {
    /// Steps taken, this one included.
    pub step: u64,
    /// Passes over the data so far, a fraction.
    pub epoch: f64,
    /// Tokens per second through the policy in this step.
    pub tokens_per_second: f64,
    /// Seconds left by the pace of the last steps; none after the first, which compiles kernels and touches new memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// The numbers by name.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
}

/// What held-out rows come to. Keys of `metrics` are `eval_loss` (what is minimized), `eval_rg` (the reward gap, nats per
/// token), `eval_chosen` and `eval_rejected` (mean log p per token), each a mean over rows, and of sampled answers to unsafe
/// prompts `eval_refused/unsafe` (the share that refuses), `eval_undecided/unsafe` (the share whose language cannot be told) and
/// `eval_kept/unsafe` (of the others, the share in the language of the prompt), and the same of `benign`; and again for each
/// language as `key/sw`. A number that is not finite is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredEvent {
    /// Steps taken.
    pub step: u64,
    /// Whether the rows are some of those trained on, and not held out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trained_on: bool,
    /// The numbers by name.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
    /// Answers to a few prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SampledAnswer>,
    /// What goes wrong, in words: what was not so at the measurement before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl MeasuredEvent {
    /// One of its numbers; none where it is not finite, or the rows have none.
    pub(crate) fn value(&self, measure: Measure) -> Option<f64> {
        self.metrics.get(&measure.to_string()).copied()
    }
}

/// The loss, the gap of every language, and what sampled answers are, in a line.
impl Display for MeasuredEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.trained_on { "rows trained on" } else { "held out" };
        let loss = self.value(Measure::Loss).map(|loss| format!("loss {loss:.3}"));
        let gaps: Vec<String> = self
            .metrics
            .iter()
            .filter_map(|(key, gap)| Some(format!("{} {gap:.2}", key.strip_prefix("eval_rg/")?)))
            .collect();
        let gaps = (!gaps.is_empty()).then(|| format!("gap {}", gaps.join(", ")));
        let consistency = self.metrics.get(EVAL_CONSISTENCY).map(|shared| format!("{CONSISTENCY} {shared:.3}"));
        let answers = [("unsafe", true), ("benign", false)].into_iter().filter_map(|(kind, is_unsafe)| {
            let of: Vec<&SampledAnswer> = self.samples.iter().filter(|of| of.is_unsafe == is_unsafe).collect();
            let count = |is: fn(&SampledAnswer) -> bool| of.iter().filter(|answer| is(answer)).count();
            // Numbers of answers: a share of those whose language can be told hides how few they are.
            let (all, refused) = (of.len(), count(|answer| answer.refused));
            let kept = count(|answer| answer.answer_language == AnswerLanguage::Kept);
            let undecided = count(|answer| answer.answer_language == AnswerLanguage::Undecided);
            let text = format!("{kind}: {refused} of {all} refused, {kept} in their language, {undecided} undecided");
            (all > 0).then_some(text)
        });
        let parts: Vec<String> = loss.into_iter().chain(gaps).chain(consistency).chain(answers).collect();
        write!(f, "{rows}: {}", parts.join("  "))
    }
}

/// The numbers that whoever waits wants to see, in a line.
impl Display for StepEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, name) in
            [("loss", "loss"), ("rg/target", "gap"), ("rg/dominant", "dominant"), (CONSISTENCY, CONSISTENCY)]
        {
            if let Some(value) = self.metrics.get(key) {
                write!(f, "{name} {value:.3}  ")?;
            }
        }
        write!(f, "{:.0} tokens/s", self.tokens_per_second)
    }
}

/// A row's identity in the log and its numbers.
#[derive(Debug, Clone)]
pub struct RowValues {
    /// The language it counts for.
    pub language: Option<Language>,
    /// Where it came from.
    pub origin: String,
    /// Its numbers by name.
    pub values: Vec<(&'static str, f64)>,
}

impl RowValues {
    /// A row without numbers yet.
    pub fn new(language: Option<Language>, origin: String) -> Self {
        Self { language, origin, values: vec![] }
    }
}

/// Means over rows, over all and for each language.
pub(crate) fn means(rows: &[RowValues]) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    let mut add = |key: String, value: f64| {
        let (sum, count) = sums.entry(key).or_default();
        *sum += value;
        *count += 1;
    };
    for row in rows {
        for &(name, value) in &row.values {
            add(name.to_owned(), value);
            if let Some(language) = row.language {
                add(format!("{name}/{language}"), value);
            }
        }
    }
    sums.into_iter().map(|(key, (sum, count))| (key, sum / count as f64)).collect()
}

/// What another program shows.
#[derive(Debug)]
enum Board {
    Tensorboard(EventFile),
    Mlflow(Box<MlflowRun>),
}

impl Board {
    /// Makes it of what has happened so far.
    fn open(to: LogTo, run: &RunFolder, so_far: &[LoggedEvent]) -> Result<Self, TrainError> {
        match to {
            LogTo::Tensorboard => EventFile::open(run, so_far).map(Self::Tensorboard),
            LogTo::Mlflow => Ok(Self::Mlflow(Box::new(MlflowRun::open(run, so_far)?))),
        }
    }
}

/// `events.jsonl`: one event a line, each with its checksum. What others read beside it is made of it.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    board: Option<Board>,
    /// What was measured up to the step that the run goes on after.
    measured: Vec<MeasuredEvent>,
}

impl EventLog {
    /// Opens the log of a run that goes on after `step` steps. Events after it, left by a run that was killed, are dropped;
    /// lines that were damaged on the disk go into a file beside it, and `progress` is told. What happened and what will is
    /// written where `log_to` says too.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn open(
        run: &RunFolder,
        step: u64,
        log_to: Option<LogTo>,
        progress: &dyn Progress,
    ) -> Result<Self, TrainError> {
        let path = run.events_file();
        let io = |error| TrainError::io(&path, error);
        let bytes = read_file(&path)?.unwrap_or_default();
        let (mut kept, mut damaged) = (vec![], vec![]);
        let (mut is_told, mut measured) = (step == 0, vec![]);
        // Steps without a line.
        let mut missing: BTreeSet<u64> = (1..=step).collect();
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let Some(logged) = LoggedEvent::parse(line) else {
                // A line cut short by a kill is the last one, and is of a step that will be taken again.
                let is_cut = lines.peek().is_none() && line.last() != Some(&b'\n');
                if !is_cut && !line.trim_ascii().is_empty() {
                    damaged.extend_from_slice(line);
                }
                continue;
            };
            let of = match &logged.event {
                Event::Started(event) => event.step,
                Event::Step(event) => event.step,
                Event::Measured(event) => event.step,
                Event::Checkpoint { step } => *step,
                Event::Best { step, .. } | Event::Finished { step, .. } => *step + 1,
            };
            if of <= step {
                is_told |= logged.event == Event::Checkpoint { step };
                match &logged.event {
                    Event::Measured(event) => measured.push(event.clone()),
                    Event::Step(event) => _ = missing.remove(&event.step),
                    _ => {}
                }
                kept.push(logged);
            }
        }
        if !is_told {
            // Killed between the checkpoint and its line. A pause since then is no part of the run.
            let wall_time = kept.last().and_then(|last| last.wall_time);
            kept.push(LoggedEvent { event: Event::Checkpoint { step }, wall_time });
        }
        if !damaged.is_empty() {
            let aside = run.damaged_events_file();
            run.claim(&aside)?;
            let count = damaged.split(|&byte| byte == b'\n').count() - 1;
            progress.note(&format_args!(
                "{}: {count} lines are not as they were written, and were moved to {}",
                path.display(),
                aside.display()
            ));
            let append = || {
                let mut file = OpenOptions::new().append(true).create(true).open(&aside)?;
                file.write_all(&damaged)?;
                file.sync_data()
            };
            append().map_err(|error| TrainError::io(&aside, error))?;
        }
        if let Some(first) = missing.first() {
            progress.note(&format_args!(
                "{}: the lines of {} are gone, the first is that of step {first}; the run goes on without them",
                path.display(),
                Counted(missing.len() as u64, "step")
            ));
        }
        let text = kept.iter().map(LoggedEvent::text).collect::<io::Result<String>>().map_err(io)?;
        run.write(&path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path).map_err(io)?;
        let board = log_to.map(|to| Board::open(to, run, &kept)).transpose()?;
        Ok(Self { path, file, board, measured })
    }

    /// Writes the settings that decide what the run comes to, where somebody shows them.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn describe(&self, settings: &Settings) -> Result<(), TrainError> {
        match &self.board {
            Some(Board::Mlflow(mlflow)) => mlflow.describe(settings),
            Some(Board::Tensorboard(_)) | None => Ok(()),
        }
    }

    /// What was measured up to the step that the run goes on after.
    pub(crate) fn measured(&self) -> &[MeasuredEvent] {
        &self.measured
    }

    /// Writes one event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, event: &Event) -> Result<(), TrainError> {
        let logged = LoggedEvent::now(event);
        logged
            .text()
            .and_then(|line| self.file.write_all(line.as_bytes()))
            .map_err(|error| TrainError::io(&self.path, error))?;
        match &mut self.board {
            Some(Board::Tensorboard(file)) => file.write(&logged),
            Some(Board::Mlflow(mlflow)) => mlflow.write(&logged),
            None => Ok(()),
        }
    }

    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub fn sync(&mut self) -> Result<(), TrainError> {
        self.file.sync_data().map_err(|error| TrainError::io(&self.path, error))?;
        match &mut self.board {
            Some(Board::Tensorboard(file)) => file.sync(),
            // It has many files, and is made anew at the next start.
            Some(Board::Mlflow(_)) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use mpo_progress::Recorder;

    use super::*;
    use crate::folder::{Identity, Kind};

    #[test]
    fn a_step_in_a_line() {
        let event = StepEvent {
            step: 1,
            epoch: 0.5,
            tokens_per_second: 1234.4,
            seconds_left: Some(90.0),
            metrics: BTreeMap::from([("loss".into(), 0.5), ("rg/target".into(), -0.25)]),
        };
        assert_eq!(event.to_string(), "loss 0.500  gap -0.250  1234 tokens/s");
    }

    #[test]
    fn held_out_rows_in_a_line() {
        let metrics =
            [("eval_loss", 0.5), ("eval_loss/sw", 1.0), ("eval_rg", 1.0), ("eval_rg/en", 2.0), ("eval_rg/sw", -0.5)];
        let metrics = metrics.map(|(key, value)| (key.to_owned(), value)).into();
        let gaps = MeasuredEvent { step: 4, trained_on: false, metrics, samples: vec![], warnings: vec![] };
        assert_eq!(gaps.to_string(), "held out: loss 0.500  gap en 2.00, sw -0.50");
        let answer = |is_unsafe, refused, answer_language| SampledAnswer {
            language: "sw".parse().unwrap(),
            is_unsafe,
            prompt: "?".into(),
            answer: String::new(),
            complete: true,
            refused,
            answer_language,
        };
        let answers = MeasuredEvent {
            trained_on: true,
            metrics: BTreeMap::new(),
            samples: vec![
                answer(true, true, AnswerLanguage::Kept),
                answer(true, true, AnswerLanguage::Other(None)),
                answer(true, false, AnswerLanguage::Undecided),
                answer(false, false, AnswerLanguage::Undecided),
            ],
            ..gaps.clone()
        };
        assert_eq!(
            answers.to_string(),
            "rows trained on: unsafe: 2 of 3 refused, 1 in their language, 1 undecided  \
             benign: 0 of 1 refused, 0 in their language, 1 undecided"
        );
        // What is held out is written as it was.
        let [held_out, trained_on] =
            [gaps, answers].map(|event| serde_json::to_value(event).unwrap()["trained_on"].clone());
        assert_eq!((held_out, trained_on), (serde_json::Value::Null, true.into()));
    }

    #[test]
    fn means_over_all_and_by_language() {
        let row = |language: &str, value| RowValues {
            values: vec![("loss", value)],
            ..RowValues::new(language.parse().ok(), String::new())
        };
        let means = means(&[row("sw", 1.0), row("sw", 2.0), row("bn", 6.0)]);
        assert_eq!(means["loss"], 3.0);
        assert_eq!(means["loss/sw"], 1.5);
        assert_eq!(means["loss/bn"], 6.0);
    }

    #[test]
    fn a_resumed_log_forgets_what_will_happen_again() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&dir.path().join("run"), Kind::Train, Identity::default());
        let run = run.unwrap();
        let path = run.events_file();
        let step = |step| {
            Event::Step(StepEvent {
                step,
                epoch: 0.5,
                tokens_per_second: 1.0,
                seconds_left: Some(2.0),
                metrics: BTreeMap::from([("loss".into(), 0.1)]),
            })
        };
        let open = |step| {
            let recorder = Recorder::default();
            let log = EventLog::open(&run, step, None, &recorder).unwrap();
            (log, recorder.texts())
        };
        let events = || -> Vec<Event> {
            let kept = std::fs::read(&path).unwrap();
            let lines = kept.split_inclusive(|&byte| byte == b'\n');
            lines.map(|line| LoggedEvent::parse(line).unwrap().event).collect()
        };
        let (mut log, _) = open(0);
        for n in 1..=3 {
            log.write(&step(n)).unwrap();
        }
        log.file.write_all(b"{\"event\":\"st").unwrap();
        assert!(log.measured().is_empty());
        drop(log);
        // All of it was written a while ago.
        let bytes = std::fs::read(&path).unwrap();
        let lines = bytes.split_inclusive(|&byte| byte == b'\n').zip(1000..);
        let long_ago = lines.map(|(line, second)| match LoggedEvent::parse(line) {
            Some(logged) => LoggedEvent { wall_time: Some(f64::from(second)), ..logged }.text().unwrap(),
            None => String::from_utf8(line.to_vec()).unwrap(),
        });
        std::fs::write(&path, long_ago.collect::<String>()).unwrap();
        // The line of the checkpoint was lost, and is there again once, at the time of what was told last.
        let checkpoint = Event::Checkpoint { step: 2 };
        for _ in 0..2 {
            let (_, notes) = open(2);
            assert!(notes.is_empty(), "{notes:?}");
            assert_eq!(events(), [step(1), step(2), checkpoint.clone()]);
            let kept = std::fs::read(&path).unwrap();
            let last = kept.split_inclusive(|&byte| byte == b'\n').next_back().unwrap();
            assert_eq!(LoggedEvent::parse(last).unwrap().wall_time, Some(1001.0));
        }
        // A damaged line takes nothing else with it.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        let line = bytes.split_inclusive(|&byte| byte == b'\n').next().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let (_, notes) = open(2);
        assert!(notes[0].contains(": 1 lines are not"), "{notes:?}");
        assert!(notes[1].contains("of 1 step are gone, the first is that of step 1;"));
        assert_eq!(events(), [step(2), checkpoint]);
        let aside = std::fs::read(run.damaged_events_file()).unwrap();
        assert_eq!(aside, line);
        // So does one that was cut off, as a whole or not.
        let bytes = std::fs::read(&path).unwrap();
        for length in [bytes.len() / 2, 0] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let (_, notes) = open(2);
            assert_eq!(notes.len(), 1, "{notes:?}");
            assert!(notes[0].contains("of 2 steps are gone"), "{notes:?}");
        }
    }
}
