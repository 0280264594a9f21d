//! Reading a checkpoint: its files mapped, its tensors checked and widened to `f32` one at a time.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use memmap2::Mmap;
use safetensors::{Dtype, tensor::TensorInfo};
use serde::Deserialize;

use super::{
    CheckpointError, INDEX_FILE, MODEL_FILE, TOKENIZER_FILES,
    header::{Header, MAX_HEADER, UniqueMap},
    names,
};
use crate::config::CONFIG_FILE;

/// The weights in a model's folder.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
}

/// A tensor's place, counted from the start of its file.
#[derive(Debug)]
struct Entry {
    /// Its name there, behind whatever was wrapped around the model.
    stored: String,
    shard: usize,
    info: TensorInfo,
    data_start: usize,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or else the files that `model.safetensors.index.json` names, and checks how their
    /// tensors are laid out. No weight is read yet.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self { dir: dir.to_path_buf(), shards: Vec::new(), tensors: BTreeMap::new() };
        let single = dir.join(MODEL_FILE);
        let index = dir.join(INDEX_FILE);
        if single.exists() {
            checkpoint.add(single)?;
        } else if index.exists() {
            checkpoint.add_indexed(&index)?;
        } else {
            return Err(CheckpointError::NoWeights { dir: dir.to_path_buf() });
        }
        Ok(checkpoint)
    }

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
        Ok(match a.1 == b.1 {
            true => a.2 == b.2,
            false => self.tensor_f32(one, &shape)? == self.tensor_f32(other, &shape)?,
        })
    }

    /// Bytes that the tensors take in memory once they are read, each for itself; `kept` says of a tensor's type and number
    /// of axes whether it stays as it is stored. The others are widened to four bytes an element.
    pub(crate) fn bytes_in_memory(&self, kept: impl Fn(Dtype, usize) -> bool) -> u64 {
        let bytes = |info: &TensorInfo| {
            let elements: usize = info.shape.iter().product();
            let stored = info.data_offsets.1 - info.data_offsets.0;
            match kept(info.dtype, info.shape.len()) {
                true => stored as u64,
                false => elements as u64 * 4,
            }
        };
        self.tensors
            .iter()
            .filter(|(name, _)| !names::is_other_half(name) && !names::is_redundant(name))
            .map(|(_, entry)| bytes(&entry.info))
            .sum()
    }

    /// One tensor, row-major, as `f32`.
    pub fn tensor_f32(&self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let (file, dtype, bytes) = self.bytes(name, expected_shape)?;
        match dtype {
            Dtype::F32 => Ok(bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
            Dtype::F16 => Ok(widen(bytes, f16::from_le_bytes)),
            Dtype::BF16 => Ok(widen(bytes, bf16::from_le_bytes)),
            dtype => {
                Err(CheckpointError::Dtype { file: file.to_owned(), name: name.to_owned(), got: dtype.to_string() })
            }
        }
    }

    /// One tensor, row-major, in `bf16`; none if it is stored in another type.
    pub fn tensor_bf16(&self, name: &str, expected_shape: &[usize]) -> Result<Option<Vec<bf16>>, CheckpointError> {
        let (_, dtype, bytes) = self.bytes(name, expected_shape)?;
        Ok((dtype == Dtype::BF16).then(|| {
            let words = bytes.as_chunks::<2>().0.iter();
            words.map(|&bytes| bf16::from_le_bytes(bytes)).collect()
        }))
    }

    /// A tensor of this shape as it is stored, with the file it is in.
    fn bytes(&self, name: &str, expected_shape: &[usize]) -> Result<(&Path, Dtype, &[u8]), CheckpointError> {
        let missing =
            || CheckpointError::Missing { dir: self.dir.clone(), name: name.to_owned(), got: self.abridged() };
        let Entry { shard, info, data_start, .. } = self.tensors.get(name).ok_or_else(missing)?;
        let shard = self.shards.get(*shard).ok_or_else(missing)?;
        if info.shape != expected_shape {
            return Err(CheckpointError::Shape {
                file: shard.path.clone(),
                name: name.to_owned(),
                expected: expected_shape.to_vec(),
                got: info.shape.clone(),
            });
        }
        let (from, to) = info.data_offsets;
        let bytes = shard.map.get(data_start + from..data_start + to).ok_or_else(missing)?;
        Ok((&shard.path, info.dtype, bytes))
    }

    /// A hash of all that decides what the model computes: configuration, tokenizer and weights. What is derived from
    /// a model can be kept under it.
    pub fn content_hash(&self) -> Result<String, CheckpointError> {
        let mut hasher = blake3::Hasher::new();
        // Lengths go in too, so that no two sets of files run together into the same bytes.
        let mut add = |name: &str, bytes: &[u8]| {
            for part in [name.as_bytes(), bytes] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                // On every core: the weights may be many gigabytes.
                hasher.update_rayon(part);
            }
        };
        for name in [CONFIG_FILE].into_iter().chain(TOKENIZER_FILES) {
            let path = self.dir.join(name);
            match fs::read(&path) {
                Ok(bytes) => add(name, &bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(CheckpointError::Io { path, error }),
            }
        }
        for shard in &self.shards {
            add("weights", &shard.map);
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The first names and how many more there are.
    fn abridged(&self) -> String {
        let stored = self.tensors.values().map(|entry| entry.stored.clone());
        crate::error::abridged(&stored.collect::<Vec<_>>())
    }

    fn add(&mut self, path: PathBuf) -> Result<(), CheckpointError> {
        let file = File::open(&path).map_err(CheckpointError::io(&path))?;
        // SAFETY: the bytes are only ever read as numbers, any of which is valid. Changing a model's files while it is
        // being read is ruled out as it is for every program that maps them; our own writer replaces files, never
        // changes them.
        let map = unsafe { Mmap::map(&file) }.map_err(CheckpointError::io(&path))?;
        let header = Header::parse(&path, &map)
            .map_err(|error| CheckpointError::kind(&path, "weights in safetensors").unwrap_or(error))?;
        for (stored, info) in header.tensors {
            let name = names::plain(&stored);
            if let Some(held) = self.tensors.get(&name) {
                let problem = match held.stored == stored {
                    true => format!("expected each tensor in one file, got {stored} in two"),
                    false => format!("expected each tensor once, got {} and {stored}", held.stored),
                };
                return Err(CheckpointError::malformed(&path, problem));
            }
            let entry = Entry { stored, shard: self.shards.len(), info, data_start: header.data_start };
            self.tensors.insert(name, entry);
        }
        self.shards.push(Shard { path, map });
        Ok(())
    }

    fn add_indexed(&mut self, index: &Path) -> Result<(), CheckpointError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: UniqueMap<String>,
        }

        let malformed = |problem: String| CheckpointError::malformed(index, problem);
        let length = fs::metadata(index).map_err(CheckpointError::io(index))?.len();
        if length > MAX_HEADER as u64 {
            return Err(malformed(format!("expected at most {MAX_HEADER} bytes, got {length}")));
        }
        let bytes = fs::read(index).map_err(CheckpointError::io(index))?;
        let Index { weight_map: UniqueMap(weight_map) } = serde_json::from_slice(&bytes).map_err(|error| {
            CheckpointError::kind(index, "an index in JSON")
                .unwrap_or_else(|| malformed(format!("expected an index in JSON, got {error}")))
        })?;
        if weight_map.is_empty() {
            return Err(malformed("expected a weight_map of tensors, got none".into()));
        }

        let mut files: Vec<&String> = weight_map.values().collect();
        files.sort();
        files.dedup();
        for &file in &files {
            if !is_file_name(file) {
                let problem = format!("expected names of files beside it, got {file:?}");
                return Err(malformed(problem));
            }
            let path = self.dir.join(file);
            if !path.exists() {
                return Err(malformed(format!("expected {file} beside it, got no such file")));
            }
            self.add(path)?;
        }
        for (name, file) in &weight_map {
            let found = self
                .tensors
                .get(&names::plain(name))
                .filter(|entry| entry.stored == *name)
                .and_then(|entry| files.get(entry.shard));
            if found != Some(&file) {
                return Err(malformed(format!("expected {name} in {file}, got none there")));
            }
        }
        Ok(())
    }
}

/// One plain component: nothing that leads out of the folder.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(part)) if part == name) && components.next().is_none()
}

fn widen<H>(bytes: &[u8], from_le_bytes: fn([u8; 2]) -> H) -> Vec<f32>
where
    [H]: HalfFloatSliceExt,
{
    let halves: Vec<H> = bytes.as_chunks::<2>().0.iter().map(|&bytes| from_le_bytes(bytes)).collect();
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    /// A file of one tensor, its header cut to no alignment.
    fn shard(name: &str, dtype: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [0, data.len()]});
        let header = json!({ name: entry }).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    fn indexed(weight_map: Value) -> TempDir {
        let index = json!({ "weight_map": weight_map }).to_string();
        folder(&[
            (INDEX_FILE, index.as_bytes()),
            ("one.safetensors", &shard("a", "F32", &[1], &1f32.to_le_bytes())),
            ("two.safetensors", &shard("b", "F32", &[1], &2f32.to_le_bytes())),
            ("copy.safetensors", &shard("a", "F32", &[1], &3f32.to_le_bytes())),
        ])
    }

    #[track_caller]
    fn assert_rejected(dir: &TempDir, message: &str) {
        let error = Checkpoint::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().is_some());
    }

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
    fn shards_are_read_through_their_index() {
        let dir = indexed(json!({"b": "two.safetensors", "a": "one.safetensors"}));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(checkpoint.tensor_f32("a", &[1]).unwrap(), [1.0]);
        assert_eq!(checkpoint.tensor_f32("b", &[1]).unwrap(), [2.0]);
    }

    #[test]
    fn wrapped_names_are_unwrapped_and_must_stay_apart() {
        let wrapped = shard("_orig_mod.w", "F32", &[1], &1f32.to_le_bytes());
        let checkpoint = folder(&[(MODEL_FILE, &wrapped)]);
        let checkpoint = Checkpoint::open(checkpoint.path()).unwrap();
        assert_eq!(checkpoint.tensor_f32("w", &[1]).unwrap(), [1.0]);
        let index = json!({"weight_map": {"module.a": "one", "a": "two"}}).to_string();
        let twice = folder(&[
            (INDEX_FILE, index.as_bytes()),
            ("one", &shard("module.a", "F32", &[1], &[0; 4])),
            ("two", &shard("a", "F32", &[1], &[0; 4])),
        ]);
        assert_rejected(&twice, "got module.a and a");
    }

    #[test]
    fn a_file_of_another_kind_is_called_what_it_is() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n";
        for name in [MODEL_FILE, INDEX_FILE] {
            assert_rejected(&folder(&[(name, pointer)]), "got a Git LFS pointer");
            assert_rejected(&folder(&[(name, b"<!DOCTYPE html>")]), "got a web page");
            assert_rejected(&folder(&[(name, b"GGUF\x03\0\0\0")]), "got GGUF");
            assert_rejected(&folder(&[(name, b"")]), "got an empty file");
        }
    }

    #[test]
    fn an_index_that_lies_is_rejected() {
        let cases = [
            (json!({}), "expected a weight_map of tensors, got none"),
            (json!({"a": "no.safetensors"}), "expected no.safetensors beside it"),
            (json!({"a": "../one.safetensors"}), "expected names of files beside it"),
            (json!({"a": "/one.safetensors"}), "expected names of files beside it"),
            (json!({"a": "one.safetensors/"}), "expected names of files beside it"),
            (json!({"a": ""}), "expected names of files beside it"),
            (json!({"c": "one.safetensors"}), "expected c in one.safetensors, got none"),
            (json!({"a": "one.safetensors", "b": "one.safetensors"}), "expected b in one.safetensors"),
            (json!({"a": "one.safetensors", "c": "copy.safetensors"}), "got a in two"),
            (json!([1]), "expected an index in JSON"),
        ];
        for (weight_map, message) in cases {
            assert_rejected(&indexed(weight_map), message);
        }
        assert_rejected(&folder(&[]), "got neither");
    }

    #[test]
    fn a_file_cut_at_any_length_is_rejected() {
        let whole = shard("w", "F32", &[3], &[0; 12]);
        for length in 0..whole.len() {
            let dir = folder(&[(MODEL_FILE, &whole[..length])]);
            assert_rejected(&dir, MODEL_FILE);
        }
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
