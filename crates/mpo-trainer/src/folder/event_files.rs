//! TensorBoard's event files in a run's folder. Each start writes one of a name of its own, for a board that is watching goes
//! on reading a file where it was, and would not see that it is another.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RunFolder;
use super::files::{remove_file, write_atomically};
use crate::error::TrainError;

/// What their names begin with, as TensorBoard knows them.
const PREFIX: &str = "events.out.tfevents.";

impl RunFolder {
    /// Those that were written here, the earliest first.
    pub(super) fn event_files(&self) -> Vec<PathBuf> {
        let marker = self.marker.borrow();
        let names = marker.written.iter().flat_map(|written| written.keys());
        names.filter(|name| name.starts_with(PREFIX)).map(|name| self.path.join(name)).collect()
    }

    /// Writes another with these contents, `now` after the beginning of 1970, and takes the earlier ones away.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_event_file(&self, contents: &[u8], now: Duration) -> Result<PathBuf, TrainError> {
        let earlier = self.event_files();
        // Boards read files in the order of their names, so ten digits, and a later second than that of any other file.
        let mut names = (now.as_secs()..).map(|second| self.path.join(format!("{PREFIX}{second:010}.mpo-train")));
        let is_later = |path: &PathBuf| earlier.last() < Some(path) && fs::symlink_metadata(path).is_err();
        let path = names.find(is_later).expect("there is always a later second");
        self.claim(&path)?;
        write_atomically(&path, contents)?;
        for file in earlier {
            retire(&file)?;
        }
        self.forget_missing();
        Ok(path)
    }
}

/// Empties a file, for a board that is reading it goes past an empty one and stops at one that is gone. One that was emptied by
/// an earlier start goes.
fn retire(file: &Path) -> Result<(), TrainError> {
    // A link in its place leads to somebody's file.
    let has_contents = fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
    if !has_contents {
        return remove_file(file);
    }
    let emptied = File::options().write(true).open(file).and_then(|file| file.set_len(0));
    emptied.map_err(|error| TrainError::io(file, error))
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, Kind};
    use super::*;

    #[test]
    fn each_is_later_than_those_before_and_takes_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let begin = || RunFolder::begin_anew(&path, Kind::Miniature, Identity::default()).unwrap();
        let held = begin();
        let theirs = path.join("events.out.tfevents.0000000005.mpo-train");
        fs::write(&theirs, "mine").unwrap();
        let (mut last, mut before) = (PathBuf::new(), PathBuf::new());
        // A clock may stand still, or be put back.
        for (now, expected) in [(5, 6), (5, 7), (3, 8), (20, 20)] {
            let written = held.write_event_file(now.to_string().as_bytes(), Duration::from_secs(now)).unwrap();
            assert_eq!(written, path.join(format!("events.out.tfevents.{expected:010}.mpo-train")));
            assert_eq!(fs::read_to_string(&written).unwrap(), now.to_string());
            assert!(!before.exists());
            if last.exists() {
                assert_eq!(fs::read(&last).unwrap(), b"");
                assert_eq!(held.event_files(), [&*last, &*written]);
            }
            (before, last) = (last, written);
        }
        assert!(before.exists());
        drop(held);
        drop(begin());
        assert!(!before.exists() && !last.exists() && theirs.exists());
    }
}
