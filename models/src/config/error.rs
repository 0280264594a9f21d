//! A `config.json` that does not describe a model this crate can run.

use std::path::PathBuf;

/// One key of one configuration file, what it should hold and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {key}: expected {expected}, got {got}", .file.display())]
pub struct ConfigError {
    pub(super) file: PathBuf,
    pub(super) key: String,
    pub(super) expected: String,
    pub(super) got: String,
    pub(super) hint: &'static str,
}

impl ConfigError {
    /// The next thing to do.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}
