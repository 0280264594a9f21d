//! From a model's folder, or an adapter's and that of its base, to one file.

use std::path::Path;

use mpo_progress::Progress;

use super::architecture::{Change, Family};
use super::config::ROPE_FREQS;
use super::merging::Merging;
use super::metadata::Metadata;
use super::types::TensorType;
use super::write::{self, Planned};
use super::{hyperparameters, tokenizer};
use crate::checkpoint::{CheckpointError, verify_weights};
use crate::{AdapterFolder, ModelConfig, ModelError};

/// What matrices are written in; all else is f32, as llama.cpp wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufDtype {
    /// 16 bits, of which 10 fraction.
    F16,
    /// 16 bits, of which 7 fraction.
    Bf16,
    /// 8 bits and a scale for each 32 numbers; matrices whose rows cannot be cut so are written in f16.
    Q8_0,
}

impl GgufDtype {
    /// The number that stands for a file of this type.
    fn file_type(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::Q8_0 => 7,
            Self::Bf16 => 32,
        }
    }

    fn of(self, shape: &[usize]) -> TensorType {
        let row = shape.last().copied().unwrap_or(0);
        match (self, shape.len()) {
            (_, 0 | 1) => TensorType::F32,
            (Self::Bf16, _) => TensorType::BF16,
            (Self::Q8_0, _) if row.is_multiple_of(32) => TensorType::Q8_0,
            (Self::F16 | Self::Q8_0, _) => TensorType::F16,
        }
    }
}

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct GgufOptions<'a> {
    /// What matrices are written in.
    pub dtype: GgufDtype,
    /// What the file says that the model is called.
    pub name: &'a str,
}

/// Writes the model in the folder `dir` as the file `file`; an adapter is merged into its base. It is written tensor by tensor
/// under another name and renamed when it is whole: whatever fails, nothing is left behind. A file that is there is not
/// replaced.
///
/// # Errors
/// If llama.cpp would not compute what this model does, its tokenizer is of a kind that llama.cpp does not know, or something
/// cannot be read or written; none if `progress` asks to stop.
pub fn write_gguf(
    dir: &Path,
    file: &Path,
    options: &GgufOptions<'_>,
    progress: &dyn Progress,
) -> Result<Option<()>, ModelError> {
    let adapter = AdapterFolder::find(dir)?;
    let (base, tokenizer_dir) = match &adapter {
        None => (dir, dir),
        Some(adapter) => (adapter.base(), adapter.tokenizer_dir()),
    };
    write::check_free(file)?;
    for dir in [dir, base] {
        crate::verify_description(dir)?;
        verify_weights(dir)?;
    }
    let config = ModelConfig::from_dir(base)?;
    let decoder = &config.decoder;
    if decoder.encoder.is_some() {
        return Err(ModelError::Folder {
            path: base.to_owned(),
            expected: "a decoder alone, to write as GGUF",
            found: "an encoder and a decoder".into(),
            remedy: "models of this kind are not written as GGUF; use the folder, which Transformers loads".into(),
        });
    }
    let family = Family::of(decoder);
    let mut metadata = Metadata::default();
    metadata.put("general.architecture", family.names().0);
    metadata.put("general.type", "model");
    metadata.put("general.name", options.name);
    metadata.put("general.file_type", options.dtype.file_type());
    metadata.put("general.quantization_version", 2u32);
    let frequencies = hyperparameters::put(base, decoder, &mut metadata)?;
    tokenizer::put(tokenizer_dir, &config, &mut metadata)?;

    let weights = Merging::open(base, adapter.as_ref(), decoder)?;
    let tensors = weights.tensors(base, decoder)?;
    let heads = [decoder.attention.num_heads, decoder.attention.num_kv_heads];
    let mut planned = vec![];
    if let Some(frequencies) = frequencies {
        planned.push(Planned {
            name: ROPE_FREQS.into(),
            shape: vec![frequencies.len()],
            of: TensorType::F32,
            change: Change::None,
            values: Box::new(move || Ok(frequencies.clone())),
        });
    }
    for (name, shape) in tensors {
        let ggml = family.to_ggml(&name).ok_or_else(|| {
            CheckpointError::malformed(base, format!("expected tensors that llama.cpp has a name for, got {name}"))
        })?;
        let (weights, of) = (&weights, options.dtype.of(&shape));
        planned.push(Planned {
            name: ggml,
            change: family.change(&name, heads),
            of,
            shape: shape.clone(),
            values: Box::new(move || weights.values(&name, &shape)),
        });
    }
    Ok(write::write(file, &metadata, &planned, progress)?)
}
