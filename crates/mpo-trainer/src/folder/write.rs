//! Files in the folder: ours are those that the marker says we wrote, and no other is replaced.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::RunFolder;
use super::files::{self, check_page, read_file, write_atomically};
use super::marker::Marker;
use crate::error::TrainError;

impl RunFolder {
    /// Whether a file in the folder may be written: there is none of this name, or one that we wrote.
    ///
    /// # Errors
    /// If there is another.
    pub fn check_file(&self, file: &Path) -> Result<(), TrainError> {
        if file == self.report_file() {
            return check_page(file);
        }
        if fs::symlink_metadata(file).is_err() {
            return Ok(());
        }
        let is_ours = match &self.marker.borrow().written {
            Some(written) => match written.get(&self.name_of(file)) {
                // Other edits are found by whoever reads the file, and tables are read by nobody.
                Some(Some(sum)) if is_table(file) => read_file(file)?.is_none_or(|bytes| is_of(sum, &bytes)),
                ours => ours.is_some(),
            },
            None => true,
        };
        if is_ours { files::is_there(file).map(drop) } else { Err(TrainError::Foreign { path: file.to_owned() }) }
    }

    /// Takes a file's name for what this run is about to write, which then is ours.
    ///
    /// # Errors
    /// If there is a file of that name that we have not written.
    pub fn claim(&self, file: &Path) -> Result<(), TrainError> {
        self.claim_as(file, None)
    }

    /// The same for a file that will stay as it is, which has this BLAKE3.
    fn claim_as(&self, file: &Path, sum: Option<String>) -> Result<(), TrainError> {
        self.check_file(file)?;
        let mut marker = self.marker.borrow_mut();
        let name = self.name_of(file);
        let is_known = |of: &mut BTreeMap<_, _>| of.insert(name, sum.clone()) == Some(sum);
        if marker.written.as_mut().is_none_or(is_known) { Ok(()) } else { marker.replace(&self.path) }
    }

    /// A file's path in the folder, with `/` between folders.
    pub(super) fn name_of(&self, file: &Path) -> String {
        let inside = file.strip_prefix(&self.path).unwrap_or(file);
        let parts = inside.iter().map(|part| part.to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    }

    /// Writes a file in the folder, whole or not at all.
    ///
    /// # Errors
    /// If there is a file of that name that we have not written, or it cannot be written.
    pub fn write(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        self.claim(file)?;
        write_atomically(file, contents)
    }

    /// The same for a table: edited later, it is not written again.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn write_table(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        self.write(file, contents)?;
        // The sum last: killed in between, whatever is there is ours.
        self.claim_as(file, Some(blake3::hash(contents).to_string()))
    }

    /// Writes a file and, beside it, the checksum that [`read_checked`] asks for.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn write_checked(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        for file in files::checked_files(file) {
            self.claim(&file)?;
        }
        files::write_checked(file, contents)
    }

    /// Writes a file that belongs to the start: it goes with the folder if the start fails.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn start(&self, file: &Path, contents: &[u8]) -> Result<(), TrainError> {
        let parent = file.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).map_err(|error| TrainError::io(parent, error))?;
        self.of_start.borrow_mut().push(file.to_owned());
        self.claim_as(file, Some(blake3::hash(contents).to_string()))?;
        write_atomically(file, contents)
    }
}

/// Whether a file that a run's start wrote is known to be another now.
pub fn is_edited(folder: &Path, file: &str) -> bool {
    let bytes = read_file(&folder.join(file)).ok().flatten();
    let sum = written(folder, file).flatten();
    sum.is_some_and(|sum| !is_of(&sum, &bytes.unwrap_or_default()))
}

/// Whether a folder's marker says that a file was written there.
pub fn is_written(folder: &Path, file: &str) -> bool {
    written(folder, file).is_some()
}

/// What a folder's marker says of a file.
fn written(folder: &Path, file: &str) -> Option<Option<String>> {
    Marker::read(folder).ok()??.written?.remove(file)
}

fn is_of(sum: &str, bytes: &[u8]) -> bool {
    sum == blake3::hash(bytes).to_string()
}

fn is_table(file: &Path) -> bool {
    file.extension() == Some(OsStr::new("csv"))
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, Kind};
    use super::*;

    #[test]
    fn a_table_that_was_edited_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let table = path.join("results.csv");
        let held = RunFolder::create(&path, Kind::Compare, Identity::default()).unwrap();
        held.write_table(&table, b"a").unwrap();
        held.write_table(&table, b"b").unwrap();
        drop(held);
        drop(RunFolder::open(&path, Kind::Compare).unwrap());
        fs::write(&table, "mine").unwrap();
        let error = RunFolder::open(&path, Kind::Compare).unwrap_err();
        assert!(matches!(error, TrainError::Foreign { .. }), "{error}");
        assert_eq!(fs::read_to_string(&table).unwrap(), "mine");
        fs::remove_file(&table).unwrap();
        let held = RunFolder::open(&path, Kind::Compare).unwrap();
        held.write_table(&table, b"c").unwrap();
    }
}
