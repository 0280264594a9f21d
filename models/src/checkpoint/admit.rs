//! Which tensors of a checkpoint a decoder has use for, and what they take.

use std::collections::HashSet;

use safetensors::{Dtype, tensor::TensorInfo};

use super::names;
use super::open::{Checkpoint, Entry};

impl Checkpoint {
    /// The tensors that are not among `used` and do not only state again what the configuration says, in order.
    pub fn unused(&self, used: &HashSet<String>) -> Vec<&str> {
        self.names().filter(|&name| !used.contains(name) && !names::is_redundant(name)).collect()
    }

    /// Of these tensors, those that have no part in what a decoder says of a text, and the others.
    pub(crate) fn other_half(unused: Vec<&str>) -> (Vec<&str>, Vec<&str>) {
        unused.into_iter().partition(|name| names::is_other_half(name))
    }

    /// The first tensor that only a quantized checkpoint has, or a matrix of integers or of eight bits.
    pub(crate) fn quantized(&self) -> Option<(&str, String)> {
        let is_float = |dtype| matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16);
        self.tensors.iter().find_map(|(name, Entry { info, .. })| {
            let packed = name.ends_with(".weight") && !is_float(info.dtype);
            (packed || names::is_quantized(name)).then(|| (name.as_str(), info.dtype.to_string()))
        })
    }

    /// Bytes that each tensor takes in memory once it is read, by name; `kept` says of a tensor's type and number of axes
    /// whether it stays as it is stored. The others are widened to four bytes per element.
    pub(crate) fn bytes_in_memory(&self, kept: impl Fn(Dtype, usize) -> bool) -> impl Iterator<Item = (&str, u64)> {
        let bytes = move |info: &TensorInfo| {
            let elements: usize = info.shape.iter().product();
            let stored = info.data_offsets.1 - info.data_offsets.0;
            if kept(info.dtype, info.shape.len()) { stored as u64 } else { elements as u64 * 4 }
        };
        self.tensors
            .iter()
            .filter(|(name, _)| !names::is_other_half(name) && !names::is_redundant(name))
            .map(move |(name, entry)| (&**name, bytes(&entry.info)))
    }
}
