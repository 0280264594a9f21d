//! Values kept as JSON in a run's folder, with a checksum beside each.

use std::path::Path;

use mpo_progress::Progress;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RunFolder, read_checked};
use crate::error::TrainError;

impl RunFolder {
    /// Writes a value as JSON, whole or not at all, with its checksum beside it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_value(&self, file: &Path, value: &impl Serialize) -> Result<(), TrainError> {
        let mut text = serde_json::to_vec_pretty(value).map_err(|error| TrainError::io(file, error.into()))?;
        text.push(b'\n');
        self.write_checked(file, &text)
    }

    /// The value that [`write_value`](Self::write_value) wrote, if it is there. One that was damaged on the disk is none, and
    /// `progress` is told: it is to be made again.
    ///
    /// # Errors
    /// If it cannot be read, or is another kind of value.
    pub fn read_value<T: DeserializeOwned>(
        &self,
        file: &Path,
        progress: &dyn Progress,
    ) -> Result<Option<T>, TrainError> {
        let text = match read_checked(file) {
            Err(damaged @ TrainError::Broken { .. }) => {
                progress.note(&format_args!("{damaged}; it is made again"));
                return Ok(None);
            }
            text => text?,
        };
        let value = text.map(|text| serde_json::from_slice(&text)).transpose();
        value.map_err(|error| TrainError::Broken {
            path: file.to_owned(),
            problem: error.to_string(),
            remedy: "delete the file; it will be made again",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mpo_progress::Recorder;

    use super::*;
    use crate::folder::{Identity, Kind};

    #[test]
    fn a_file_reads_back_a_missing_one_is_none_and_a_damaged_one_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&dir.path().join("run"), Kind::Train, Identity::default()).unwrap();
        let path = run.before_file();
        let read = || {
            let recorder = Recorder::default();
            let values = run.read_value::<Vec<f64>>(&path, &recorder).unwrap();
            (values, recorder.texts().concat())
        };
        assert_eq!(read(), (None, String::new()));
        let values = vec![0.1 + 0.2, -1.3];
        run.write_value(&path, &values).unwrap();
        assert_eq!(read(), (Some(values), String::new()));
        fs::write(&path, "[]").unwrap();
        let (none, note) = read();
        assert!(none.is_none() && note.contains("is made again"), "{note}");
    }
}
