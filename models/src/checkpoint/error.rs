//! What can be wrong with a checkpoint.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::HEAD;
use crate::checksums::ChecksumError;
use crate::error::open_files_hint;
use crate::kind::{FileKind, SAFETENSORS};

/// A checkpoint that cannot be read or written. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// There are no weights in the folder.
    #[error("{}: expected model.safetensors or model.safetensors.index.json, got neither", .dir.display())]
    NoWeights {
        /// The folder.
        dir: PathBuf,
    },
    /// A file is of another kind than its name says.
    #[error("{}: expected {expected}, got {}", .file.display(), .kind.what)]
    Kind {
        /// The file.
        file: PathBuf,
        /// What belongs there.
        expected: &'static str,
        /// What it is.
        kind: FileKind,
    },
    /// A file breaks its format.
    #[error("{}: {problem}", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Expected and got.
        problem: String,
    },
    /// A file is as its format wants it, and holds something that is not read.
    #[error("{}: expected {expected}, got {got}", .file.display())]
    Unread {
        /// The file.
        file: PathBuf,
        /// What is read.
        expected: String,
        /// What it holds.
        got: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A file would be replaced.
    #[error("{}: expected the name of a new file, got one that is there", .file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// A tensor that the model needs is not there.
    #[error("{}: expected a tensor named {name}, got none (there are: {got})", .dir.display())]
    Missing {
        /// The checkpoint's folder.
        dir: PathBuf,
        /// The tensor.
        name: String,
        /// Some that there are.
        got: String,
    },
    /// A tensor has another shape than the model's.
    #[error("{}: {name}: expected shape {expected:?}, got {got:?}", .file.display())]
    Shape {
        /// The file that holds the tensor.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// The shape the configuration implies.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor's numbers are of a type that is not for weights.
    #[error("{}: {name}: expected F32, F16 or BF16, got {got}", .file.display())]
    Dtype {
        /// The file that holds the tensor.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// The type in the file.
        got: String,
    },
    /// A weight is finite, but not in the type it is to be saved in.
    #[error("{name}: expected weights of at most 65504 for F16, got {got}")]
    Overflow {
        /// The tensor.
        name: String,
        /// The weight.
        got: f32,
    },
    /// A weight is NaN or infinite.
    #[error("{name}: expected finite weights, got {got}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The first that is not finite.
        got: f32,
    },
    /// The target of a save is in use.
    #[error("{}: expected {expected}, got {found}", .dir.display())]
    Occupied {
        /// The target.
        dir: PathBuf,
        /// What could be written to.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A file is not what was written, as its checksum says.
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
}

impl CheckpointError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::Io { path, error }
    }

    pub(crate) fn malformed(file: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed { file: file.to_path_buf(), problem: problem.into() }
    }

    /// That a file is of another kind than it should be, if its kind is known.
    pub(super) fn kind(file: &Path, expected: &'static str) -> Option<Self> {
        let kind = FileKind::of_file(file)?;
        (kind != SAFETENSORS).then(|| Self::Kind { file: file.to_path_buf(), expected, kind })
    }

    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => "check the path",
                io::ErrorKind::PermissionDenied => "check who owns the folder",
                io::ErrorKind::FileTooLarge => "allow larger files (`ulimit -f`)",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space or choose another disk; nothing was left half written"
                }
                _ => return open_files_hint(error).map(Into::into),
            },
            Self::NoWeights { .. } => "pass a folder in Hugging Face layout with weights in safetensors",
            Self::Malformed { .. } => "download or save the file again; it may have been cut short",
            Self::Kind { kind, .. } => kind.remedy,
            Self::Unread { hint, .. } => hint,
            Self::Exists { .. } => "choose another name, or move the file away; nothing was touched",
            Self::Missing { name, .. } if name == HEAD => {
                "if the model's head is its embedding, write \"tie_word_embeddings\": true into config.json; otherwise the head \
                 was not saved, and the weights cannot be used"
            }
            Self::Missing { .. } | Self::Shape { .. } => {
                "check that config.json and the weights belong to the same model"
            }
            Self::Dtype { got, .. } if got == "F64" => "save the model in float32 first",
            Self::Dtype { .. } => "choose a checkpoint that is not quantized in this way",
            Self::Overflow { .. } => "save as bf16 or f32",
            Self::NotFinite { .. } => {
                "the weights diverged, and nothing was replaced: train again from the last checkpoint or from the start, \
                 with a lower learning rate"
            }
            Self::Occupied { .. } => "choose another folder, or move away what is in this one; nothing was touched",
            Self::Checksum(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}
