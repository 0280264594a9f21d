//! A model's folder in Hugging Face layout: weights in and out, checked on the way in, atomic on the way out.

mod admit;
mod chat_template;
mod companions;
mod error;
mod header;
mod names;
mod nf4;
mod open;
mod read;
mod save;
#[cfg(test)]
mod testing;
mod write;

use std::path::Path;

pub use error::CheckpointError;
pub use open::Checkpoint;
pub(crate) use open::map;
pub(crate) use save::save_in_place;
pub use save::{SaveOptions, save};
pub use write::LazyTensor;
pub(crate) use write::{write_config, write_file, write_synced};

use crate::adapter::ADAPTER_FILE;
use crate::checksums::Checksums;
use crate::config::{CONFIG_FILE, GENERATION_FILE};

/// Weights in one file.
pub(crate) const MODEL_FILE: &str = "model.safetensors";

/// An adapter's weights.
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// The head, where it is not the embedding.
pub(crate) const HEAD: &str = "lm_head.weight";

/// Which of several files holds which tensor.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

/// What turns text into tokens and back; a checkpoint has some of these.
const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
];

/// The floating-point type that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightDtype {
    /// 32 bits: what was trained, to the bit.
    F32,
    /// 16 bits, of which 10 fraction: up to 65,504.
    F16,
    /// 16 bits, of which 7 fraction: the range of `F32`.
    BF16,
}

impl WeightDtype {
    /// The nearest number that this type has.
    pub(crate) fn rounded(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => half::f16::from_f32(value).to_f32(),
            Self::BF16 => half::bf16::from_f32(value).to_f32(),
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// The name in a safetensors header.
    fn safetensors(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
        }
    }

    /// The name in a `config.json`.
    pub(crate) fn torch(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
        }
    }
}

/// Whether the contents of a file enter what a model computes from a text, weights aside.
pub(crate) fn describes_model(name: &str) -> bool {
    let descriptions = [CONFIG_FILE, GENERATION_FILE, ADAPTER_FILE, "chat_template.json"];
    descriptions.contains(&name) || TOKENIZER_FILES.contains(&name) || name.starts_with("additional_chat_templates/")
}

/// Checks the files of a model's folder that say what the model is, where the folder has a list of checksums.
///
/// # Errors
/// If one is not what was written, or cannot be read.
pub fn verify_description(dir: &Path) -> Result<(), CheckpointError> {
    verify(dir, describes_model)
}

/// The same for its weights.
pub(crate) fn verify_weights(dir: &Path) -> Result<(), CheckpointError> {
    verify(dir, |name| name.ends_with(".safetensors") || name == INDEX_FILE)
}

fn verify(dir: &Path, which: impl Fn(&str) -> bool) -> Result<(), CheckpointError> {
    match Checksums::read(dir)? {
        None => Ok(()),
        Some(sums) => Ok(sums.verify(dir, which)?),
    }
}
