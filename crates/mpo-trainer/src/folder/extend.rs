//! Where the run in a folder ends: a finished one may be given a later end.

use mpo_objectives::Settings;

use super::RunFolder;
use super::files::{check_page, checked_files, remove_file};
use super::marker::{End, Identity};
use crate::error::TrainError;

impl RunFolder {
    /// Whether a run with these settings differs from the one that was started here, and in nothing but where it ends.
    pub fn ends_otherwise(&self, settings: &Settings) -> bool {
        self.marker.borrow().identity.ends_otherwise(settings)
    }

    /// Steps taken at each end that the run had before it was given a later one, the first one first.
    pub fn earlier_ends(&self) -> Vec<u64> {
        self.marker.borrow().ends.iter().map(|end| end.steps).collect()
    }

    /// The settings that say where the run ends.
    pub(crate) fn end(&self) -> Settings {
        self.marker.borrow().identity.end()
    }

    /// The settings that said so when it was started, if they were others.
    pub(crate) fn first_end(&self) -> Option<Settings> {
        self.marker.borrow().ends.first().map(|end| end.settings.clone())
    }

    /// Whether a run of this identity is the one that was started here but for its end.
    ///
    /// # Errors
    /// If it is another.
    pub(crate) fn check_extended(&self, identity: &Identity) -> Result<(), TrainError> {
        let with_end = self.marker.borrow().identity.with_end_of(identity.settings());
        self.unchanged(with_end.changed(identity))
    }

    /// Gives the run, which has taken `steps` steps and was finished, the end that `identity` says. Its results and their page are
    /// gone from here on: it is not finished any more.
    ///
    /// # Errors
    /// If it differs in anything else, somebody's file is where the page is to be, or it cannot be written.
    pub(crate) fn extend(&self, identity: Identity, steps: u64, config: &[u8]) -> Result<(), TrainError> {
        self.check_extended(&identity)?;
        // Before the end: should a kill come between the results of the new one and their page, none of the old one is left.
        check_page(&self.report_file())?;
        remove_file(&self.report_file())?;
        // The settings first: killed in between, they are those of a run that is to be extended.
        self.start(&self.config_file(), config)?;
        {
            let mut marker = self.marker.borrow_mut();
            let settings = marker.identity.end();
            marker.ends.push(End { steps, settings });
            marker.identity = identity;
            marker.replace(&self.path)?;
        }
        // Killed in between, results of no more than these steps are known for those of before.
        checked_files(&self.results_file()).iter().try_for_each(|file| remove_file(file))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::super::Kind;
    use super::*;

    fn settings(of: serde_json::Value) -> Settings {
        serde_json::from_value(of).unwrap()
    }

    #[test]
    fn a_run_is_the_same_with_each_of_its_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let first = settings(json!({"lr": 1e-4, "epochs": 2.0, "max_steps": 4}));
        let run = RunFolder::create(&path, Kind::Train, Identity::new(first.clone()).with("rows", "abc")).unwrap();
        run.keep();
        run.start(&run.config_file(), b"first").unwrap();
        run.write_checked(&run.results_file(), b"{}").unwrap();
        assert!(!run.ends_otherwise(&first) && run.earlier_ends().is_empty() && run.first_end().is_none());
        let later = settings(json!({"lr": 1e-4, "epochs": 3.5}));
        assert!(run.ends_otherwise(&later));
        assert!(!run.ends_otherwise(&settings(json!({"lr": 2e-4, "epochs": 3.5}))));

        // Other rows are another run, whatever its end; nothing was written.
        let other = Identity::new(later.clone()).with("rows", "abd");
        let error = run.extend(other, 4, b"later").unwrap_err().to_string();
        assert!(error.ends_with("got different rows"), "{error}");
        assert!(run.results_file().exists() && run.earlier_ends().is_empty());

        // Somebody's file in the place of the page stays, and so does the end.
        fs::write(run.report_file(), "mine").unwrap();
        let same = || Identity::new(later.clone()).with("rows", "abc");
        assert!(matches!(run.extend(same(), 4, b"later"), Err(TrainError::Foreign { .. })));
        assert!(run.results_file().exists() && run.earlier_ends().is_empty());
        fs::write(run.report_file(), "<meta name=\"generator\" content=\"mpo-train\">").unwrap();

        run.extend(same(), 4, b"later").unwrap();
        assert!(!run.report_file().exists(), "a page of the earlier end");
        drop(run);
        let open = |path: &Path| RunFolder::open(path, Kind::Train).unwrap();
        let run = open(&path);
        assert!(!run.results_file().exists());
        assert_eq!(fs::read(run.config_file()).unwrap(), b"later");
        run.check_settings(&later).unwrap();
        assert_eq!(run.earlier_ends(), [4]);
        let end = settings(json!({"epochs": 2.0, "max_steps": 4}));
        assert_eq!((run.first_end(), run.end()), (Some(end.clone()), settings(json!({"epochs": 3.5}))));
        let last = settings(json!({"lr": 1e-4, "epochs": 3.5, "max_steps": 90}));
        run.extend(Identity::new(last).with("rows", "abc"), 7, b"last").unwrap();
        drop(run);
        assert_eq!(open(&path).earlier_ends(), [4, 7]);
        assert_eq!(open(&path).first_end(), Some(end));
    }
}
