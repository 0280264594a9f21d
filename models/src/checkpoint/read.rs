//! Reading tensors, checked and widened to `f32` one at a time.

use std::path::Path;
use std::{fs, io};

use blake3::Hasher;
use half::{bf16, f16, slice::HalfFloatSliceExt};
use mpo_kernels::allocator::lasting;
use safetensors::{Dtype, tensor::TensorInfo};

use super::open::{Checkpoint, Entry};
use super::{CheckpointError, TOKENIZER_FILES, WeightDtype};
use crate::config::CONFIG_FILE;
use crate::gguf::Stored;

impl Checkpoint {
    /// The names of the tensors as a plain decoder has them, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The type a tensor is stored in.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|entry| entry.info.dtype)
    }

    /// The type of 16 bits that most numbers are stored in; where they are in another, f32.
    pub fn weight_dtype(&self) -> WeightDtype {
        let numbers = |dtype: Option<Dtype>| {
            let of = self.tensors.values().filter(|entry| dtype.is_none_or(|dtype| entry.info.dtype == dtype));
            of.map(|entry| entry.info.shape.iter().product::<usize>()).sum::<usize>()
        };
        let is_most = |dtype: Dtype| 2 * numbers(Some(dtype)) > numbers(None);
        match [Dtype::BF16, Dtype::F16].map(is_most) {
            [true, _] => WeightDtype::BF16,
            [_, true] => WeightDtype::F16,
            _ => WeightDtype::F32,
        }
    }

    /// Whether two tensors hold the same numbers.
    pub(crate) fn same(&self, one: &str, other: &str) -> Result<bool, CheckpointError> {
        let shape = |name: &str| self.tensors.get(name).map(|entry| entry.info.shape.clone());
        let (Some(shape), Some(other_shape)) = (shape(one), shape(other)) else {
            return Ok(false);
        };
        if shape != other_shape {
            return Ok(false);
        }
        let (a, b) = (self.bytes(one, &shape)?, self.bytes(other, &shape)?);
        let is_plain = |name: &str| self.gguf(name).is_none();
        Ok(if a.1 == b.1 && is_plain(one) && is_plain(other) {
            a.2 == b.2
        } else {
            self.tensor_f32(one, &shape)? == self.tensor_f32(other, &shape)?
        })
    }

    /// One tensor, row-major, as `f32`; one that is stored in NF4 is unpacked.
    pub fn tensor_f32(&self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        if let Some(packed) = self.nf4(name, expected_shape)? {
            return Ok(packed.values(expected_shape.iter().product()));
        }
        let (file, dtype, bytes) = self.bytes(name, expected_shape)?;
        let values = match dtype {
            _ if let Some(how) = self.gguf(name) => how.values(bytes, expected_shape),
            Dtype::F32 => read(bytes.as_chunks::<4>().0, f32::from_le_bytes),
            Dtype::F16 => widen(bytes, f16::from_le_bytes),
            Dtype::BF16 => widen(bytes, bf16::from_le_bytes),
            dtype => {
                let (file, name) = (file.to_owned(), name.to_owned());
                return Err(CheckpointError::Dtype { file, name, got: dtype.to_string() });
            }
        };
        self.release(name);
        Ok(values)
    }

    /// One tensor, row-major, in `bf16`; none if it is stored in another type.
    pub fn tensor_bf16(&self, name: &str, expected_shape: &[usize]) -> Result<Option<Vec<bf16>>, CheckpointError> {
        if self.is_nf4(name) {
            return Ok(None);
        }
        let (_, dtype, bytes) = self.bytes(name, expected_shape)?;
        let values = match self.gguf(name) {
            Some(how) => how.bf16(bytes, expected_shape),
            None => (dtype == Dtype::BF16).then(|| read(bytes.as_chunks::<2>().0, bf16::from_le_bytes)),
        };
        if values.is_some() {
            self.release(name);
        }
        Ok(values)
    }

    /// How a tensor lies in a GGUF file, if it does.
    fn gguf(&self, name: &str) -> Option<Stored> {
        self.tensors.get(name)?.gguf
    }

    /// Says that a tensor has been read.
    pub(super) fn release(&self, name: &str) {
        if let Some(Entry { shard, info, data_start, .. }) = self.tensors.get(name) {
            let (from, to) = info.data_offsets;
            self.shards[*shard].release(data_start + from..data_start + to);
        }
    }

    /// A tensor of this shape as it is stored, with the file it is in.
    fn bytes(&self, name: &str, expected_shape: &[usize]) -> Result<(&Path, Dtype, &[u8]), CheckpointError> {
        let (file, info, bytes) = self.stored(name)?;
        if info.shape != expected_shape {
            return Err(CheckpointError::Shape {
                file: file.to_owned(),
                name: name.to_owned(),
                expected: expected_shape.to_vec(),
                got: info.shape.clone(),
            });
        }
        Ok((file, info.dtype, bytes))
    }

    /// A tensor as it is stored, with the file it is in.
    pub(super) fn stored(&self, name: &str) -> Result<(&Path, &TensorInfo, &[u8]), CheckpointError> {
        let missing =
            || CheckpointError::Missing { dir: self.dir.clone(), name: name.to_owned(), got: self.abridged() };
        let Entry { shard, info, data_start, .. } = self.tensors.get(name).ok_or_else(missing)?;
        let shard = self.shards.get(*shard).ok_or_else(missing)?;
        let (from, to) = info.data_offsets;
        let bytes = shard.map.get(data_start + from..data_start + to).ok_or_else(missing)?;
        Ok((&shard.path, info, bytes))
    }

    /// A hash of all that decides what the model computes: configuration, tokenizer and weights. What is derived from
    /// a model can be kept under it.
    pub fn content_hash(&self) -> Result<String, CheckpointError> {
        /// Bytes of weights that are hashed at a time, on every core.
        const AT_ONCE: usize = 1 << 26;
        let mut hasher = Hasher::new();
        // Lengths go in too, so that no two sets of files run together into the same bytes.
        let begin = |hasher: &mut Hasher, name: &str, length: usize| {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&(length as u64).to_le_bytes());
        };
        for name in [CONFIG_FILE].into_iter().chain(TOKENIZER_FILES) {
            let path = self.dir.join(name);
            match fs::read(&path) {
                Ok(bytes) => {
                    begin(&mut hasher, name, bytes.len());
                    hasher.update(&bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(CheckpointError::Io { path, error }),
            }
        }
        for shard in &self.shards {
            begin(&mut hasher, "weights", shard.map.len());
            for (number, bytes) in shard.map.chunks(AT_ONCE).enumerate() {
                hasher.update_rayon(bytes);
                let from = number * AT_ONCE;
                shard.release(from..from + bytes.len());
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The first names and how many more there are.
    fn abridged(&self) -> String {
        let stored = self.tensors.values().map(|entry| entry.stored.clone());
        crate::error::abridged(&stored.collect::<Vec<_>>())
    }
}

/// Numbers as they are stored, which last as long as the model.
fn read<const BYTES: usize, T>(stored: &[[u8; BYTES]], from_le_bytes: fn([u8; BYTES]) -> T) -> Vec<T> {
    let mut values = lasting(stored.len());
    values.extend(stored.iter().map(|&bytes| from_le_bytes(bytes)));
    values
}

/// The same, widened.
fn widen<H>(bytes: &[u8], from_le_bytes: fn([u8; 2]) -> H) -> Vec<f32>
where
    [H]: HalfFloatSliceExt,
{
    const AT_ONCE: usize = 4096;
    let words = bytes.as_chunks::<2>().0;
    let (mut halves, mut wide, mut values) = (vec![], [0.0; AT_ONCE], lasting(words.len()));
    for words in words.chunks(AT_ONCE) {
        halves.clear();
        halves.extend(words.iter().map(|&bytes| from_le_bytes(bytes)));
        let wide = &mut wide[..halves.len()];
        halves.convert_to_f32_slice(wide);
        values.extend_from_slice(wide);
    }
    values
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::checkpoint::MODEL_FILE;
    use crate::checkpoint::testing::{folder, shard};

    #[test]
    fn every_float_type_is_widened_exactly() {
        // -1.5 and 2^-3: sign, exponent and fraction all set in one or the other.
        let f32s: Vec<u8> = [-1.5f32, 0.125].iter().flat_map(|v| v.to_le_bytes()).collect();
        let cases: [(&str, &[u8]); 3] =
            [("F32", &f32s), ("F16", &[0x00, 0xbe, 0x00, 0x30]), ("BF16", &[0xc0, 0xbf, 0x00, 0x3e])];
        for (dtype, data) in cases {
            // Names of growing length walk the data through every alignment.
            for name in ["w", "ww", "www", "wwww"] {
                let dir = folder(&[(MODEL_FILE, &shard(name, dtype, &[1, 2], data))]);
                let checkpoint = Checkpoint::open(dir.path()).unwrap();
                assert_eq!(checkpoint.tensor_f32(name, &[1, 2]).unwrap(), [-1.5, 0.125]);
                assert_eq!(checkpoint.dtype(name).unwrap().to_string(), dtype);
            }
        }
    }

    #[test]
    fn a_tensor_that_does_not_fit_is_named() {
        let dir = folder(&[(MODEL_FILE, &shard("w", "I32", &[1], &[0; 4]))]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let message = |name, shape: &[usize]| checkpoint.tensor_f32(name, shape).unwrap_err().to_string();
        assert!(message("v", &[1]).ends_with("expected a tensor named v, got none (there are: w)"));
        assert!(message("w", &[2, 1]).ends_with("model.safetensors: w: expected shape [2, 1], got [1]"));
        assert!(message("w", &[1]).ends_with("w: expected F32, F16 or BF16, got I32"));
        assert_eq!(checkpoint.unused(&HashSet::from(["w".to_owned()])), [""; 0]);
        assert_eq!(checkpoint.unused(&HashSet::new()), ["w"]);
    }

    #[test]
    fn the_hash_follows_content_and_nothing_else() {
        let weights = shard("w", "F32", &[1], &[0; 4]);
        let hash = |files: &[(&str, &[u8])]| {
            let dir = folder(files);
            let checkpoint = Checkpoint::open(dir.path()).unwrap();
            checkpoint.content_hash().unwrap()
        };
        let plain = hash(&[(MODEL_FILE, &weights), (CONFIG_FILE, b"{}")]);
        let again = hash(&[(MODEL_FILE, &weights), (CONFIG_FILE, b"{}"), ("README.md", b"x")]);
        assert_eq!(plain, again);
        let other = shard("w", "F32", &[1], &[1; 4]);
        assert_ne!(plain, hash(&[(MODEL_FILE, &other), (CONFIG_FILE, b"{}")]));
        assert_ne!(plain, hash(&[(MODEL_FILE, &weights), (CONFIG_FILE, b"[]")]));
        let tokenizer: [(&str, &[u8]); 3] =
            [(MODEL_FILE, &weights[..]), (CONFIG_FILE, b"{}"), ("tokenizer.json", b"{}")];
        assert_ne!(plain, hash(&tokenizer));
    }
}
