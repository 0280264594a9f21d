//! The numbers of a run for MLflow: a store of files in the run's folder (`mlruns/`), which is made of `events.jsonl`.
//!
//! A number has the name that it has in `events.jsonl`, with dots for slashes: each is a file, and of `loss` and `loss/gap` one would
//! have to be a file and a folder. What the model answers is no number and is left out.

mod meta;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use mpo_objectives::Settings;
use serde::Serialize;
use serde_json::Value;

use crate::error::TrainError;
use crate::events::{Event, LoggedEvent, StartedEvent};
use crate::folder::RunFolder;
use meta::{ExperimentMeta, RunMeta};

/// Where MLflow keeps what it knows of an experiment and of a run.
const META: &str = "meta.yaml";

/// A run in a store.
#[derive(Debug)]
pub(crate) struct MlflowRun {
    dir: PathBuf,
    meta: RunMeta,
}

impl MlflowRun {
    /// Begins the store in a run's folder anew, with what has happened so far: so nothing is told twice.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn open(run: &RunFolder, so_far: &[LoggedEvent]) -> Result<Self, TrainError> {
        let dir = run.begin_mlflow_run()?;
        let experiment = dir.parent().unwrap_or(&dir);
        let began = so_far.first().and_then(|first| first.wall_time).map_or(0, milliseconds);
        write_meta(experiment, &ExperimentMeta::new(experiment))?;
        let name = fs::canonicalize(run.path()).unwrap_or_else(|_| run.path().to_owned());
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut opened = Self { meta: RunMeta::new(&dir, name, began), dir };
        write_meta(&opened.dir, &opened.meta)?;
        opened.tag("mlflow.runName", &opened.meta.run_name)?;
        opened.tag("mlflow.source.name", "mpo-train")?;
        opened.tag("mlflow.source.type", "LOCAL")?;
        // A file for each number, written once.
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for logged in so_far {
            for (name, line) in lines(logged) {
                files.entry(name).or_default().push_str(&line);
            }
            opened.note(logged)?;
        }
        files.iter().try_for_each(|(name, lines)| opened.append("metrics", name, lines))?;
        Ok(opened)
    }

    /// Writes the settings that decide what the run comes to.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn describe(&self, settings: &Settings) -> Result<(), TrainError> {
        settings.iter().try_for_each(|(key, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            self.put("params", key, &text)
        })
    }

    /// Writes what has happened.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, logged: &LoggedEvent) -> Result<(), TrainError> {
        lines(logged).iter().try_for_each(|(name, line)| self.append("metrics", name, line))?;
        self.note(logged)
    }

    /// Takes in that the run begins, goes on or ends.
    fn note(&mut self, LoggedEvent { event, wall_time }: &LoggedEvent) -> Result<(), TrainError> {
        let now = wall_time.map(milliseconds);
        match event {
            Event::Started(StartedEvent { written_by, device, dominant, .. }) => {
                if self.meta.start_time == 0 {
                    self.meta.start_time = now.unwrap_or(0);
                }
                self.meta.goes_on();
                let dominant = dominant.map(|language| language.to_string()).unwrap_or_default();
                let tags = [("written_by", written_by), ("device", device), ("dominant", &dominant)];
                tags.into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .try_for_each(|(name, value)| self.tag(name, value))?;
            }
            Event::Finished { .. } => self.meta.ends(now),
            Event::Step(_) | Event::Measured(_) | Event::Best { .. } | Event::Checkpoint { .. } => return Ok(()),
        }
        write_meta(&self.dir, &self.meta)
    }

    fn tag(&self, name: &str, value: &str) -> Result<(), TrainError> {
        self.put("tags", name, value)
    }

    /// Writes a file that holds one value.
    fn put(&self, folder: &str, name: &str, value: &str) -> Result<(), TrainError> {
        let path = self.file(folder, name)?;
        fs::write(&path, value).map_err(|error| TrainError::io(&path, error))
    }

    fn append(&self, folder: &str, name: &str, lines: &str) -> Result<(), TrainError> {
        let path = self.file(folder, name)?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(lines.as_bytes())).map_err(|error| TrainError::io(&path, error))
    }

    /// A file's path, whose folder is there.
    fn file(&self, folder: &str, name: &str) -> Result<PathBuf, TrainError> {
        let folder = self.dir.join(folder);
        fs::create_dir_all(&folder).map_err(|error| TrainError::io(&folder, error))?;
        Ok(folder.join(name))
    }
}

/// The line of each number of an event, under the name of its file.
fn lines(LoggedEvent { event, wall_time }: &LoggedEvent) -> Vec<(String, String)> {
    let (time, (step, numbers)) = (wall_time.map_or(0, milliseconds), event.numbers());
    let line = |(name, value): (&str, f64)| (name.replace('/', "."), format!("{time} {value} {step}\n"));
    numbers.into_iter().map(line).collect()
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// Writes what MLflow reads as YAML, of which JSON is a part.
fn write_meta(folder: &Path, meta: &impl Serialize) -> Result<(), TrainError> {
    let path = folder.join(META);
    let text = serde_json::to_string_pretty(meta).map_err(|error| TrainError::io(&path, error.into()))?;
    crate::folder::write_atomically(&path, text.as_bytes())
}

#[cfg(test)]
mod tests;
