//! What goes: an earlier run's files when it begins anew, and those of a start that failed.

use std::fs;
use std::path::PathBuf;

use super::files::{self, remove_empty, remove_file};
use super::marker::{Kind, MARKER};
use super::names::CONFIG_FILE;
use super::{LOCK, RunFolder};
use crate::error::TrainError;

impl RunFolder {
    /// Removes what a run writes, and no other file.
    pub(super) fn remove_run(&self) -> Result<(), TrainError> {
        crate::checkpoint::remove_all(self)?;
        crate::reference::remove(&self.reference_dir())?;
        self.remove_mlflow_runs()?;
        self.remove_model()?;
        // Killed half-way, the rest is removed the next time.
        for file in self.files() {
            remove_file(&file)?;
        }
        self.forget_missing();
        Ok(())
    }

    /// Takes the names of files that are gone off the marker's list, before it is written again.
    pub(super) fn forget_missing(&self) {
        if let Some(written) = &mut self.marker.borrow_mut().written {
            written.retain(|name, _| self.path.join(name).exists());
        }
    }

    /// The files that a run of this kind writes beside its folders.
    fn files(&self) -> Vec<PathBuf> {
        let path = |name| self.path.join(name);
        let results = files::checked_files(&self.results_file());
        let before = files::checked_files(&self.before_file());
        let report = self.report_file();
        match self.kind() {
            Kind::Evaluation => {
                let names = ["evaluation.json", "evaluation.csv", "answers.jsonl", "judge.jsonl"];
                names.map(path).into_iter().chain([report]).collect()
            }
            Kind::Compare => {
                let names = [CONFIG_FILE, "request.json", "results.csv"].map(path);
                names.into_iter().chain(before).chain(results).collect()
            }
            Kind::Preparation | Kind::Reference => vec![],
            _ => {
                let names = [self.config_file(), self.events_file(), self.damaged_events_file()];
                let names = names.into_iter().chain(self.event_files()).chain([report]);
                names.chain(before).chain(results).collect()
            }
        }
    }

    /// Whether each file that the run will write is there already as one of ours, or not at all.
    pub(super) fn check_files(&self) -> Result<(), TrainError> {
        self.files().iter().try_for_each(|file| self.check_file(file))
    }

    /// Removes the run's checkpoints: it is finished.
    ///
    /// # Errors
    /// If a file of theirs cannot be removed.
    pub fn remove_checkpoints(&self) -> Result<(), TrainError> {
        crate::checkpoint::remove_all(self)
    }
}

impl Drop for RunFolder {
    /// A start that failed leaves nothing behind.
    fn drop(&mut self) {
        let of_start = self.of_start.take();
        if !self.fleeting.get() {
            return;
        }
        let own = [MARKER, LOCK].map(|name| self.path.join(name));
        // What was opened to write to and never written.
        let is_empty = |file: &PathBuf| {
            let written = &self.marker.borrow().written;
            let is_ours = written.as_ref().is_some_and(|of| of.contains_key(&self.name_of(file)));
            is_ours && fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
        };
        let is_worthless = |file: &PathBuf| of_start.contains(file) || own.contains(file) || is_empty(file);
        let (mut files, mut folders) = (vec![], vec![]);
        if files::below(&self.path, &mut files, &mut folders).is_err() || !files.iter().all(is_worthless) {
            return;
        }
        // The marker last: what is left without it would be nobody's.
        files.sort_by_key(|file| *file == own[0]);
        for file in files {
            _ = remove_file(&file);
        }
        folders.iter().rev().for_each(|dir| remove_empty(dir));
        self.made.iter().for_each(|dir| remove_empty(dir));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;

    #[test]
    fn a_start_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/run");
        let start = || {
            let held = RunFolder::create(&path, Kind::Train, Identity::default()).unwrap();
            held.start(&held.config_file(), b"x").unwrap();
            held.start(&path.join("base/config.json"), b"x").unwrap();
            held
        };
        drop(start());
        assert!(!dir.path().join("a").exists());
        let held = start();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        drop(held);
        assert!(path.join("notes.txt").exists() && path.join(CONFIG_FILE).exists());
    }
}
