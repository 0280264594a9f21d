//! Why a run cannot start or go on.

use std::path::{Path, PathBuf};

use mpo_data::DataError;
use mpo_models::{ModelError, open_files_hint};
use mpo_objectives::SettingError;

use crate::folder::Kind;

/// What stops a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting that makes no sense.
    #[error("{key}: expected {expected}, got {got}")]
    Setting {
        /// Its name in the configuration file.
        key: String,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A configuration file that does not parse.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Position and reason.
        problem: String,
    },
    /// The data has rows of a kind that the method cannot be trained on.
    #[error("expected {expected}, which {method} is trained on, got {got}")]
    WrongRows {
        /// The method.
        method: String,
        /// The kind of rows it needs.
        expected: &'static str,
        /// The kind that the data has.
        got: &'static str,
    },
    /// There is nothing to train on.
    #[error("expected at least one row to train on, got none")]
    NoRows,
    /// No row can have that dominant language.
    #[error("pivot: expected {expected}, got {got}")]
    Pivot {
        /// What was looked for.
        expected: String,
        /// The rows that are there.
        got: String,
        /// What to do.
        hint: String,
    },
    /// Answers without others to compare them with, or no answers.
    #[error("{}: expected pairs of answers, got {got}, which have no reward gap", path.display())]
    SingleAnswers {
        /// The file.
        path: PathBuf,
        /// The kind of its rows.
        got: &'static str,
    },
    /// No row is left.
    #[error("{}: expected at least one pair of answers, got none: all {read} rows were dropped{first}", path.display())]
    NoPairs {
        /// The file.
        path: PathBuf,
        /// How many rows were read.
        read: usize,
        /// The first of them and why it was dropped, behind a semicolon; empty if it is not known.
        first: String,
    },
    /// The run folder holds another run.
    #[error("{}: expected an empty run folder, got one with a run in it", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        kind: Kind,
    },
    /// A folder with something in it that this program did not make.
    #[error("{}: expected a new or empty folder for {kind}, got one with {found} in it", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What it was to be for.
        kind: Kind,
        /// The first of what is in it.
        found: String,
    },
    /// A run of a version that marked no folders.
    #[error("{}: expected a run of this version, got one without its mark, mpo-train.json", path.display())]
    Unmarked {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of ours that was made for something else.
    #[error("{}: expected a folder of {expected}, got one of {got}", path.display())]
    OtherKind {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        expected: Kind,
        /// What it is.
        got: Kind,
    },
    /// A file where a folder should be.
    #[error("{}: expected a folder, got a file", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// A link where a folder of ours should be.
    #[error("{}: expected a folder that this program made, got a symbolic link", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A model in a run folder that is not, or not only, what we wrote.
    #[error("{}: expected no model, or nothing but the one that this program saved, got {found}", path.display())]
    ForeignModel {
        /// Its folder.
        path: PathBuf,
        /// What else is there.
        found: String,
    },
    /// A file of a name that this program writes, which it has not written.
    #[error("{}: expected no file, or the one that this program wrote, got another", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The trained model would take the place of the one that training begins with.
    #[error("{}: expected an --output apart from the model that is trained, got the folder of its run", path.display())]
    OwnModel {
        /// The model's folder.
        path: PathBuf,
    },
    /// Another process is in the run folder.
    #[error("{}: expected to be the only run in this folder, got another one at work", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// There is nothing to resume.
    #[error("{}: expected a run to resume, got no folder or an empty one", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// The run was started on other data, weights or settings.
    #[error("{}: expected to resume the run that was started there, got {what}", path.display())]
    Changed {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A run that cannot be given the end that was asked for.
    #[error("{}: expected {expected}, got {got}", path.display())]
    NotExtended {
        /// The folder.
        path: PathBuf,
        /// What can be done.
        expected: String,
        /// What was asked for.
        got: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file of ours that is not what we wrote.
    #[error("{}: expected a file written by this program, got {problem}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Reading or writing failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A number that must be finite is not.
    #[error("expected {what} to be finite, got {value} at {row}")]
    NotFinite {
        /// The quantity.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
        /// The row, or the rows, that caused it.
        row: String,
    },
    /// A step came to NaN or an infinity.
    #[error("step {step}: {error}")]
    Diverged {
        /// The step.
        step: u64,
        /// The last one with a checkpoint.
        saved: Option<u64>,
        /// The number.
        error: Box<TrainError>,
    },
    /// Ranks that do not train one model.
    #[error("expected ranks of one run, got {problem}")]
    Ranks {
        /// What differs.
        problem: String,
    },
    /// The model cannot be asked while it trains.
    #[error(transparent)]
    Sampling(Box<dyn std::error::Error + Send + Sync>),
    /// The user asked to stop.
    #[error("stopped on request")]
    Interrupted,
    /// The data does not fit.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model does not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl From<SettingError> for TrainError {
    fn from(SettingError { key, expected, got }: SettingError) -> Self {
        Self::Setting { key, expected, got }
    }
}

impl TrainError {
    /// A setting that makes no sense.
    pub fn setting(key: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), expected: expected.into(), got: got.into() }
    }

    pub(crate) fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }

    /// The next thing to do, where there is one, in a run that can be resumed.
    pub fn hint(&self) -> Option<String> {
        self.hint_to("continue with --resume")
    }

    /// The same where `go_on` is how to go on after the cause is removed.
    pub fn hint_to(&self, go_on: &str) -> Option<String> {
        let hint = match self {
            Self::Setting { key, .. } => {
                return Some(format!("set {key} in the configuration file or as --{}", key.replace('_', "-")));
            }
            Self::Config { .. } => {
                "`mpo-train train --help` lists every key; `mpo-train train --print-config` writes a complete file"
            }
            Self::WrongRows { .. } => {
                "choose another --method, or write rows of the form {dominant, target}, which every method can use; those of one language \
                 that `prepare` makes have that form with --dominant-pairs"
            }
            Self::Pivot { hint, .. } => return Some(hint.clone()),
            Self::NoRows => "`mpo-train score --json` on the same data shows what was dropped and why",
            Self::SingleAnswers { .. } => "give rows with `chosen` and `rejected`",
            Self::NoPairs { .. } => {
                "what is dropped, docs/data.md says; without --quiet each row is listed with its reason"
            }
            Self::RunExists { kind, .. } => match kind {
                Kind::Train | Kind::Compare => "continue it with --resume, or name another --output",
                _ => "name another --output",
            },
            Self::NotOurs { path, .. } => {
                return Some(format!(
                    "name an --output that does not exist yet, such as {}; nothing was touched",
                    path.join("run-1").display()
                ));
            }
            Self::Unmarked { path } => {
                return Some(format!(
                    "its model can be used, and `report` reads it; to train again, name another --output beside --config {}",
                    path.join("config.yaml").display()
                ));
            }
            Self::OtherKind { .. } | Self::NotAFolder { .. } => "name another --output; nothing was touched",
            Self::Link { .. } => "make a link of the whole folder instead, or name another --output",
            Self::ForeignModel { .. } => {
                "move the folder away and give the same command again, or name another --output; nothing was touched"
            }
            Self::Foreign { .. } => "move the file away, or name another --output; nothing was touched",
            Self::OwnModel { .. } => "name another --output",
            Self::Locked { .. } => "wait for it, or name another --output",
            Self::NothingToResume { .. } => "start it without --resume",
            Self::Changed { .. } => {
                "resume with the data, model and settings it was started with, or name another --output"
            }
            Self::NotExtended { hint, .. } => hint,
            Self::Broken { remedy, .. } => *remedy,
            Self::Io { error, .. } => match error.kind() {
                std::io::ErrorKind::StorageFull => {
                    return Some(format!("free some space and {go_on}"));
                }
                std::io::ErrorKind::FileTooLarge => {
                    return Some(format!("allow larger files (`ulimit -f`) and {go_on}"));
                }
                std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::ReadOnlyFilesystem
                | std::io::ErrorKind::NotADirectory => "name an --output that can be written to",
                std::io::ErrorKind::NotFound => "check the path",
                _ => return open_files_hint(error).map(|hint| format!("{hint} and {go_on}")),
            },
            Self::NotFinite { .. } => "check the model's weights, and the row",
            Self::Diverged { saved, .. } => {
                let lower = "lower lr or beta, or drop the row, and name another --output";
                return Some(match saved {
                    Some(step) => format!("{lower}; the checkpoint of step {step} is intact"),
                    None => format!("{lower}; at the first step, check the model's weights"),
                });
            }
            Self::Ranks { .. } => {
                "start all ranks by one command, each with the same program, rows and weights at hand; nothing was trained"
            }
            Self::Sampling(_) => "set eval_samples to 0, which samples no answers",
            Self::Interrupted => go_on,
            Self::Data(error) => return error.hint(),
            Self::Model(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn limits_are_named_with_how_to_go_on() {
        let hint = |code: i32, go_on: &str| {
            let error = std::io::Error::from_raw_os_error(code);
            TrainError::io(Path::new("x"), error).hint_to(go_on)
        };
        assert_eq!(hint(24, "try again").unwrap(), "allow more open files (`ulimit -n`) and try again");
        assert_eq!(hint(28, "try again").unwrap(), "free some space and try again");
        assert_eq!(hint(5, "try again"), None);
    }
}
