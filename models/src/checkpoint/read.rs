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
    shard: usize,
    info: TensorInfo,
    data_start: usize,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or else the files that `model.safetensors.index.json` names, and checks how their
    /// tensors are laid out. No weight is read yet.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self {
            dir: dir.to_path_buf(),
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        let single = dir.join(MODEL_FILE);
        let index = dir.join(INDEX_FILE);
        if single.exists() {
            checkpoint.add(single)?;
        } else if index.exists() {
            checkpoint.add_indexed(&index)?;
        } else {
            return Err(CheckpointError::NoWeights {
                dir: dir.to_path_buf(),
            });
        }
        Ok(checkpoint)
    }

    /// The names of the tensors, in order.
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

    /// The tensors that are not among `used`, in order.
    pub fn unused(&self, used: &HashSet<String>) -> Vec<&str> {
        self.names().filter(|&name| !used.contains(name)).collect()
    }

    /// One tensor, row-major, as `f32`.
    pub fn tensor_f32(
        &self,
        name: &str,
        expected_shape: &[usize],
    ) -> Result<Vec<f32>, CheckpointError> {
        let (file, dtype, bytes) = self.bytes(name, expected_shape)?;
        match dtype {
            Dtype::F32 => Ok(bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect()),
            Dtype::F16 => Ok(widen(bytes, f16::from_le_bytes)),
            Dtype::BF16 => Ok(widen(bytes, bf16::from_le_bytes)),
            dtype => Err(CheckpointError::Dtype {
                file: file.to_owned(),
                name: name.to_owned(),
                got: dtype.to_string(),
            }),
        }
    }

    /// One tensor, row-major, in `bf16`; none if it is stored in another type.
    pub fn tensor_bf16(
        &self,
        name: &str,
        expected_shape: &[usize],
    ) -> Result<Option<Vec<bf16>>, CheckpointError> {
        let (_, dtype, bytes) = self.bytes(name, expected_shape)?;
        Ok((dtype == Dtype::BF16).then(|| {
            let words = bytes.as_chunks::<2>().0.iter();
            words.map(|&bytes| bf16::from_le_bytes(bytes)).collect()
        }))
    }

    /// A tensor of this shape as it is stored, with the file it is in.
    fn bytes(
        &self,
        name: &str,
        expected_shape: &[usize],
    ) -> Result<(&Path, Dtype, &[u8]), CheckpointError> {
        let missing = || CheckpointError::Missing {
            dir: self.dir.clone(),
            name: name.to_owned(),
        };
        let Entry {
            shard,
            info,
            data_start,
        } = self.tensors.get(name).ok_or_else(missing)?;
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
        let bytes = shard
            .map
            .get(data_start + from..data_start + to)
            .ok_or_else(missing)?;
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
                hasher.update(part);
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

    fn add(&mut self, path: PathBuf) -> Result<(), CheckpointError> {
        let file = File::open(&path).map_err(CheckpointError::io(&path))?;
        // SAFETY: the bytes are only ever read as numbers, any of which is valid. Changing a model's files while it is
        // being read is ruled out as it is for every program that maps them; our own writer replaces files, never
        // changes them.
        let map = unsafe { Mmap::map(&file) }.map_err(CheckpointError::io(&path))?;
        let header = Header::parse(&path, &map)?;
        for (name, info) in header.tensors {
            let entry = Entry {
                shard: self.shards.len(),
                info,
                data_start: header.data_start,
            };
            if self.tensors.contains_key(&name) {
                let problem = format!("expected each tensor in one file, got {name} in two");
                return Err(CheckpointError::malformed(&path, problem));
            }
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
        let length = fs::metadata(index)
            .map_err(CheckpointError::io(index))?
            .len();
        if length > MAX_HEADER as u64 {
            return Err(malformed(format!(
                "expected at most {MAX_HEADER} bytes, got {length}"
            )));
        }
        let bytes = fs::read(index).map_err(CheckpointError::io(index))?;
        let Index {
            weight_map: UniqueMap(weight_map),
        } = serde_json::from_slice(&bytes)
            .map_err(|error| malformed(format!("expected an index in JSON, got {error}")))?;
        if weight_map.is_empty() {
            return Err(malformed(
                "expected a weight_map of tensors, got none".into(),
            ));
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
                return Err(malformed(format!(
                    "expected {file} beside it, got no such file"
                )));
            }
            self.add(path)?;
        }
        for (name, file) in &weight_map {
            let found = self
                .tensors
                .get(name)
                .and_then(|entry| files.get(entry.shard));
            if found != Some(&file) {
                return Err(malformed(format!(
                    "expected {name} in {file}, got none there"
                )));
            }
        }
        Ok(())
    }
}

/// One plain component: nothing that leads out of the folder.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(part)) if part == name)
        && components.next().is_none()
}

fn widen<H>(bytes: &[u8], from_le_bytes: fn([u8; 2]) -> H) -> Vec<f32>
where
    [H]: HalfFloatSliceExt,
{
    let halves: Vec<H> = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&bytes| from_le_bytes(bytes))
        .collect();
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
            (
                "one.safetensors",
                &shard("a", "F32", &[1], &1f32.to_le_bytes()),
            ),
            (
                "two.safetensors",
                &shard("b", "F32", &[1], &2f32.to_le_bytes()),
            ),
            (
                "copy.safetensors",
                &shard("a", "F32", &[1], &3f32.to_le_bytes()),
            ),
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
        let f32s: Vec<u8> = [-1.5f32, 0.125]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let cases: [(&str, &[u8]); 3] = [
            ("F32", &f32s),
            ("F16", &[0x00, 0xbe, 0x00, 0x30]),
            ("BF16", &[0xc0, 0xbf, 0x00, 0x3e]),
        ];
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
        let message =
            |name, shape: &[usize]| checkpoint.tensor_f32(name, shape).unwrap_err().to_string();
        assert!(message("v", &[1]).ends_with("expected a tensor named v, got none"));
        assert!(
            message("w", &[2, 1]).ends_with("model.safetensors: w: expected shape [2, 1], got [1]")
        );
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
    fn an_index_that_lies_is_rejected() {
        let cases = [
            (json!({}), "expected a weight_map of tensors, got none"),
            (
                json!({"a": "no.safetensors"}),
                "expected no.safetensors beside it",
            ),
            (
                json!({"a": "../one.safetensors"}),
                "expected names of files beside it",
            ),
            (
                json!({"a": "/one.safetensors"}),
                "expected names of files beside it",
            ),
            (
                json!({"a": "one.safetensors/"}),
                "expected names of files beside it",
            ),
            (json!({"a": ""}), "expected names of files beside it"),
            (
                json!({"c": "one.safetensors"}),
                "expected c in one.safetensors, got none",
            ),
            (
                json!({"a": "one.safetensors", "b": "one.safetensors"}),
                "expected b in one.safetensors",
            ),
            (
                json!({"a": "one.safetensors", "c": "copy.safetensors"}),
                "got a in two",
            ),
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
        let again = hash(&[
            (MODEL_FILE, &weights),
            (CONFIG_FILE, b"{}"),
            ("README.md", b"x"),
        ]);
        assert_eq!(plain, again);
        let other = shard("w", "F32", &[1], &[1; 4]);
        assert_ne!(plain, hash(&[(MODEL_FILE, &other), (CONFIG_FILE, b"{}")]));
        assert_ne!(plain, hash(&[(MODEL_FILE, &weights), (CONFIG_FILE, b"[]")]));
        let tokenizer: [(&str, &[u8]); 3] = [
            (MODEL_FILE, &weights[..]),
            (CONFIG_FILE, b"{}"),
            ("tokenizer.json", b"{}"),
        ];
        assert_ne!(plain, hash(&tokenizer));
    }
}
