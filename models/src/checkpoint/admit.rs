//! Which tensors of a checkpoint a decoder has use for, and what they take.

use std::collections::HashSet;

use safetensors::{Dtype, tensor::TensorInfo};

use super::names;
use super::open::{Checkpoint, Entry};

impl Checkpoint {
    /// The tensors that are not among `used` and do not only state again what the configuration says, in order.
    pub fn unused(&self, used: &HashSet<String>) -> Vec<&str> {
        let is_used = |name: &str| used.contains(name) || self.nf4_matrix(name).is_some_and(|of| used.contains(of));
        self.names().filter(|&name| !is_used(name) && !names::is_redundant(name)).collect()
    }

    /// The matrix in NF4 that a tensor is a part of.
    fn nf4_matrix<'n>(&self, name: &'n str) -> Option<&'n str> {
        names::nf4_matrix(name).filter(|of| self.is_nf4(of))
    }

    /// Of these tensors, those that have no part in what a decoder says of a text, and the others.
    pub(crate) fn other_half(unused: Vec<&str>) -> (Vec<&str>, Vec<&str>) {
        unused.into_iter().partition(|name| names::is_other_half(name))
    }

    /// The first tensor that only a quantized checkpoint has, or a matrix of integers or of eight bits; those in NF4 aside.
    pub(crate) fn quantized(&self) -> Option<(&str, String)> {
        let is_float = |dtype| matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16);
        self.tensors.iter().find_map(|(name, Entry { info, .. })| {
            let packed = name.ends_with(".weight") && !is_float(info.dtype) && !self.is_nf4(name);
            let part = names::is_quantized(name) && self.nf4_matrix(name).is_none();
            (packed || part).then(|| (name.as_str(), info.dtype.to_string()))
        })
    }

    /// What `of` says of each tensor that a decoder has use for, by name.
    pub(crate) fn sizes(&self, of: impl Fn(&str, &TensorInfo) -> u64) -> impl Iterator<Item = (&str, u64)> {
        self.tensors
            .iter()
            .filter(|(name, _)| !names::is_other_half(name) && !names::is_redundant(name))
            .map(move |(name, entry)| (&**name, of(name, &entry.info)))
    }
}
