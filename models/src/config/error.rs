//! A `config.json` that does not describe a model this crate can run.

use std::path::PathBuf;

/// One key of one configuration file, what it should hold and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {key}: expected {expected}, got {got}", .file.display())]
pub struct ConfigError {
    pub(crate) file: PathBuf,
    pub(crate) key: String,
    pub(crate) expected: String,
    pub(crate) got: String,
    pub(crate) hint: &'static str,
}

impl ConfigError {
    /// The next thing to do.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}
