//! Why a model cannot be had.

use std::path::PathBuf;

use hf_hub::HFError;

use crate::{checkpoint::CheckpointError, config::ConfigError};

/// A model that cannot be found, fetched, understood, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The name leads nowhere.
    #[error("{model:?}: expected a folder or the owner/name of a repository, got neither")]
    NotAModel {
        /// The name as given.
        model: String,
    },
    /// The Hub did not hand the model over.
    #[error("{model}: expected to fetch it from the Hugging Face Hub, got: {error}")]
    Download {
        /// The repository.
        model: String,
        /// The reason.
        error: Box<HFError>,
    },
    /// The configuration does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder holds weights this architecture has no place for.
    #[error("{}: expected only the architecture's tensors, got also {}", dir.display(), abridged(names))]
    UnknownTensors {
        /// The model's folder.
        dir: PathBuf,
        /// The tensors.
        names: Vec<String>,
    },
    /// The weights do not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl ModelError {
    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAModel { .. } => Some(
                "check the path, or name a repository such as Qwen/Qwen2.5-0.5B-Instruct".into(),
            ),
            Self::Download { model, error } => Some(match **error {
                HFError::AuthRequired { .. }
                | HFError::Forbidden { .. }
                | HFError::RepoNotFound { .. } => format!(
                    "check the name; if the model is gated, accept its terms at huggingface.co/{model} and set HF_TOKEN"
                ),
                HFError::RevisionNotFound { .. } => {
                    "check the revision: a branch, tag or commit".into()
                }
                _ => "check the network, or download the model by hand and pass its folder".into(),
            }),
            Self::UnknownTensors { .. } => Some(
                "check that config.json belongs to these weights; an adapter or a multimodal model is not a plain decoder".into(),
            ),
            Self::Config(error) => Some(error.hint().into()),
            Self::Checkpoint(error) => error.hint().map(Into::into),
        }
    }
}

/// The first few of `names`, and how many more there are.
fn abridged(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = names
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>();
    match names.len().saturating_sub(SHOWN) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
