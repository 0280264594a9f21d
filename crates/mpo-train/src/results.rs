//! What a run found, as it is kept in the run folder and shown.

use std::fs;
use std::io;
use std::path::Path;

use mpo_data::Language;
use mpo_eval::LanguageGap;
use mpo_trainer::{TrainError, write_atomically};
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

/// The value a JSON file of ours holds, if the file is there.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::io(path)(error)),
    };
    let value = serde_json::from_slice(&text).map_err(|error| TrainError::Broken {
        path: path.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(Some(value))
}

/// Writes a value as JSON, whole or not at all.
pub(crate) fn store(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| Failure::io(path)(error.into()))?;
    text.push(b'\n');
    Ok(write_atomically(path, &text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_a_missing_one_is_none_and_a_broken_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("before.json");
        assert_eq!(load::<Vec<LanguageGap>>(&path).unwrap(), None);
        let gaps = vec![LanguageGap {
            language: "sw".parse().unwrap(),
            mean: 0.1 + 0.2,
            half_width: None,
            rows: 1,
            accuracy: 1.0,
            chosen_mean: -1.0,
            rejected_mean: -1.3,
        }];
        store(&path, &gaps).unwrap();
        assert_eq!(load(&path).unwrap(), Some(gaps));
        fs::write(&path, "[{").unwrap();
        let failure = load::<Vec<LanguageGap>>(&path).unwrap_err();
        assert!(matches!(failure, Failure::Train(TrainError::Broken { .. })));
    }
}
