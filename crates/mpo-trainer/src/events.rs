//! What happens in a run, as whoever listens is told: the terminal, `events.jsonl`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use mpo_data::Language;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::run_folder::write_atomically;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The loop begins, or goes on after `step`.
    Started {
        /// Steps already taken.
        step: u64,
        /// Steps in all.
        total_steps: u64,
        /// Rows trained on.
        rows: usize,
    },
    /// A step was taken.
    Step(StepEvent),
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

/// A step's numbers. Keys of `metrics` are those people know from TRL (`loss`, `grad_norm`, `learning_rate`,
/// `rewards/*`, `logps/*`) and ours (`rg/target`, `rg/dominant`, `loss/gap`, `loss/retain`), each a mean over the
/// batch, and again for each language as `key/sw`.
///
/// `rewards/*` are β times the mean log-prob a token, MPO's implicit reward (no reference term).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEvent {
    /// Steps taken, this one included.
    pub step: u64,
    /// Passes over the data so far, a fraction.
    pub epoch: f64,
    /// Tokens a second through the policy in this step.
    pub tokens_per_second: f64,
    /// Seconds left at the average pace.
    pub seconds_left: f64,
    /// The numbers by name.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
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
        Self {
            language,
            origin,
            values: vec![],
        }
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
    sums.into_iter()
        .map(|(key, (sum, count))| (key, sum / count as f64))
        .collect()
}

/// `events.jsonl`: one event a line.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
}

impl EventLog {
    /// Opens the log of a run that has taken `step` steps: events after it, left by a run that was killed, are dropped.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path, step: u64) -> Result<Self, TrainError> {
        let mut kept = Vec::new();
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    let line = line.map_err(|error| TrainError::io(path, error))?;
                    // A line cut short by a crash is the last one, and is of a step that will be taken again.
                    let Ok(event) = serde_json::from_slice::<Event>(&line) else {
                        break;
                    };
                    let of = match &event {
                        Event::Step(event) => event.step,
                        Event::Started { step, .. } | Event::Checkpoint { step } => *step,
                        Event::Finished { step, .. } => *step + 1,
                    };
                    if of > step {
                        break;
                    }
                    kept.extend(line);
                    kept.push(b'\n');
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(TrainError::io(path, error)),
        }
        write_atomically(path, &kept)?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|error| TrainError::io(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes one event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, event: &Event) -> Result<(), TrainError> {
        let mut line =
            serde_json::to_vec(event).map_err(|error| TrainError::io(&self.path, error.into()))?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|error| TrainError::io(&self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let path = dir.path().join("events.jsonl");
        let step = |step| {
            Event::Step(StepEvent {
                step,
                epoch: 0.5,
                tokens_per_second: 1.0,
                seconds_left: 2.0,
                metrics: BTreeMap::from([("loss".into(), 0.1)]),
            })
        };
        let mut log = EventLog::open(&path, 0).unwrap();
        for n in 1..=3 {
            log.write(&step(n)).unwrap();
        }
        log.file.write_all(b"{\"event\":\"st").unwrap();
        drop(log);
        EventLog::open(&path, 2).unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        let events: Vec<Event> = kept
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(events, [step(1), step(2)]);
    }
}
