//! A run is a folder, and one process at a time is in it.
//!
//! A marker says which run it is of; `config.yaml` as resolved, `events.jsonl`, `reference/`, `checkpoints/step-N/` and
//! `model/` lie beside it. A folder without our marker is somebody's, and is left as it is.

mod enter;
mod event_files;
mod extend;
mod files;
mod found;
mod marker;
mod mlflow;
mod model;
mod names;
mod reference;
mod remove;
mod values;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use mpo_objectives::Settings;

use crate::error::TrainError;
pub use files::{check_page, read_checked, read_file, write_atomically};
pub(crate) use files::{remove_empty, remove_file, remove_files, set_aside};
pub use found::{check_ours, check_writable, is_marked};
use marker::Marker;
pub use marker::{Identity, Kind};
pub(crate) use marker::{MARKER, WRITTEN_BY, is_off};
pub use names::{BEFORE_FILE, CHECKPOINTS, CONFIG_FILE, EVENTS_FILE, REPORT_FILE, RESULTS_FILE};
pub use reference::share;
pub use write::{is_edited, is_written};

const LOCK: &str = ".lock";

/// A folder of ours that this process holds.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    marker: RefCell<Marker>,
    /// Folders that this process made to have this one, the innermost first.
    made: Vec<PathBuf>,
    /// Whether it goes when it is let go and nothing of value is in it.
    fleeting: Cell<bool>,
    /// What a start writes before there is anything of value.
    of_start: RefCell<Vec<PathBuf>>,
    /// Held until the folder is let go; the system releases it however the process ends.
    _lock: File,
}

impl RunFolder {
    /// What the folder is of.
    pub fn kind(&self) -> Kind {
        self.marker.borrow().kind
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a run with these settings is the one that was started here: found before anything is read.
    ///
    /// # Errors
    /// If it is another.
    pub fn check_settings(&self, settings: &Settings) -> Result<(), TrainError> {
        self.unchanged(self.changed_settings(settings))
    }

    /// The settings that are others than those of the run, in words.
    pub(crate) fn changed_settings(&self, settings: &Settings) -> Option<String> {
        self.marker.borrow().identity.changed_settings(settings)
    }

    /// Whether a run of this identity is the one that was started here.
    ///
    /// # Errors
    /// If it is another.
    pub fn check(&self, identity: &Identity) -> Result<(), TrainError> {
        self.unchanged(self.marker.borrow().identity.changed(identity))
    }

    fn unchanged(&self, changed: Option<String>) -> Result<(), TrainError> {
        match changed {
            None => Ok(()),
            Some(what) => Err(TrainError::Changed { path: self.path.clone(), what }),
        }
    }

    /// Says what the run is of, once that is known.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn identify(&self, identity: Identity) -> Result<(), TrainError> {
        let mut marker = self.marker.borrow_mut();
        marker.identity = identity;
        marker.replace(&self.path)
    }

    /// Digests of what the run reads, by what it is.
    pub(crate) fn inputs(&self) -> BTreeMap<String, String> {
        self.marker.borrow().identity.inputs.clone()
    }

    /// Leaves the folder where it is, whatever happens: there is something to go on from.
    pub fn keep(&self) {
        self.fleeting.set(false);
    }
}
