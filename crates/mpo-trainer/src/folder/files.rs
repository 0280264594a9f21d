//! Files of ours: written whole or not at all, and removed without touching what is not ours.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use mpo_models::{Scratch, is_partial_name, partial_name};
use tempfile::NamedTempFile;

use crate::error::TrainError;

/// What every page of ours has near its beginning.
const PAGE_MARK: &str = "<meta name=\"generator\" content=\"mpo-train\">";
/// What a list of checksums is called behind the name of the one file that it is of; `b3sum --check` reads it.
const SUM: &str = ".blake3";

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// If it cannot be written; then what was there before is untouched.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    let file = temporary(path, contents)?;
    file.persist(path).map_err(|error| TrainError::io(path, error.error))?;
    sync_dir(parent(path))
}

/// The same, where there is no file of that name; an error if there is.
pub(super) fn write_new(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    let file = temporary(path, contents)?;
    file.persist_noclobber(path).map_err(|error| TrainError::io(path, error.error))?;
    sync_dir(parent(path))
}

/// The contents on the disk, under another name.
fn temporary(path: &Path, contents: &[u8]) -> Result<NamedTempFile, TrainError> {
    let io = |error| TrainError::io(path, error);
    let mut builder = tempfile::Builder::new();
    let name = partial_name();
    builder.prefix(&name).rand_bytes(0);
    // As any other file: colleagues may read it if the umask lets them.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(parent(path)).map_err(io)?;
    // While it is at work nobody takes it for what a killed process left.
    _ = file.as_file().try_lock();
    file.write_all(contents).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    Ok(file)
}

/// What is in a file of a run's folder, if it is there.
///
/// # Errors
/// If it cannot be read, or is no regular file.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>, TrainError> {
    if !is_there(path)? {
        return Ok(None);
    }
    fs::read(path).map(Some).map_err(|error| TrainError::io(path, error))
}

/// Whether there is a file. A folder in its place cannot be read, a pipe would be waited for, and a device never ends.
pub(super) fn is_there(path: &Path) -> Result<bool, TrainError> {
    let got = match fs::metadata(path) {
        Ok(meta) if meta.is_file() => return Ok(true),
        Ok(meta) if meta.is_dir() => "a folder",
        Ok(_) => "a pipe or a device, which is not a regular file",
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(TrainError::io(path, error)),
    };
    Err(TrainError::Broken {
        path: path.to_owned(),
        problem: got.into(),
        remedy: "move it away, or name another --output",
    })
}

/// Writes a file and, beside it, the checksum that [`read_checked`] asks for.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write_checked(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    // The sum first: killed in between, the file is missing, or is not what its sum says, and is made again.
    write_atomically(&sum_file(path), sum_line(path, contents).as_bytes())?;
    write_atomically(path, contents)
}

/// What [`RunFolder::write_checked`](super::RunFolder::write_checked) wrote, if it is there.
///
/// # Errors
/// If it cannot be read, or is not what was written.
pub fn read_checked(path: &Path) -> Result<Option<Vec<u8>>, TrainError> {
    let Some(contents) = read_file(path)? else {
        return Ok(None);
    };
    let sum = read_file(&sum_file(path))?.unwrap_or_default();
    if sum == sum_line(path, &contents).as_bytes() {
        Ok(Some(contents))
    } else {
        Err(TrainError::Broken {
            path: path.to_owned(),
            problem: format!("bytes that {} is not the checksum of", sum_file(path).display()),
            remedy: "delete both files; they will be made again",
        })
    }
}

/// The files that [`write_checked`] writes.
pub(super) fn checked_files(path: &Path) -> [PathBuf; 2] {
    [path.to_owned(), sum_file(path)]
}

fn sum_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUM);
    name.into()
}

fn sum_line(path: &Path, contents: &[u8]) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}  {name}\n", blake3::hash(contents))
}

/// The folder of a file. The parent of a bare name is empty, and means this folder.
fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Makes renames in a folder last.
fn sync_dir(dir: &Path) -> Result<(), TrainError> {
    #[cfg(unix)]
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| TrainError::io(dir, error))?;
    Ok(())
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<(), TrainError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TrainError::io(path, error)),
        _ => Ok(()),
    }
}

/// Gives a file that is not as we wrote it another name, beside it: somebody may want it.
pub(crate) fn set_aside(path: &Path) -> Result<PathBuf, TrainError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (1..).map(|number| path.with_file_name(format!("{name}.damaged-{number}")));
    let mut free = names.filter(|aside| fs::symlink_metadata(aside).is_err());
    let aside = free.next().unwrap_or_else(|| path.to_owned());
    match fs::rename(path, &aside) {
        // Another process was faster.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TrainError::io(path, error)),
        _ => Ok(aside),
    }
}

/// Removes the files in a folder that `is_ours` selects by name, and the folder if nothing is left in it. Links to
/// folders are not followed, and a link in the folder's place leaves everything.
pub(crate) fn remove_files(dir: &Path, is_ours: impl Fn(&str) -> bool) -> Result<(), TrainError> {
    if dir.is_symlink() {
        return Ok(());
    }
    for (name, path) in entries(dir)? {
        if is_ours(&name) && is_file(&path) {
            remove_file(&path)?;
        }
    }
    remove_empty(dir);
    Ok(())
}

/// Removes a folder if there is nothing in it; somebody's file keeps it.
pub(crate) fn remove_empty(dir: &Path) {
    _ = fs::remove_dir(dir);
}

/// Removes what processes that were killed had begun to write in a folder of ours.
pub(crate) fn remove_partial(dir: &Path) -> Result<(), TrainError> {
    // First, for a folder that was being replaced is in there.
    Scratch::clear(dir).map_err(|error| TrainError::io(dir, error))?;
    for (name, path) in entries(dir)? {
        if is_partial_name(&name) && is_file(&path) && !is_in_use(&path) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn is_in_use(path: &Path) -> bool {
    let locked = File::options().write(true).open(path);
    locked.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Whether a page may be written to a path: there is nothing, or a page of ours.
///
/// # Errors
/// If there is something else.
pub fn check_page(path: &Path) -> Result<(), TrainError> {
    if !is_there(path)? {
        return Ok(());
    }
    let mut beginning = vec![];
    File::open(path)
        .and_then(|file| file.take(1024).read_to_end(&mut beginning))
        .map_err(|error| TrainError::io(path, error))?;
    if String::from_utf8_lossy(&beginning).contains(PAGE_MARK) {
        Ok(())
    } else {
        Err(TrainError::Foreign { path: path.to_owned() })
    }
}

/// The files and folders in a folder and below; links are files.
pub(super) fn below(dir: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> Result<(), TrainError> {
    for (_, path) in entries(dir)? {
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            folders.push(path.clone());
            below(&path, files, folders)?;
        } else {
            files.push(path)
        }
    }
    Ok(())
}

/// Names and paths in a folder, sorted; none if there is no folder. A name that is not Unicode is none of ours.
pub(super) fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, TrainError> {
    let io = |error| TrainError::io(dir, error);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(io(error)),
    };
    let mut found = vec![];
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.path()));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_goes() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("d");
        fs::create_dir_all(dir.join(partial_name())).unwrap();
        fs::write(dir.join(partial_name()), "x").unwrap();
        fs::create_dir(dir.join("ours.txt")).unwrap();
        for name in ["a.ours", "notes", ".partial-Abc124", ".partial-my.key"] {
            fs::write(dir.join(name), "x").unwrap();
        }
        remove_partial(&dir).unwrap();
        remove_files(&dir, |name| name.contains("ours")).unwrap();
        let left: Vec<_> = entries(&dir).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, [".partial-Abc124", ".partial-my.key", "notes", "ours.txt"]);
        remove_files(&dir, |_| true).unwrap();
        assert!(dir.join("ours.txt").exists());
        remove_empty(&dir.join("ours.txt"));
        remove_files(&dir, |_| true).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        assert_eq!(read_file(&path).unwrap(), None);
        fs::create_dir(&path).unwrap();
        let said = read_file(&path).unwrap_err().to_string();
        assert!(said.contains("got a folder"), "{said}");
        assert!(matches!(check_page(&path), Err(TrainError::Broken { .. })));
        #[cfg(unix)]
        {
            let said = read_file(Path::new("/dev/zero")).unwrap_err().to_string();
            assert!(said.contains("not a regular file"), "{said}");
        }
    }

    #[test]
    fn a_file_with_its_sum_reads_back_and_a_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        assert_eq!(read_checked(&path).unwrap(), None);
        write_checked(&path, b"{\"steps\": 1}").unwrap();
        let good = read_checked(&path).unwrap().unwrap();
        assert_eq!(good, b"{\"steps\": 1}");
        for file in checked_files(&path) {
            let bytes = fs::read(&file).unwrap();
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << (at % 8);
                fs::write(&file, bad).unwrap();
                let read = read_checked(&path);
                assert!(matches!(read, Err(TrainError::Broken { .. })), "byte {at}");
            }
            fs::write(&file, bytes).unwrap();
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read_checked(&path).unwrap(), None);
    }
}
