//! Why a model cannot be had.

use std::io;
use std::path::PathBuf;

use hf_hub::HFError;

use crate::{checkpoint::CheckpointError, config::ConfigError, memory::OVERRIDE};

/// A model that cannot be found, fetched, understood, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The name leads nowhere.
    #[error("{}: expected a folder or the owner/name of a repository, got neither", shown(model))]
    NotAModel {
        /// The name as given.
        model: String,
    },
    /// A model cannot be sent to it.
    #[error("{}: expected the owner/name of a repository", shown(name))]
    NotARepository {
        /// The name as given.
        name: String,
    },
    /// The Hub did not hand the model over.
    #[error("{model}: expected to fetch it from the Hugging Face Hub, got: {error}")]
    Download {
        /// The repository.
        model: String,
        /// The reason.
        error: Box<HFError>,
    },
    /// The path is not a model's folder, or its weights cannot be used.
    #[error("{}: expected {expected}, got {found}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
        /// What to do about it.
        remedy: String,
    },
    /// A head that should be the embedding is another matrix.
    #[error("{}: expected lm_head.weight to be equal to the embedding, as tie_word_embeddings says, got other numbers", dir.display())]
    Untied {
        /// The model's folder.
        dir: PathBuf,
    },
    /// Weights in NF4 are to be trained.
    #[error("{}: expected weights to train in f32, f16 or bf16, got some in NF4", dir.display())]
    Packed {
        /// The model's folder.
        dir: PathBuf,
    },
    /// Weights in NF4 are to be saved as a whole model.
    #[error("{}: expected to save a model in f32, f16 or bf16, got one in NF4", dir.display())]
    PackedWhole {
        /// The folder for it.
        dir: PathBuf,
    },
    /// There is not enough memory.
    #[error("{}: expected {:.1} GB for {what}, got {:.1} GB that are free", dir.display(), gigabytes(*needed), gigabytes(*free))]
    Memory {
        /// The model's folder.
        dir: PathBuf,
        /// What has to be held.
        what: &'static str,
        /// Bytes that it takes at least.
        needed: u64,
        /// Bytes that there are at most.
        free: u64,
    },
    /// A tensor is larger than the device takes one.
    #[error("{}: expected tensors of at most {largest} bytes, which the device takes, got {name} of {bytes}", dir.display())]
    TooLarge {
        /// The model's folder.
        dir: PathBuf,
        /// The tensor.
        name: String,
        /// What it would take on the device.
        bytes: u64,
        /// The most that the device takes in one tensor.
        largest: u64,
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
    /// An adapter for linear maps that the model does not have.
    #[error("expected an adapter for linear maps of the model, got one for {target:?}, which names none")]
    Target {
        /// What is to name some.
        target: String,
        /// The last parts of their names.
        names: Vec<&'static str>,
    },
    /// The weights do not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A path or name as messages have it: as it is, unless there would be nothing to see.
pub(crate) fn shown(name: &str) -> &str {
    if name.trim().is_empty() { "\"\"" } else { name }
}

/// What to do where a process has as many files open as it may.
pub fn open_files_hint(error: &io::Error) -> Option<&'static str> {
    // EMFILE and ENFILE, which have no kind of their own.
    let is_limit = cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24));
    is_limit.then_some("allow more open files (`ulimit -n`)")
}

impl ModelError {
    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAModel { .. } => Some(
                "check the path, or name a repository such as Qwen/Qwen2.5-0.5B-Instruct".into(),
            ),
            Self::NotARepository { .. } => Some("your own name on the hub is the owner: my-name/my-model".into()),
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
            Self::UnknownTensors { names, .. } => Some(unknown(names).into()),
            Self::Folder { remedy, .. } => Some(remedy.clone()),
            Self::Target { names, .. } => Some(format!("there are {}, or all of them: all-linear", names.join(", "))),
            Self::Packed { .. } => Some("train an adapter beside them: --adapter lora".into()),
            Self::PackedWhole { .. } => {
                Some("save the adapter alone, and merge it into its base in a second step: mpo-train merge".into())
            }
            Self::Memory { .. } => Some(format!(
                "choose a smaller model or a machine with more memory, or end other programs; with {OVERRIDE}=1 it is tried \
                 all the same"
            )),
            Self::TooLarge { .. } => Some(
                "choose a smaller model or another device: CUDA takes a quarter of the card's memory in one tensor, the CPU any"
                    .into(),
            ),
            Self::Untied { .. } => Some(
                "releases of Transformers disagree on such a model: write \"tie_word_embeddings\": false into config.json to \
                 use this head, or save the model without it to use the embedding"
                    .into(),
            ),
            Self::Config(error) => Some(error.hint().into()),
            Self::Checkpoint(error) => error.hint(),
        }
    }
}

fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

/// What to do about tensors without a place.
fn unknown(names: &[String]) -> &'static str {
    if names.iter().any(|name| name.contains("lora_") || name.contains(".base_layer.")) {
        "an adapter has a place at the linear maps of the layers alone, and in a folder of its own: merge it into the model \
         (merge_and_unload in PEFT) and save that"
    } else {
        "check that config.json belongs to these weights, and that its num_hidden_layers and attention_bias are right"
    }
}

/// The first few of `names`, and how many more there are.
pub(crate) fn abridged(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>();
    match names.len().saturating_sub(SHOWN) {
        0 if first.is_empty() => "none".into(),
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
