//! The tensors of a file under the names, and with the values, that Transformers knows.

use std::path::Path;

use half::bf16;
use mpo_kernels::allocator::lasting;
use safetensors::{Dtype, tensor::TensorInfo};

use super::architecture::Change;
use super::blocks;
use super::config::{Keys, ROPE_FREQS};
use super::header::Header;
use super::types::TensorType;
use crate::checkpoint::CheckpointError;

/// How a tensor lies in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    of: TensorType,
    change: Change,
}

/// A tensor of a file.
pub(crate) struct Entry {
    /// Transformers' name, or the file's where the architecture has no such tensor.
    pub(crate) name: String,
    /// The name in the file.
    pub(crate) stored: String,
    /// Its shape and place, and the type that it is read as: blocks become f32.
    pub(crate) info: TensorInfo,
    pub(crate) how: Stored,
}

/// The tensors of a file, and where its data begins.
pub(crate) fn entries(file: &Path, bytes: &[u8]) -> Result<(usize, Vec<Entry>), CheckpointError> {
    let header = Header::parse(file, bytes)?;
    let keys = Keys::new(file, &header.metadata)?;
    let (family, heads) = (keys.family(), keys.heads()?);
    let mut entries = vec![];
    for tensor in header.tensors {
        // What it says is in the configuration.
        if tensor.name == ROPE_FREQS {
            continue;
        }
        let name = family.to_transformers(&tensor.name).unwrap_or_else(|| tensor.name.clone());
        let change = family.change(&name, heads);
        if !change.fits(&tensor.shape) {
            let problem = format!("{}: expected rows of {heads:?} heads, got {:?}", tensor.name, tensor.shape);
            return Err(CheckpointError::malformed(file, problem));
        }
        let dtype = match tensor.of {
            TensorType::F16 => Dtype::F16,
            TensorType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        entries.push(Entry {
            name,
            stored: tensor.name,
            info: TensorInfo { dtype, shape: tensor.shape, data_offsets: (tensor.from, tensor.to) },
            how: Stored { of: tensor.of, change },
        });
    }
    Ok((header.data_start, entries))
}

impl Stored {
    /// The numbers of a tensor of this shape, as Transformers has them.
    pub(crate) fn values(self, bytes: &[u8], shape: &[usize]) -> Vec<f32> {
        let mut values = lasting(shape.iter().product());
        blocks::decode(self.of, bytes, &mut values);
        if self.change == Change::PlusOne {
            values.iter_mut().for_each(|value| *value -= 1.0);
        }
        self.change.reordered(values, shape.first().copied().unwrap_or(1))
    }

    /// The same in bf16, if it is stored so.
    pub(crate) fn bf16(self, bytes: &[u8], shape: &[usize]) -> Option<Vec<bf16>> {
        if self.of != TensorType::BF16 || self.change == Change::PlusOne {
            return None;
        }
        let words = bytes.as_chunks::<2>().0;
        let mut values = lasting(words.len());
        values.extend(words.iter().map(|&bytes| bf16::from_le_bytes(bytes)));
        Some(self.change.reordered(values, shape.first().copied().unwrap_or(1)))
    }
}
