//! Why something cannot be evaluated.

use std::io;
use std::path::{Path, PathBuf};

use crate::benchmark::BENCHMARKS;
use crate::chat::ChatError;

/// What stops an evaluation or a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Expected, and got.
        problem: String,
    },
    /// No benchmark of this name.
    #[error("expected a benchmark ({}), got {name}", names())]
    UnknownBenchmark {
        /// As given.
        name: String,
    },
    /// Nothing to ask.
    #[error("{}: expected at least one question in the languages asked for, got none", path.display())]
    NoItems {
        /// The file or folder.
        path: PathBuf,
        /// What it should look like.
        layout: &'static str,
    },
    /// Too little to compute with.
    #[error("{what}: expected {expected}, got {got}")]
    TooFew {
        /// What is to be computed.
        what: &'static str,
        /// What it needs.
        expected: &'static str,
        /// What there is.
        got: usize,
    },
    /// A folder is no run's.
    #[error("{}: expected a run or an evaluation, got neither config.yaml nor evaluation.json", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The report cannot be drawn.
    #[error("report: {0}")]
    Report(String),
    /// A judge cannot be asked.
    #[error(transparent)]
    Chat(#[from] ChatError),
}

fn names() -> String {
    let names: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
    names.join(", ")
}

impl EvalError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            path: path.to_owned(),
            error,
        }
    }

    pub(crate) fn broken(path: &Path, problem: String) -> Self {
        Self::Broken {
            path: path.to_owned(),
            problem,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { error, .. } => {
                (error.kind() == io::ErrorKind::NotFound).then(|| "check the path".into())
            }
            Self::Broken { .. } => Some("docs/evaluation.md says what each file looks like".into()),
            Self::UnknownBenchmark { .. } => Some("give it as NAME=PATH".into()),
            Self::NoItems { layout, .. } => Some(format!("expected {layout}")),
            Self::NoRun { .. } => Some("name the --output of `train` or of `eval`".into()),
            Self::Report(_) => None,
            Self::TooFew { .. } => Some("give more rows".into()),
            Self::Chat(error) => error.hint(),
        }
    }
}
