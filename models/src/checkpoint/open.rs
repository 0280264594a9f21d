//! Opening a checkpoint: its files mapped, and how tensors lie in them checked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use safetensors::tensor::TensorInfo;
use serde::Deserialize;

use super::header::{Header, MAX_HEADER, UniqueMap};
use super::{CheckpointError, INDEX_FILE, MODEL_FILE, names};
use crate::gguf;

/// The weights in a model's folder.
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) dir: PathBuf,
    pub(super) shards: Vec<Shard>,
    pub(super) tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) map: Mmap,
}

impl Shard {
    /// Says that these bytes have been read. Their pages would count as this process's memory as long as the file is open:
    /// a model would take twice its size while it is loaded.
    #[cfg_attr(not(unix), allow(unused_variables))]
    pub(super) fn release(&self, bytes: Range<usize>) {
        // SAFETY: the mapping is of a file and read-only, so whoever reads these pages again gets them from the file.
        #[cfg(unix)]
        let released = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, bytes.start, bytes.len()) };
        // Advice that is not taken does no harm.
        #[cfg(unix)]
        drop(released);
    }
}

/// A tensor's place, counted from the start of its file.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its name there, behind whatever was wrapped around the model.
    pub(super) stored: String,
    pub(super) shard: usize,
    pub(super) info: TensorInfo,
    pub(super) data_start: usize,
    /// How it lies in a GGUF file; nothing where it is in safetensors.
    pub(super) gguf: Option<gguf::Stored>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or else the files that `model.safetensors.index.json` names, or the GGUF file that the folder
    /// describes, and checks how their tensors are laid out. No weight is read yet.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self { dir: dir.to_path_buf(), shards: Vec::new(), tensors: BTreeMap::new() };
        let single = dir.join(MODEL_FILE);
        let index = dir.join(INDEX_FILE);
        if single.exists() {
            checkpoint.add(single)?;
        } else if index.exists() {
            checkpoint.add_indexed(&index)?;
        } else if let Some(file) = gguf::source(dir)? {
            checkpoint.add_gguf(file)?;
        } else {
            return Err(CheckpointError::NoWeights { dir: dir.to_path_buf() });
        }
        Ok(checkpoint)
    }

    /// Opens one file in `dir`.
    pub(crate) fn open_file(dir: &Path, name: &str) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self { dir: dir.to_path_buf(), shards: Vec::new(), tensors: BTreeMap::new() };
        checkpoint.add(dir.join(name))?;
        Ok(checkpoint)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), CheckpointError> {
        let map = map(&path)?;
        let header = Header::parse(&path, &map)
            .map_err(|error| CheckpointError::kind(&path, "weights in safetensors").unwrap_or(error))?;
        for (stored, info) in header.tensors {
            let name = names::plain(&stored);
            let entry = Entry { stored, shard: self.shards.len(), info, data_start: header.data_start, gguf: None };
            self.insert(&path, name, entry)?;
        }
        self.shards.push(Shard { path, map });
        Ok(())
    }

    fn add_gguf(&mut self, path: PathBuf) -> Result<(), CheckpointError> {
        let map = map(&path)?;
        let (data_start, entries) = gguf::entries(&path, &map)?;
        for gguf::Entry { name, stored, info, how } in entries {
            let entry = Entry { stored, shard: self.shards.len(), info, data_start, gguf: Some(how) };
            self.insert(&path, name, entry)?;
        }
        self.shards.push(Shard { path, map });
        Ok(())
    }

    fn insert(&mut self, path: &Path, name: String, entry: Entry) -> Result<(), CheckpointError> {
        if let Some(held) = self.tensors.get(&name) {
            let stored = entry.stored;
            let problem = if held.stored == stored {
                format!("expected each tensor in one file, got {stored} in two")
            } else {
                format!("expected each tensor once, got {} and {stored}", held.stored)
            };
            return Err(CheckpointError::malformed(path, problem));
        }
        self.tensors.insert(name, entry);
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

/// The bytes of a file, of which only those are read that are looked at.
pub(crate) fn map(path: &Path) -> Result<Mmap, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::io(path))?;
    // SAFETY: the bytes are only ever read as numbers, any of which is valid, and as texts that are checked. Changing a
    // model's files while it is being read is ruled out as it is for every program that maps them; our own writer replaces
    // files, never changes them.
    unsafe { Mmap::map(&file) }.map_err(CheckpointError::io(path))
}

/// One plain component: nothing that leads out of the folder.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(part)) if part == name) && components.next().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::checkpoint::testing::{folder, shard};

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
    fn shards_are_read_through_their_index() {
        let dir = indexed(json!({"b": "two.safetensors", "a": "one.safetensors"}));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(checkpoint.tensor_f32("a", &[1]).unwrap(), [1.0]);
        assert_eq!(checkpoint.tensor_f32("b", &[1]).unwrap(), [2.0]);
    }

    #[test]
    fn names_are_unwrapped_and_must_stay_different() {
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
    fn weights_in_another_format_are_named() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n";
        for name in [MODEL_FILE, INDEX_FILE] {
            assert_rejected(&folder(&[(name, pointer)]), "got a Git LFS pointer");
            assert_rejected(&folder(&[(name, b"<!DOCTYPE html>")]), "got a web page");
            assert_rejected(&folder(&[(name, b"GGUF\x03\0\0\0")]), "got GGUF");
            assert_rejected(&folder(&[(name, b"")]), "got an empty file");
        }
    }

    #[test]
    fn an_inconsistent_index_is_rejected() {
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
}
