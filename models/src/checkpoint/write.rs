//! Writing weights, a part of one tensor in memory at a time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use super::save::SaveOptions;
use super::{CheckpointError, INDEX_FILE, MODEL_FILE, WeightDtype, header};

/// Numbers converted at a time.
const BLOCK: usize = 1 << 16;

/// A tensor whose numbers are fetched part by part, when their turn to be written comes.
pub struct LazyTensor<'a> {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Fetches its numbers, row-major: the next part of them.
    pub values: Box<dyn Iterator<Item = Vec<f32>> + 'a>,
}

pub(super) fn write_weights<'a>(
    dir: &Path,
    tensors: impl IntoIterator<Item = LazyTensor<'a>>,
    options: &SaveOptions<'_>,
) -> Result<(), CheckpointError> {
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let twice = |pair: &&[LazyTensor<'_>]| matches!(pair, [a, b] if a.name == b.name);
    if let Some([first, _]) = tensors.windows(2).find(twice) {
        let problem = format!("expected tensors of different names, got {} twice", first.name);
        return Err(CheckpointError::malformed(dir, problem));
    }
    let bytes_of = |tensor: &LazyTensor<'_>| tensor.shape.iter().product::<usize>() * options.dtype.size();
    let total: usize = tensors.iter().map(bytes_of).sum();

    let mut shards: Vec<Vec<LazyTensor<'a>>> = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        let bytes = bytes_of(&tensor);
        if filled > 0 && filled + bytes > options.max_shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        if let Some(shard) = shards.last_mut() {
            shard.push(tensor);
        }
    }

    let count = shards.len();
    let mut weight_map = Map::new();
    for (i, shard) in shards.into_iter().enumerate() {
        let file = match count {
            1 => MODEL_FILE.to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
        };
        for tensor in &shard {
            weight_map.insert(tensor.name.clone(), file.clone().into());
        }
        write_file(&dir.join(file), shard, options.dtype)?;
    }
    if count > 1 {
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        write_synced(&dir.join(INDEX_FILE), format!("{index:#}\n").as_bytes())?;
    }
    Ok(())
}

/// Writes tensors into one file, in this order.
pub(crate) fn write_file(path: &Path, tensors: Vec<LazyTensor<'_>>, dtype: WeightDtype) -> Result<(), CheckpointError> {
    let file = File::create(path).map_err(CheckpointError::io(path))?;
    let mut file = BufWriter::new(file);
    let layout = tensors.iter().map(|tensor| {
        let bytes = tensor.shape.iter().product::<usize>() * dtype.size();
        (tensor.name.as_str(), tensor.shape.as_slice(), bytes)
    });
    let header = header::encode(layout, dtype);
    file.write_all(&header).map_err(CheckpointError::io(path))?;
    for LazyTensor { name, shape, values } in tensors {
        let mut written = 0;
        for part in values {
            written += part.len();
            for block in part.chunks(BLOCK) {
                if let Some(&got) = block.iter().find(|value| !value.is_finite()) {
                    return Err(CheckpointError::NotFinite { name, got });
                }
                let bytes =
                    narrow(block, dtype).map_err(|got| CheckpointError::Overflow { name: name.clone(), got })?;
                file.write_all(&bytes).map_err(CheckpointError::io(path))?;
            }
        }
        if written != shape.iter().product::<usize>() {
            let (file, got) = (path.to_path_buf(), vec![written]);
            return Err(CheckpointError::Shape { file, name, expected: shape, got });
        }
    }
    let file = file.into_inner().map_err(|error| CheckpointError::io(path)(error.into_error()))?;
    file.sync_all().map_err(CheckpointError::io(path))
}

/// The bytes of `values`, rounded to nearest, or the first value that would become infinite.
fn narrow(values: &[f32], dtype: WeightDtype) -> Result<Vec<u8>, f32> {
    let mut bytes = vec![0; values.len() * dtype.size()];
    match dtype {
        WeightDtype::F32 => {
            for (bytes, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                *bytes = value.to_le_bytes();
            }
        }
        WeightDtype::F16 => {
            for (bytes, &value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                let half = f16::from_f32(value);
                if half.is_infinite() && value.is_finite() {
                    return Err(value);
                }
                *bytes = half.to_le_bytes();
            }
        }
        WeightDtype::BF16 => {
            for (bytes, &value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                *bytes = bf16::from_f32(value).to_le_bytes();
            }
        }
    }
    Ok(bytes)
}

/// Writes an object of JSON.
pub(crate) fn write_config(path: &Path, config: &Map<String, Value>) -> Result<(), CheckpointError> {
    // As a value it is written on lines of its own.
    let config = Value::Object(config.clone());
    write_synced(path, format!("{config:#}\n").as_bytes())
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(CheckpointError::io(path))
}
