//! What checksums find.

use std::io;
use std::path::{Path, PathBuf};

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
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
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
