//! What a run's folder tells of it now.

use std::path::Path;

use mpo_data::Language;
use mpo_eval::{Goal, LanguageGap, RewardGaps, RunLog, TrainResults};
use mpo_objectives::GapSource;
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
    /// What was found at the end.
    pub(super) results: Option<TrainResults>,
    /// The language that the others are to come up to.
    pub(super) dominant: Option<Language>,
    /// What the method draws gaps towards, where that is not the dominant language's gap before training.
    pub(super) drawn_to: Option<GapSource>,
    /// Whether it came to its end, also with results of another kind.
    pub(super) has_results: bool,
}

impl Seen {
    /// Reads what is there; what is not there yet is missing.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let whole = folder.canonicalize().map_err(Failure::io(folder))?;
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let settings = TrainOptions::from_file(&folder.join(CONFIG_FILE)).unwrap_or_default();
        let method = settings.method.map(|method| method.definition().name.to_owned());
        let of = method.into_iter().chain(settings.model.clone()).collect();
        // One that another version wrote may have settings that are none any more.
        let drawn_to = settings.resolve().ok().and_then(|config| config.drawn_to());
        let log = RunLog::read(&folder.join(EVENTS_FILE))?;
        let results: Option<TrainResults> = value(&folder.join(RESULTS_FILE));
        let started = log.started.as_ref().and_then(|event| event.dominant);
        let dominant = started.or(results.as_ref().and_then(|results| results.dominant));
        let has_results = folder.join(RESULTS_FILE).exists();
        let before = value(&folder.join(BEFORE_FILE)).unwrap_or_default();
        Ok(Self { name, of, log, before, results, dominant, drawn_to, has_results })
    }

    pub(super) fn stage(&self) -> Stage {
        match () {
            () if self.has_results => Stage::Finished,
            () if self.log.is_finished => Stage::Measuring,
            () if self.log.started.is_some() => Stage::Training,
            () => Stage::Preparing,
        }
    }

    /// Gaps after training, where some were measured.
    pub(super) fn after(&self) -> Option<&[LanguageGap]> {
        let RewardGaps { after, .. } = &self.results.as_ref()?.reward_gap;
        Some(&after[..]).filter(|after| !after.is_empty())
    }

    /// What the others are to come up to, where that is above zero.
    pub(super) fn goal(&self) -> Option<Goal> {
        let goal = match &self.results {
            Some(results) => Goal::new(results),
            None => {
                let dominant = self.dominant?;
                Goal::meanwhile(dominant, self.drawn_to.as_ref(), &self.before, self.gap_now(dominant))
            }
        };
        goal.filter(|goal| goal.height > 0.0)
    }

    /// The dominant language's gap: held out if that is measured, else of the last batch.
    fn gap_now(&self, dominant: Language) -> Option<f64> {
        let key = format!("eval_rg/{dominant}");
        let held_out = self.log.measured.iter().rev().find_map(|event| event.metrics.get(&key).copied());
        held_out.or_else(|| self.last("rg/dominant"))
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
