//! Checksums of the files that this program writes and reads again, kept in a list beside them.
//!
//! The list has a line for each file, its BLAKE3 and its name, so that `b3sum --check mpo-train.blake3` reads it too. It is
//! also how a folder that we wrote is told from any other. Whoever changes a file on purpose deletes its line.

mod error;
mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use blake3::Hash;

pub use error::ChecksumError;
use files::{each_file, hash, listed_name, stays_inside};

/// The list's name in the folder whose files it names.
pub const CHECKSUMS_FILE: &str = "mpo-train.blake3";

/// No list of ours comes near: 100,000 files of long names.
const MAX_LIST: u64 = 1 << 24;

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
        let text = String::from_utf8(text).map_err(|_| damaged("bytes that are not text".into()))?;
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
