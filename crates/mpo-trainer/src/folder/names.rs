//! What files of a run are called, for those who write them and those who read them.

use std::path::PathBuf;

use super::RunFolder;

/// The settings, as resolved.
pub const CONFIG_FILE: &str = "config.yaml";
/// What happened, one event per line.
pub const EVENTS_FILE: &str = "events.jsonl";
/// What the model was before training.
pub const BEFORE_FILE: &str = "before.json";
/// What was found; written when the run is finished, and not before.
pub const RESULTS_FILE: &str = "results.json";
/// The page about the run.
pub const REPORT_FILE: &str = "report.html";
/// The folder of checkpoints, each called `step-` and its number.
pub const CHECKPOINTS: &str = "checkpoints";

impl RunFolder {
    /// The configuration as resolved.
    pub fn config_file(&self) -> PathBuf {
        self.path.join(CONFIG_FILE)
    }

    /// What happened, one event a line.
    pub fn events_file(&self) -> PathBuf {
        self.path.join(EVENTS_FILE)
    }

    /// Lines that were damaged on the disk.
    pub(crate) fn damaged_events_file(&self) -> PathBuf {
        self.path.join("events.damaged.jsonl")
    }

    /// The trained model, a folder in Hugging Face layout.
    pub fn model_dir(&self) -> PathBuf {
        self.path.join("model")
    }

    /// What the model was before training: a resumed run has lost none of it.
    pub fn before_file(&self) -> PathBuf {
        self.path.join(BEFORE_FILE)
    }

    /// What training changed; written last.
    pub fn results_file(&self) -> PathBuf {
        self.path.join(RESULTS_FILE)
    }

    /// The page that shows the run.
    pub fn report_file(&self) -> PathBuf {
        self.path.join(REPORT_FILE)
    }

    /// The reference's numbers.
    pub fn reference_dir(&self) -> PathBuf {
        self.path.join("reference")
    }

    pub(crate) fn checkpoints_dir(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }
}
