//! A folder to write in before what is written takes its place, and what is done with those that a killed process left.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// What the name of every file and folder begins with that is being written.
const PREFIX: &str = ".partial-";
/// Digits of a name that are drawn, and of those that follow from them.
const DRAWN: usize = 16;
const PROOF: usize = 8;

/// In every scratch folder: that it is one of ours, and for whom. Locked while it is in use.
const MARKER: &str = "mpo-train-scratch";
const MARK: &str = "written by mpo-train; may be deleted when no run is at work\n";

/// What it will become, and what was there before, while they change places.
const NEW: &str = "new";
const OLD: &str = "old";

/// A hidden folder beside the one that is to be written; gone when dropped.
#[derive(Debug)]
pub struct Scratch {
    /// Let go first: elsewhere than on Unix an open file keeps its folder.
    marker: File,
    folder: TempDir,
    target: PathBuf,
}

impl Scratch {
    /// For a new `target`, a folder. Scratch folders that killed processes left beside it are cleared first.
    ///
    /// # Errors
    /// If the folder around it cannot be written.
    pub fn beside(target: &Path) -> io::Result<Self> {
        let parent = parent(target);
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "expected a folder's name"))?;
        fs::create_dir_all(parent)?;
        Self::clear(parent)?;
        let folder = tempfile::Builder::new().prefix(&partial_name()).rand_bytes(0).tempdir_in(parent)?;
        let mut marker = File::create_new(folder.path().join(MARKER))?;
        marker.try_lock().map_err(io::Error::from)?;
        marker.write_all(MARK.as_bytes())?;
        marker.write_all(name.as_encoded_bytes())?;
        // Temporary folders are private to their owner; one made inside has the permissions that a folder should have.
        fs::create_dir(folder.path().join(NEW))?;
        Ok(Self { marker, folder, target: target.to_path_buf() })
    }

    /// Where to write.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(NEW)
    }

    /// Puts what was written in the target's place; what was there before goes once that is done.
    ///
    /// # Errors
    /// If it cannot be renamed; then the target is as it was.
    pub fn finish(self) -> io::Result<()> {
        sync_dir(&self.path())?;
        let old = self.folder.path().join(OLD);
        match fs::rename(&self.target, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        if let Err(error) = fs::rename(self.path(), &self.target) {
            if old.exists() && fs::rename(&old, &self.target).is_err() {
                // Better a folder under an odd name than none.
                _ = self.folder.keep();
            }
            return Err(error);
        }
        sync_dir(parent(&self.target))?;
        drop(self.marker);
        self.folder.close()
    }

    /// Removes the scratch folders in `dir` that killed processes left. One that was killed while a new folder took the place
    /// of an old one is carried to its end. A folder that is in use, or that has not our mark, stays.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn clear(dir: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let is_ours = name.to_str().is_some_and(is_partial_name);
            if is_ours && entry.file_type()?.is_dir() {
                clear_one(dir, &entry.path())?;
            }
        }
        Ok(())
    }
}

fn clear_one(dir: &Path, scratch: &Path) -> io::Result<()> {
    let marker = match File::options().read(true).write(true).open(scratch.join(MARKER)) {
        Ok(marker) => marker,
        // Killed before it was marked, if it is empty; otherwise not ours.
        Err(_) => {
            _ = fs::remove_dir(scratch);
            return Ok(());
        }
    };
    if marker.try_lock().is_err() {
        return Ok(());
    }
    let mut mark = vec![];
    (&marker).take(1 << 16).read_to_end(&mut mark)?;
    let Some(name) = mark.strip_prefix(MARK.as_bytes()) else {
        // Killed while it was marked: nothing else is in it.
        if MARK.as_bytes().starts_with(&mark) {
            fs::remove_file(scratch.join(MARKER))?;
            _ = fs::remove_dir(scratch);
        }
        return Ok(());
    };
    let old = scratch.join(OLD);
    if let Ok(name) = str::from_utf8(name)
        && old.exists()
        && is_plain_name(name)
        && !dir.join(name).exists()
    {
        let new = scratch.join(NEW);
        // The old one is moved out of the way only when the new one is whole.
        let whole = if new.exists() { new } else { old };
        fs::rename(whole, dir.join(name))?;
        sync_dir(dir)?;
    }
    drop(marker);
    fs::remove_dir_all(scratch)
}

/// A new name for what is being written. A part of it follows from the rest, so that it is nobody else's.
pub fn partial_name() -> String {
    // Other keys each time.
    let drawn = format!("{:016x}", RandomState::new().build_hasher().finish());
    format!("{PREFIX}{drawn}-{}", proof(&drawn))
}

/// Whether a name is one that [`partial_name`] made.
pub fn is_partial_name(name: &str) -> bool {
    let parts = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(drawn, end)| drawn.len() == DRAWN && end == proof(drawn))
}

fn proof(drawn: &str) -> String {
    let sum = blake3::hash(format!("mpo-train {drawn}").as_bytes());
    sum.to_hex()[..PROOF].to_owned()
}

fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|plain| plain == name)
}

fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A folder's entries reach the disk only when the folder is synced too.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(dir: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    /// What a process killed at work on `target` leaves.
    fn killed(target: &Path, write: impl FnOnce(&Path)) {
        let scratch = Scratch::beside(target).unwrap();
        write(scratch.folder.path());
        _ = scratch.folder.keep();
    }

    #[test]
    fn the_new_takes_the_place_of_the_old() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("there/model");
        for text in ["first", "second"] {
            let scratch = Scratch::beside(&target).unwrap();
            fs::write(scratch.path().join("file"), text).unwrap();
            scratch.finish().unwrap();
            assert_eq!(fs::read_to_string(target.join("file")).unwrap(), text);
        }
        drop(Scratch::beside(&target).unwrap());
        assert_eq!(entries(&home.path().join("there")), ["model"]);
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("model");
        killed(&target, |scratch| fs::write(scratch.join(NEW).join("half"), "x").unwrap());
        fs::create_dir(home.path().join(partial_name())).unwrap();
        let begun = home.path().join(partial_name());
        fs::create_dir(&begun).unwrap();
        fs::write(begun.join(MARKER), "").unwrap();
        // Alike in name, but a user's.
        for name in [".partial-mine00", ".partial-abc", ".partial-0123456789abcdef-01234567"] {
            fs::create_dir(home.path().join(name)).unwrap();
            fs::write(home.path().join(name).join("notes"), "mine").unwrap();
        }
        fs::create_dir(home.path().join(".partial-empty0")).unwrap();
        fs::write(home.path().join(".partial-mine00").join(MARKER), "mine").unwrap();
        fs::write(home.path().join(".partial-file00"), "mine").unwrap();
        let at_work = Scratch::beside(&target).unwrap();
        Scratch::clear(home.path()).unwrap();
        assert!(at_work.path().exists());
        drop(at_work);
        assert_eq!(
            entries(home.path()),
            [
                ".partial-0123456789abcdef-01234567",
                ".partial-abc",
                ".partial-empty0",
                ".partial-file00",
                ".partial-mine00",
            ]
        );
    }

    #[test]
    fn a_kill_between_the_two_renames_loses_no_folder() {
        for (new, expected) in [(Some("new"), "new"), (None, "old")] {
            let home = tempfile::tempdir().unwrap();
            let target = home.path().join("model");
            killed(&target, |scratch| {
                fs::create_dir(scratch.join(OLD)).unwrap();
                fs::write(scratch.join(OLD).join("file"), "old").unwrap();
                match new {
                    Some(text) => fs::write(scratch.join(NEW).join("file"), text).unwrap(),
                    None => fs::remove_dir(scratch.join(NEW)).unwrap(),
                }
            });
            Scratch::clear(home.path()).unwrap();
            assert_eq!(fs::read_to_string(target.join("file")).unwrap(), expected);
            assert_eq!(entries(home.path()), ["model"]);
        }
    }
}
