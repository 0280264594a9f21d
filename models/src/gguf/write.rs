//! Writing a file, one tensor in memory at a time.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use mpo_progress::Progress;

use super::architecture::Change;
use super::metadata::Metadata;
use super::types::TensorType;
use super::value::encode_text;
use super::{ALIGNMENT, MAGIC};
use crate::checkpoint::CheckpointError;

/// Numbers encoded at a time, at least; a multiple of every block.
const AT_ONCE: usize = 1 << 16;

/// A tensor to write.
pub(super) struct Planned<'a> {
    /// llama.cpp's name.
    pub(super) name: String,
    /// Sizes, outermost first.
    pub(super) shape: Vec<usize>,
    pub(super) of: TensorType,
    pub(super) change: Change,
    /// Reads its numbers, as Transformers has them.
    pub(super) values: Box<dyn Fn() -> Result<Vec<f32>, CheckpointError> + 'a>,
}

impl Planned<'_> {
    fn bytes(&self) -> Result<usize, CheckpointError> {
        let numbers = self.shape.iter().try_fold(1usize, |numbers, &size| numbers.checked_mul(size));
        numbers.and_then(|numbers| self.of.bytes(numbers)).ok_or_else(|| {
            CheckpointError::malformed(
                Path::new(&self.name),
                format!("expected a shape in memory, got {:?}", self.shape),
            )
        })
    }

    /// Appends the bytes of some rows of its numbers.
    fn encode(&self, values: &[f32], rows: std::ops::Range<usize>, bytes: &mut Vec<u8>) -> Result<(), CheckpointError> {
        let all = self.shape.first().copied().unwrap_or(1);
        let columns = values.len() / all.max(1);
        let plain = &values[rows.start * columns..rows.end * columns];
        let changed: Vec<f32> = match self.change {
            Change::None => return self.of.encode(&self.name, plain, bytes),
            Change::PlusOne => plain.iter().map(|value| value + 1.0).collect(),
            Change::Heads(_) => {
                let from = rows.map(|row| self.change.row_of(row, all) * columns);
                from.flat_map(|from| &values[from..from + columns]).copied().collect()
            }
        };
        self.of.encode(&self.name, &changed, bytes)
    }
}

/// That a file can be written without replacing another.
pub(super) fn check_free(file: &Path) -> Result<(), CheckpointError> {
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(CheckpointError::Exists { file: file.to_owned() })
}

/// Writes metadata and tensors; none if it was stopped.
pub(super) fn write(
    file: &Path,
    metadata: &Metadata,
    tensors: &[Planned<'_>],
    progress: &dyn Progress,
) -> Result<Option<()>, CheckpointError> {
    let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let io = || CheckpointError::io(file);
    fs::create_dir_all(parent).map_err(io())?;
    let name = crate::partial_name();
    let mut partial = tempfile::Builder::new();
    partial.prefix(&name).rand_bytes(0);
    // Temporary files are private to their owner; this one becomes a file like any other.
    #[cfg(unix)]
    partial.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let partial = partial.tempfile_in(parent).map_err(io())?;
    let mut to = BufWriter::with_capacity(1 << 20, partial.as_file());
    let stage = progress.begin("writing the file", Some(tensors.len()));
    let header = header(metadata, tensors)?;
    to.write_all(&header).map_err(io())?;
    pad(&mut to, header.len()).map_err(io())?;
    for tensor in tensors {
        if stage.is_stopped() {
            return Ok(None);
        }
        let values = (tensor.values)()?;
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let at_once = if tensor.shape.len() < 2 { rows } else { (AT_ONCE * rows / values.len().max(1)).max(1) };
        let (mut bytes, mut written) = (vec![], 0);
        for start in (0..rows).step_by(at_once.max(1)) {
            bytes.clear();
            tensor.encode(&values, start..(start + at_once).min(rows), &mut bytes)?;
            to.write_all(&bytes).map_err(io())?;
            written += bytes.len();
        }
        pad(&mut to, written).map_err(io())?;
        stage.advance(1);
    }
    to.into_inner().map_err(|error| io()(error.into_error()))?.sync_all().map_err(io())?;
    partial.persist_noclobber(file).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => CheckpointError::Exists { file: file.to_owned() },
        _ => io()(error.error),
    })?;
    Ok(Some(()))
}

/// The bytes before the data, without what fills them up.
fn header(metadata: &Metadata, tensors: &[Planned<'_>]) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.iter().len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        encode_text(key, &mut bytes);
        bytes.extend(value.kind().to_le_bytes());
        value.encode(&mut bytes);
    }
    let mut offset = 0;
    for tensor in tensors {
        encode_text(&tensor.name, &mut bytes);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        for &size in tensor.shape.iter().rev() {
            bytes.extend((size as u64).to_le_bytes());
        }
        bytes.extend(tensor.of.number().to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        offset += tensor.bytes()?.next_multiple_of(ALIGNMENT);
    }
    Ok(bytes)
}

/// Fills up what was written to a place where the next may begin.
fn pad(to: &mut impl Write, written: usize) -> io::Result<()> {
    let missing = written.next_multiple_of(ALIGNMENT) - written;
    to.write_all(&[0; ALIGNMENT][..missing])
}
