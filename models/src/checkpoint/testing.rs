//! Folders for the tests of checkpoints.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

/// A file of one tensor, its header cut to no alignment.
pub(super) fn shard(name: &str, dtype: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [0, data.len()]});
    let header = json!({ name: entry }).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

pub(super) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}
