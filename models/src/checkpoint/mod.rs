//! A model's folder in Hugging Face layout: weights in and out, checked on the way in, atomic on the way out.

mod error;
mod header;
mod read;
mod write;

use std::{io, path::Path};

pub use error::CheckpointError;
pub use read::Checkpoint;
pub use write::{LazyTensor, SaveOptions, save};

/// Weights in one file.
const MODEL_FILE: &str = "model.safetensors";

/// Which of several files holds which tensor.
const INDEX_FILE: &str = "model.safetensors.index.json";

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
    fn torch(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
        }
    }
}

/// A folder's entries reach the disk only when the folder is synced too.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}
