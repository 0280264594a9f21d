//! MLflow's store in a run's folder: one experiment, with one run in it, whose name is drawn once and stands in the marker. What
//! somebody adds there, as MLflow's page does with notes, stays.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;

use super::RunFolder;
use super::files::{remove_empty, remove_file, remove_files};
use crate::error::TrainError;

/// The store, as MLflow calls it.
const STORE: &str = "mlruns";
/// The experiment that every store has.
const EXPERIMENT: &str = "0";
const META: &str = "meta.yaml";
/// What is written of a run under a name each: all of these are ours.
const OURS: [&str; 2] = ["metrics", "params"];
/// Where MLflow puts files; we have none for it.
const ARTIFACTS: &str = "artifacts";
/// The tags that are written; others are somebody's.
const TAGS: [&str; 6] =
    ["mlflow.runName", "mlflow.source.name", "mlflow.source.type", "written_by", "device", "dominant"];

impl RunFolder {
    /// The folder for the run in a store. What an earlier start wrote there of its numbers and settings is gone.
    ///
    /// # Errors
    /// If a link is in the place of a folder, or one cannot be written.
    pub(crate) fn begin_mlflow_run(&self) -> Result<PathBuf, TrainError> {
        let experiment = self.experiment();
        let drawn = || experiment.join(format!("{:016x}{:016x}", random(), random()));
        let run = self.mlflow_runs().pop().unwrap_or_else(drawn);
        for dir in [&self.path.join(STORE), &experiment, &run] {
            if dir.is_symlink() {
                return Err(TrainError::Link { path: dir.clone() });
            }
        }
        self.claim(&experiment.join(META))?;
        self.claim(&run.join(META))?;
        OURS.iter().try_for_each(|name| remove_files(&run.join(name), |_| true))?;
        // A run that lacks one of them is none to MLflow.
        for name in OURS.iter().chain([&ARTIFACTS]) {
            let dir = run.join(name);
            fs::create_dir_all(&dir).map_err(|error| TrainError::io(&dir, error))?;
        }
        Ok(run)
    }

    /// Removes what was written of the run, and its folders where nothing else is in them.
    pub(super) fn remove_mlflow_runs(&self) -> Result<(), TrainError> {
        let (runs, experiment) = (self.mlflow_runs(), self.experiment());
        if runs.is_empty() || experiment.is_symlink() {
            return Ok(());
        }
        for run in runs.iter().filter(|run| !run.is_symlink()) {
            OURS.iter().try_for_each(|name| remove_files(&run.join(name), |_| true))?;
            remove_files(&run.join("tags"), |name| TAGS.contains(&name))?;
            remove_empty(&run.join(ARTIFACTS));
            remove_files(run, |name| name == META)?;
        }
        remove_file(&experiment.join(META))?;
        remove_empty(&experiment);
        remove_empty(&self.path.join(STORE));
        Ok(())
    }

    /// Those that were written here.
    fn mlflow_runs(&self) -> Vec<PathBuf> {
        let marker = self.marker.borrow();
        let names = marker.written.iter().flat_map(|written| written.keys());
        let run = |name: &String| {
            let (folder, file) = name.rsplit_once('/')?;
            let id = folder.strip_prefix(STORE)?.strip_prefix('/')?.strip_prefix(EXPERIMENT)?.strip_prefix('/')?;
            (file == META).then(|| self.experiment().join(id))
        };
        names.filter_map(run).collect()
    }

    fn experiment(&self) -> PathBuf {
        self.path.join(STORE).join(EXPERIMENT)
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, Kind};
    use super::*;

    #[test]
    fn a_run_has_one_name_and_what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let anew = || RunFolder::begin_anew(&path, Kind::Miniature, Identity::default()).unwrap();
        let held = anew();
        held.keep();
        let run = held.begin_mlflow_run().unwrap();
        for file in ["meta.yaml", "metrics/loss", "params/lr", "tags/device", "tags/mlflow.note.content"] {
            let file = run.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        fs::write(run.parent().unwrap().join(META), "x").unwrap();
        drop(held);
        let held = RunFolder::open(&path, Kind::Miniature).unwrap();
        assert_eq!(held.begin_mlflow_run().unwrap(), run);
        assert!(!run.join("metrics/loss").exists() && run.join("tags/mlflow.note.content").exists());
        assert!(["metrics", "params", "artifacts"].iter().all(|name| run.join(name).is_dir()));
        assert_eq!(run.file_name().unwrap().len(), 32);
        drop(held);
        let held = anew();
        assert!(!run.join(META).exists() && !run.join("tags/device").exists());
        assert!(run.join("tags/mlflow.note.content").exists());
        assert_ne!(held.begin_mlflow_run().unwrap(), run);
    }
}
