//! What there is at the path of a folder: nothing, one of ours, or somebody's.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mpo_models::is_partial_name;

use super::files;
use super::marker::{Kind, Marker};
use super::names::{CHECKPOINTS, CONFIG_FILE, EVENTS_FILE, RESULTS_FILE};
use crate::error::TrainError;

/// What we make in a folder, and follow no link to.
const OURS: [&str; 8] = ["base", "checkpoints", "mlruns", "model", "reference", "runs", "samples", "start"];

/// What there is at the path of a folder.
pub(super) enum Found {
    Nothing,
    Empty,
    /// One of ours, of the kind that was asked for.
    Ours(Marker),
}

impl Found {
    pub(super) fn at(path: &Path, kind: Kind) -> Result<Self, TrainError> {
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => {
                return Err(TrainError::NotAFolder { path: path.to_owned() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match fs::symlink_metadata(path) {
                    Ok(_) => Err(TrainError::Link { path: path.to_owned() }),
                    Err(_) => Ok(Self::Nothing),
                };
            }
            Err(error) => return Err(TrainError::io(path, error)),
        }
        let marker = Marker::read(path).map_err(|error| match error {
            TrainError::Broken { path, problem, .. } if kind == Kind::Reference => {
                TrainError::Broken { path, problem, remedy: "delete the folder; its numbers will be computed again" }
            }
            error => error,
        });
        let Some(marker) = marker? else {
            return match files::entries(path)?.iter().find(|(name, _)| !is_partial_name(name)) {
                None => Ok(Self::Empty),
                Some((name, _)) => Err(not_ours(path, kind, name)),
            };
        };
        if marker.kind != kind {
            return Err(TrainError::OtherKind { path: path.to_owned(), expected: kind, got: marker.kind });
        }
        for (_, path) in files::entries(path)? {
            let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
            if is_link && OURS.iter().any(|name| path.file_name() == Some(OsStr::new(name))) {
                return Err(TrainError::Link { path });
            }
        }
        Ok(Self::Ours(marker))
    }
}

/// A folder with something in it, and no marker.
fn not_ours(path: &Path, kind: Kind, found: &str) -> TrainError {
    let of_a_run = [EVENTS_FILE, CHECKPOINTS, RESULTS_FILE];
    let is_old = path.join(CONFIG_FILE).is_file() && of_a_run.iter().any(|of| path.join(of).exists());
    let path = path.to_owned();
    if is_old { TrainError::Unmarked { path } } else { TrainError::NotOurs { path, kind, found: found.to_owned() } }
}

/// Makes a folder, and says which ones had to be made for it, the innermost first.
pub(super) fn make(path: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && fs::symlink_metadata(dir).is_err());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    fs::create_dir_all(path).map_err(|error| TrainError::io(path, error))?;
    Ok(missing)
}

/// Whether a folder can be made at a path, or written in where it is there. Nothing is left behind.
///
/// # Errors
/// If it cannot.
pub fn check_writable(path: &Path) -> Result<(), TrainError> {
    let path = std::path::absolute(path).map_err(|error| TrainError::io(path, error))?;
    let there = path.ancestors().find(|dir| dir.exists()).unwrap_or(&path);
    tempfile::tempfile_in(there).map(drop).map_err(|error| TrainError::io(there, error))
}

/// Whether this program may write in a folder: it is new or empty, or ours and of this kind. Nothing is written.
///
/// # Errors
/// If it is not.
pub fn check_ours(path: &Path, kind: Kind) -> Result<(), TrainError> {
    Found::at(path, kind).map(drop)
}

/// Whether a folder is ours, and of this kind.
pub fn is_marked(path: &Path, kind: Kind) -> bool {
    Marker::read(path).is_ok_and(|marker| marker.is_some_and(|marker| marker.kind == kind))
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::{Identity, RunFolder};
    use super::*;

    #[test]
    fn where_a_folder_can_be_made_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("a/b/c")] {
            check_writable(&path).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("file"), "x").unwrap();
        assert!(check_writable(&dir.path().join("file/run")).is_err());
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_of_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let held = RunFolder::create(&path, Kind::Train, Identity::default()).unwrap();
        held.keep();
        drop(held);
        std::os::unix::fs::symlink(dir.path(), path.join("checkpoints")).unwrap();
        let error = RunFolder::open(&path, Kind::Train).unwrap_err();
        assert!(matches!(error, TrainError::Link { .. }), "{error}");
    }
}
