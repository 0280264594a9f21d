//! Checksums of the files that this program writes and reads again, kept in a list beside them.
//!
//! The list has a line for each file, its BLAKE3 and its name, so that `b3sum --check mpo-train.blake3` reads it too. It is
//! also how a folder that we wrote is told from any other. Whoever changes a file on purpose deletes its line.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use blake3::{Hash, Hasher};

/// The list's name in the folder whose files it names.
pub const CHECKSUMS_FILE: &str = "mpo-train.blake3";

/// No list of ours comes near: 100,000 files of long names.
const MAX_LIST: u64 = 1 << 24;

/// Digits of a BLAKE3.
const DIGITS: usize = 64;

/// A file that is not what was written, or a list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChecksumError {
    /// A listed file has other bytes.
    #[error("{}: expected the bytes that were written, of BLAKE3 {expected:.16}…, got {got:.16}…", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// The list that names it.
        list: PathBuf,
        /// What the list says, in hexadecimal digits.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// A listed file is not there.
    #[error("{}: expected the file, which {} names, got none", path.display(), list.display())]
    Gone {
        /// The file.
        path: PathBuf,
        /// The list that names it.
        list: PathBuf,
    },
    /// A file that is not listed lies among those that are.
    #[error("{}: expected only files that {} names, got another", path.display(), list.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },
    /// The list itself is damaged.
    #[error("{}: expected a line of {DIGITS} hexadecimal digits, two spaces and a file name, got {got}", list.display())]
    List {
        /// The list.
        list: PathBuf,
        /// What it has instead.
        got: String,
    },
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

impl ChecksumError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::Io { path, error }
    }

    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Differs { list, .. } | Self::Gone { list, .. } => Some(format!(
                "the file was damaged or changed since it was written: restore it or make it again; if the change is meant, \
                 delete the file's line in {}",
                list.display()
            )),
            Self::Unlisted { .. } => Some("move the file away, or choose another folder".into()),
            Self::List { list, .. } => {
                Some(format!("the list is damaged: restore it; without {} files are used unchecked", list.display()))
            }
            Self::Io { .. } => None,
        }
    }
}

/// What the files of a folder were when they were written, by their name there; `/` stands between folders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checksums {
    sums: BTreeMap<String, Hash>,
}

impl Checksums {
    /// Of these files in `dir`.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn of_files<'a>(dir: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<Self, ChecksumError> {
        let sum = |name: &str| {
            let path = dir.join(name);
            let sum = hash(&path).map_err(ChecksumError::io(&path))?;
            Ok((name.to_owned(), sum))
        };
        let sums = names.into_iter().map(sum).collect::<Result<_, _>>()?;
        Ok(Self { sums })
    }

    /// Of every file in `dir` and below, but the list. A name that does not fit on a line of text is left out.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn of_folder(dir: &Path) -> Result<Self, ChecksumError> {
        let mut names = vec![];
        each_file(dir, &mut |path| {
            names.extend(listed_name(dir, path));
            Ok(())
        })?;
        Self::of_files(dir, names.iter().map(String::as_str))
    }

    /// Writes the list into `dir` and syncs it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), ChecksumError> {
        let lines = self.sums.iter();
        let text: String = lines.map(|(name, sum)| format!("{}  {name}\n", sum.to_hex())).collect();
        let path = dir.join(CHECKSUMS_FILE);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(ChecksumError::io(&path))
    }

    /// The list in `dir`, if there is one.
    ///
    /// # Errors
    /// If it is damaged or cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, ChecksumError> {
        let list = dir.join(CHECKSUMS_FILE);
        let damaged = |got: String| ChecksumError::List { list: list.clone(), got };
        match fs::metadata(&list) {
            Ok(meta) if meta.len() > MAX_LIST => {
                return Err(damaged(format!("a file of {} bytes", meta.len())));
            }
            Ok(meta) if !meta.is_file() => return Err(damaged("no file".into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ChecksumError::io(&list)(error)),
        }
        let text = fs::read(&list).map_err(ChecksumError::io(&list))?;
        let text = String::from_utf8(text).map_err(|_| damaged("bytes that are no text".into()))?;
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let parsed = line
                .split_once("  ")
                .filter(|(_, name)| stays_inside(name))
                .and_then(|(sum, name)| Some((name, Hash::from_hex(sum).ok()?)));
            let (name, sum) = parsed.ok_or_else(|| damaged(format!("{line:.80?}")))?;
            if sums.insert(name.to_owned(), sum).is_some() {
                return Err(damaged(format!("{name:.80?} twice")));
            }
        }
        Ok(Some(Self { sums }))
    }

    /// Whether there is a line for this file.
    pub fn contains(&self, name: &str) -> bool {
        self.sums.contains_key(name)
    }

    /// Checks the listed files in `dir` that `which` selects by name.
    ///
    /// # Errors
    /// If one has other bytes, is gone or cannot be read.
    pub fn verify(&self, dir: &Path, which: impl Fn(&str) -> bool) -> Result<(), ChecksumError> {
        let list = || dir.join(CHECKSUMS_FILE);
        for (name, expected) in self.sums.iter().filter(|(name, _)| which(name)) {
            let path = dir.join(name);
            match hash(&path) {
                Ok(got) if got == *expected => {}
                Ok(got) => {
                    return Err(ChecksumError::Differs {
                        path,
                        list: list(),
                        expected: expected.to_hex().to_string(),
                        got: got.to_hex().to_string(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(ChecksumError::Gone { path, list: list() });
                }
                Err(error) => return Err(ChecksumError::io(&path)(error)),
            }
        }
        Ok(())
    }

    /// Checks that `dir` holds what was written there and nothing else, so that it may be removed.
    ///
    /// # Errors
    /// If a file was changed, taken away or put beside the others, or cannot be read.
    pub fn verify_nothing_else(&self, dir: &Path) -> Result<(), ChecksumError> {
        each_file(dir, &mut |path| match listed_name(dir, path) {
            Some(name) if self.contains(&name) => Ok(()),
            _ => Err(ChecksumError::Unlisted { path: path.to_path_buf(), list: dir.join(CHECKSUMS_FILE) }),
        })?;
        self.verify(dir, |_| true)
    }
}

/// Hashes a file on every core.
fn hash(path: &Path) -> io::Result<Hash> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("expected a file"));
    }
    let mut hasher = Hasher::new();
    hasher.update_mmap_rayon(path)?;
    Ok(hasher.finalize())
}

/// Calls `visit` for whatever in `dir` and below is no folder, but the list itself. Links are not followed.
fn each_file(dir: &Path, visit: &mut impl FnMut(&Path) -> Result<(), ChecksumError>) -> Result<(), ChecksumError> {
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(ChecksumError::io(&folder))? {
            let entry = entry.map_err(ChecksumError::io(&folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(ChecksumError::io(&path))?;
            if kind.is_dir() {
                folders.push(path);
            } else if path != dir.join(CHECKSUMS_FILE) {
                visit(&path)?;
            }
        }
    }
    Ok(())
}

/// The name that a file below `dir` has in the list.
fn listed_name(dir: &Path, path: &Path) -> Option<String> {
    let parts = path.strip_prefix(dir).ok()?.components();
    let parts: Option<Vec<&str>> = parts.map(|part| part.as_os_str().to_str()).collect();
    parts.map(|parts| parts.join("/")).filter(|name| !name.contains(['\n', '\r']) && stays_inside(name))
}

/// Names nothing outside the folder.
fn stays_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A folder with a file, one in a folder below, and their list.
    fn folder() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("a"), vec![7; 100_000]).unwrap();
        fs::write(dir.path().join("below/b c"), "text").unwrap();
        let sums = Checksums::of_folder(dir.path()).unwrap();
        sums.write(dir.path()).unwrap();
        dir
    }

    fn verify(dir: &TempDir) -> Result<(), ChecksumError> {
        let sums = Checksums::read(dir.path())?.unwrap();
        sums.verify(dir.path(), |_| true)
    }

    #[test]
    fn the_list_is_one_that_b3sum_reads() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("empty"), "").unwrap();
        let sums = Checksums::of_folder(dir.path()).unwrap();
        sums.write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(CHECKSUMS_FILE)).unwrap();
        // The BLAKE3 of nothing, as its authors publish it.
        let of_nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(text, format!("{of_nothing}  empty\n"));
        assert_eq!(Checksums::read(dir.path()).unwrap(), Some(sums));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let dir = folder();
        verify(&dir).unwrap();
        for (name, at) in [("a", 0), ("a", 77_777), ("below/b c", 3)] {
            let path = dir.path().join(name);
            let good = fs::read(&path).unwrap();
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                fs::write(&path, &bad).unwrap();
                let error = verify(&dir).unwrap_err();
                assert!(matches!(error, ChecksumError::Differs { .. }), "{error}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
                assert!(error.hint().unwrap().contains(CHECKSUMS_FILE));
            }
            fs::write(&path, &good).unwrap();
        }
        verify(&dir).unwrap();
    }

    #[test]
    fn a_flipped_bit_in_the_list_is_found_or_harmless() {
        let dir = folder();
        let path = dir.path().join(CHECKSUMS_FILE);
        let good = fs::read(&path).unwrap();
        let sums = Checksums::read(dir.path()).unwrap().unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                fs::write(&path, &bad).unwrap();
                // A digit in capitals is the same digit; nothing else may pass.
                let read = Checksums::read(dir.path());
                let same = read.as_ref().is_ok_and(|read| read.as_ref() == Some(&sums));
                assert!(same || verify(&dir).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_change_that_is_meant_is_accepted_by_deleting_its_line() {
        let dir = folder();
        fs::write(dir.path().join("a"), "other").unwrap();
        assert!(verify(&dir).is_err());
        let list = dir.path().join(CHECKSUMS_FILE);
        let text = fs::read_to_string(&list).unwrap();
        let rest: Vec<&str> = text.lines().filter(|line| !line.ends_with("  a")).collect();
        fs::write(&list, rest.join("\n")).unwrap();
        verify(&dir).unwrap();
    }

    #[test]
    fn nothing_else_means_nothing_else() {
        let nothing_else = |dir: &TempDir| {
            let sums = Checksums::read(dir.path()).unwrap().unwrap();
            sums.verify_nothing_else(dir.path())
        };
        let dir = folder();
        nothing_else(&dir).unwrap();
        fs::write(dir.path().join("below/notes"), "mine").unwrap();
        let error = nothing_else(&dir).unwrap_err();
        assert!(matches!(error, ChecksumError::Unlisted { .. }), "{error}");
        fs::remove_file(dir.path().join("below/notes")).unwrap();
        fs::remove_file(dir.path().join("a")).unwrap();
        let error = nothing_else(&dir).unwrap_err();
        assert!(matches!(error, ChecksumError::Gone { .. }), "{error}");
    }

    #[test]
    fn a_list_that_leads_out_of_the_folder_is_refused() {
        let dir = folder();
        let sum = blake3::hash(b"").to_hex();
        for name in ["../a", "/etc/hosts", "below/../../a", ".", ""] {
            fs::write(dir.path().join(CHECKSUMS_FILE), format!("{sum}  {name}\n")).unwrap();
            let error = Checksums::read(dir.path()).unwrap_err();
            assert!(matches!(error, ChecksumError::List { .. }), "{name}: {error}");
        }
        let none = tempfile::tempdir().unwrap();
        assert_eq!(Checksums::read(none.path()).unwrap(), None);
    }
}
