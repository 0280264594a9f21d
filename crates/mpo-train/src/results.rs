//! What a run found, as it is kept in the run folder and shown.

use std::path::Path;

use mpo_data::Language;
use mpo_eval::LanguageGap;
use mpo_trainer::{RunFolder, TrainError, read_checked};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::output;
use crate::table;

/// `results.json`: written when a run is finished, and not before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Steps taken.
    pub(crate) steps: u64,
    /// The language the others were aligned to.
    pub(crate) dominant: Option<Language>,
    /// What training changed.
    pub(crate) reward_gap: RewardGaps,
}

/// The reward gap of every language, the dominant one first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RewardGaps {
    /// Of the model training began with.
    pub(crate) before: Vec<LanguageGap>,
    /// Of the model it ended with.
    pub(crate) after: Vec<LanguageGap>,
}

impl Results {
    /// Prints them, as a table or as JSON.
    pub(crate) fn print(&self, json: bool) -> Result<(), Failure> {
        match json {
            true => output::json(self),
            false => output::line(table::before_and_after(self)),
        }
    }
}

/// The value that [`keep`] wrote, if it is there. One that was damaged on the disk is told of, and made again.
pub(crate) fn kept<T: DeserializeOwned>(path: &Path, note: impl FnOnce(String)) -> Result<Option<T>, Failure> {
    let text = match read_checked(path) {
        Err(damaged @ TrainError::Broken { .. }) => {
            note(format!("{damaged}; it is made again"));
            return Ok(None);
        }
        text => text?,
    };
    let value = text.map(|text| serde_json::from_slice(&text)).transpose();
    Ok(value.map_err(|error| TrainError::Broken {
        path: path.to_owned(),
        problem: error.to_string(),
        remedy: "delete the file; it will be made again",
    })?)
}

/// Writes a value as JSON into a run's folder, whole or not at all, with its checksum beside it.
pub(crate) fn keep(run: &RunFolder, path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Failure::io(path)(error.into()))?;
    text.push(b'\n');
    Ok(run.write_checked(path, &text)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mpo_trainer::{Identity, Kind};

    use super::*;

    #[test]
    fn a_file_reads_back_a_missing_one_is_none_and_a_damaged_one_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&dir.path().join("run"), Kind::Train, Identity::default());
        let run = run.unwrap();
        let path = run.before_file();
        let read = || {
            let mut notes = vec![];
            let gaps = kept::<Vec<LanguageGap>>(&path, |note| notes.push(note)).unwrap();
            (gaps, notes.concat())
        };
        assert_eq!(read(), (None, String::new()));
        let gaps = vec![LanguageGap {
            language: "sw".parse().unwrap(),
            mean: 0.1 + 0.2,
            half_width: None,
            rows: 1,
            accuracy: 1.0,
            chosen_mean: -1.0,
            rejected_mean: -1.3,
        }];
        keep(&run, &path, &gaps).unwrap();
        assert_eq!(read(), (Some(gaps), String::new()));
        fs::write(&path, "[]").unwrap();
        let (none, note) = read();
        assert!(none.is_none() && note.contains("is made again"), "{note}");
    }
}
