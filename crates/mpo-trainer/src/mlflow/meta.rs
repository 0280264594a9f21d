//! What MLflow's file store says of an experiment and of a run in `meta.yaml`. Names and numbers are MLflow's.

use std::path::{self, Path};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The experiment that every store has.
#[derive(Debug, Serialize)]
pub(super) struct ExperimentMeta {
    artifact_location: String,
    creation_time: u64,
    experiment_id: String,
    last_update_time: u64,
    lifecycle_stage: &'static str,
    name: &'static str,
}

impl ExperimentMeta {
    pub(super) fn new(dir: &Path) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        Self {
            artifact_location: place(dir),
            creation_time: now,
            experiment_id: name(dir),
            last_update_time: now,
            lifecycle_stage: "active",
            name: "Default",
        }
    }
}

/// A run; times are milliseconds since 1970.
#[derive(Debug, Serialize)]
pub(super) struct RunMeta {
    artifact_uri: String,
    end_time: Option<u64>,
    entry_point_name: &'static str,
    experiment_id: String,
    lifecycle_stage: &'static str,
    run_id: String,
    pub(super) run_name: String,
    run_uuid: String,
    source_name: &'static str,
    source_type: u8,
    source_version: &'static str,
    pub(super) start_time: u64,
    status: u8,
    tags: [(); 0],
    user_id: &'static str,
}

/// Its source is on this machine.
const LOCAL: u8 = 4;
const RUNNING: u8 = 1;
const FINISHED: u8 = 3;

impl RunMeta {
    pub(super) fn new(dir: &Path, run_name: String, began: u64) -> Self {
        let id = name(dir);
        Self {
            artifact_uri: place(&dir.join("artifacts")),
            end_time: None,
            entry_point_name: "",
            experiment_id: dir.parent().map(name).unwrap_or_default(),
            lifecycle_stage: "active",
            run_id: id.clone(),
            run_name,
            run_uuid: id,
            source_name: "",
            source_type: LOCAL,
            source_version: "",
            start_time: began,
            status: RUNNING,
            tags: [],
            user_id: "",
        }
    }

    pub(super) fn goes_on(&mut self) {
        (self.status, self.end_time) = (RUNNING, None);
    }

    pub(super) fn ends(&mut self, now: Option<u64>) {
        (self.status, self.end_time) = (FINISHED, now);
    }
}

/// The name of a folder.
fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A folder as it is found from everywhere.
fn place(dir: &Path) -> String {
    path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).to_string_lossy().into_owned()
}
