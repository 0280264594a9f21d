//! What a run's folder tells of it now.

use std::path::Path;

use mpo_data::Language;
use mpo_eval::{LanguageGap, RunLog, TrainResults};
use mpo_trainer::{BEFORE_FILE, CONFIG_FILE, EVENTS_FILE, RESULTS_FILE, TrainOptions, read_checked};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// What is read.
pub(super) const FILES: [&str; 4] = [CONFIG_FILE, BEFORE_FILE, EVENTS_FILE, RESULTS_FILE];

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is trained yet: rows are read, or the reference is asked.
    Preparing,
    Training,
    /// The last step was taken; the model is saved and measured.
    Measuring,
    Finished,
}

/// A run as it is now.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) name: String,
    /// Its method and the model that it began with.
    pub(super) of: Vec<String>,
    pub(super) log: RunLog,
    /// Gaps before training.
    pub(super) before: Vec<LanguageGap>,
    /// Gaps after it.
    pub(super) after: Option<Vec<LanguageGap>>,
    /// The language that the others are drawn to.
    pub(super) dominant: Option<Language>,
    pub(super) has_results: bool,
}

impl Seen {
    /// Reads what is there; what is not there yet is missing.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let whole = folder.canonicalize().map_err(Failure::io(folder))?;
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let settings = TrainOptions::from_file(&folder.join(CONFIG_FILE)).unwrap_or_default();
        let method = settings.method.map(|method| method.definition().name.to_owned());
        let of = method.into_iter().chain(settings.model).collect();
        let log = RunLog::read(&folder.join(EVENTS_FILE))?;
        let results: Option<TrainResults> = value(&folder.join(RESULTS_FILE));
        let started = log.started.as_ref().and_then(|event| event.dominant);
        let dominant = started.or(results.as_ref().and_then(|results| results.dominant));
        let after = results.map(|results| results.reward_gap.after);
        let has_results = folder.join(RESULTS_FILE).exists();
        let before = value(&folder.join(BEFORE_FILE)).unwrap_or_default();
        Ok(Self { name, of, log, before, after, dominant, has_results })
    }

    pub(super) fn stage(&self) -> Stage {
        match () {
            () if self.has_results => Stage::Finished,
            () if self.log.is_finished => Stage::Measuring,
            () if self.log.started.is_some() => Stage::Training,
            () => Stage::Preparing,
        }
    }

    /// What the others are to come up to: the dominant language's gap before training.
    pub(super) fn goal(&self) -> Option<f64> {
        let dominant = self.before.iter().find(|gap| Some(gap.language) == self.dominant)?;
        Some(dominant.mean).filter(|goal| *goal > 0.0)
    }

    /// A metric by step.
    pub(super) fn curve(&self, key: &str) -> Vec<(f64, f64)> {
        let points = self.log.steps.iter();
        points.filter_map(|event| Some((event.step as f64, *event.metrics.get(key)?))).collect()
    }

    /// A metric of the last step that has it.
    pub(super) fn last(&self, key: &str) -> Option<f64> {
        self.log.steps.iter().rev().find_map(|event| event.metrics.get(key).copied())
    }
}

/// A value that a run wrote; none where it is not there, or is not as it was written.
fn value<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read_checked(path).ok()??).ok()
}
