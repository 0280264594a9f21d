//! A file that holds one JSON object.

use std::path::Path;
use std::{fs, io};

use serde_json::Value;

use super::ConfigError;
use super::fields::{COMPARE, abridged};
use crate::error::open_files_hint;
use crate::kind::FileKind;

/// No published configuration comes near.
const MAX_BYTES: u64 = 1 << 24;

/// Reads a regular file of bounded size.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    read_up_to(file, MAX_BYTES)
}

/// The same of a bound of its own.
pub(crate) fn read_up_to(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    match fs::metadata(file)? {
        meta if !meta.is_file() => Err(io::Error::other("no file")),
        meta if meta.len() > most => Err(io::Error::other(format!("a file of {} bytes", meta.len()))),
        _ => fs::read(file),
    }
}

pub(crate) fn parse(file: &Path, bytes: &[u8]) -> Result<Value, ConfigError> {
    serde_json::from_slice(bytes).map_err(|error| match FileKind::of(bytes) {
        Some(kind) => unreadable(file, kind.what.to_owned(), kind.remedy),
        None => unreadable(file, error.to_string(), "download or save the file again"),
    })
}

pub(crate) fn not_an_object(file: &Path, value: &Value) -> ConfigError {
    unreadable(file, abridged(value), COMPARE)
}

/// A file that the system does not let us read; `hint` is what most often helps.
pub(crate) fn unread(file: &Path, error: &io::Error, hint: &'static str) -> ConfigError {
    unreadable(file, error.to_string(), open_files_hint(error).unwrap_or(hint))
}

/// A file that does not hold a JSON object.
fn unreadable(file: &Path, got: String, hint: &'static str) -> ConfigError {
    ConfigError { file: file.to_path_buf(), key: "the file".into(), expected: "a JSON object".into(), got, hint }
}
