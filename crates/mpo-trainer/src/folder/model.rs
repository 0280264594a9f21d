//! The trained model in a run folder: replaced only if it is as we wrote it.

use std::fs;
use std::io;
use std::path::Path;

use mpo_models::Checksums;
use mpo_progress::Progress;

use super::RunFolder;
use super::files;
use crate::error::TrainError;

impl RunFolder {
    /// Whether the model in the folder may be replaced: there is none, or nothing but what we wrote.
    ///
    /// # Errors
    /// If there is anything else.
    pub fn check_model(&self) -> Result<(), TrainError> {
        check_model(&self.model_dir())
    }

    /// Whether the trained model is in the folder, as it was written; `progress` is told of files that were put beside it.
    ///
    /// # Errors
    /// If it was changed.
    pub fn has_model(&self, progress: &dyn Progress) -> Result<bool, TrainError> {
        let dir = self.model_dir();
        let Err(foreign) = self.check_model() else {
            return Ok(!files::entries(&dir)?.is_empty());
        };
        let sums = Checksums::read(&dir).ok().flatten();
        if sums.is_some_and(|sums| sums.verify(&dir, |_| true).is_ok()) {
            progress.note(&foreign);
            Ok(true)
        } else {
            Err(foreign)
        }
    }

    /// After [`check_model`](Self::check_model).
    pub(super) fn remove_model(&self) -> Result<(), TrainError> {
        let dir = self.model_dir();
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TrainError::io(&dir, error)),
            _ => Ok(()),
        }
    }
}

/// Whether the model in a run folder may be replaced: there is none, or it is as we wrote it.
fn check_model(dir: &Path) -> Result<(), TrainError> {
    let entries = files::entries(dir)?;
    if entries.is_empty() {
        return Ok(());
    }
    let found = match Checksums::read(dir) {
        Ok(Some(sums)) => match sums.verify_nothing_else(dir) {
            Ok(()) => return Ok(()),
            Err(changed) => changed.to_string(),
        },
        Ok(None) => format!("files without {}", mpo_models::CHECKSUMS_FILE),
        Err(damaged) => damaged.to_string(),
    };
    Err(TrainError::ForeignModel { path: dir.to_owned(), found })
}
