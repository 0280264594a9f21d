//! A run is a folder, and one process at a time is in it.
//!
//! `config.yaml` as resolved, `events.jsonl`, `reference/`, `checkpoints/step-N/`, `model/`. Everything is
//! written under a temporary name, synced and renamed.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::TrainError;

const LOCK: &str = ".lock";
const CONFIG: &str = "config.yaml";

/// A run folder that this process holds.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held until the folder is let go; the system releases it however the process ends.
    _lock: File,
}

impl RunFolder {
    /// Takes a new folder, or one without a run in it.
    ///
    /// # Errors
    /// If there is a run in it, another process is at work there, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        let folder = Self::lock(path)?;
        match folder.has_run() {
            true => Err(TrainError::RunExists {
                path: path.to_owned(),
            }),
            false => Ok(folder),
        }
    }

    /// Takes a folder, and removes the run in it if there is one.
    ///
    /// # Errors
    /// If another process is at work there, or it cannot be written.
    pub fn replace(path: &Path) -> Result<Self, TrainError> {
        let folder = Self::lock(path)?;
        if folder.has_run() {
            for dir in [
                folder.checkpoints_dir(),
                folder.model_dir(),
                folder.reference_dir(),
            ] {
                gone(&dir, fs::remove_dir_all(&dir))?;
            }
            // The configuration marks a run, so it goes last: killed half-way, the rest is removed the next time.
            for file in [
                folder.events_file(),
                folder.results_file(),
                folder.report_file(),
                folder.config_file(),
            ] {
                gone(&file, fs::remove_file(&file))?;
            }
        }
        Ok(folder)
    }

    /// Takes the folder of a run that was started earlier.
    ///
    /// # Errors
    /// If there is none, another process is at work there, or it cannot be written.
    pub fn resume(path: &Path) -> Result<Self, TrainError> {
        let missing = |missing| TrainError::NothingToResume {
            path: path.to_owned(),
            missing,
        };
        if !path.join(CONFIG).exists() {
            return Err(missing(CONFIG));
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, TrainError> {
        fs::create_dir_all(path).map_err(|error| TrainError::io(path, error))?;
        let file = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .map_err(|error| TrainError::io(&file, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(TrainError::Locked {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(TrainError::io(&file, error)),
        }
    }

    fn has_run(&self) -> bool {
        self.config_file().exists() || self.checkpoints_dir().exists()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration as resolved.
    pub fn config_file(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// What happened, one event a line.
    pub fn events_file(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// The trained model, a folder in Hugging Face layout.
    pub fn model_dir(&self) -> PathBuf {
        self.path.join("model")
    }

    /// What training changed; written last.
    pub fn results_file(&self) -> PathBuf {
        self.path.join("results.json")
    }

    /// The page that shows the run.
    pub fn report_file(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The reference's numbers.
    pub fn reference_dir(&self) -> PathBuf {
        self.path.join("reference")
    }

    pub(crate) fn checkpoints_dir(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// If it cannot be written; then what was there before is untouched.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    let io = |error| TrainError::io(path, error);
    // The parent of a bare name is empty, and means this folder.
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = parent.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // As any other file: colleagues may read it if the umask lets them.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(dir).map_err(io)?;
    file.write_all(contents).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    sync_dir(dir)
}

/// Removed, or never there.
fn gone(path: &Path, removed: std::io::Result<()>) -> Result<(), TrainError> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io(path, error))
        }
        _ => Ok(()),
    }
}

/// Makes renames in a folder last.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), TrainError> {
    #[cfg(unix)]
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| TrainError::io(dir, error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_a_folder_and_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        assert!(matches!(
            RunFolder::resume(&path),
            Err(TrainError::NothingToResume { .. })
        ));
        let held = RunFolder::create(&path).unwrap();
        assert!(matches!(
            RunFolder::create(&path),
            Err(TrainError::Locked { .. })
        ));
        write_atomically(&held.config_file(), b"x").unwrap();
        drop(held);
        assert!(matches!(
            RunFolder::create(&path),
            Err(TrainError::RunExists { .. })
        ));
        assert!(RunFolder::resume(&path).is_ok());
    }
}
