//! Moments in a safetensors file, each in the type that it has: written a part at a time, and read one at a time, beside those
//! of the optimizer. The file is the same however many ranks wrote it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use mpo_kernels::allocator::lasting;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{Optimizer, Which};

/// Numbers written at a time.
const PART: usize = 1 << 22;
/// The length of the header, which stands before it.
const PREFIX: usize = size_of::<u64>();

/// Writes the moments of these parameters, each with so many numbers, to a new file, and syncs it. Where there are several
/// ranks, the first one does, and the others [`give`].
pub(crate) fn write(
    path: &Path,
    optimizer: &Optimizer<'_>,
    parameters: &[(String, usize)],
    metadata: HashMap<String, String>,
) -> io::Result<()> {
    let dtype = match optimizer.dtype() {
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    };
    let (mut end, mut infos) = (0, vec![]);
    let tensors: Vec<(&str, Which)> = each(optimizer, parameters, |name, which, numbers| {
        let start = end;
        end += numbers * optimizer.dtype().size();
        let info = TensorInfo { dtype, shape: vec![numbers], data_offsets: (start, end) };
        infos.push((format!("{name}.{}", which.name()), info));
    });
    let header = Metadata::new(Some(metadata), infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(PREFIX), b' ');
    let mut file = File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (name, which) in tensors {
        let tensor = optimizer.whole(name, which);
        let [numbers] = tensor.dims();
        for start in (0..numbers).step_by(PART) {
            let part = tensor.clone().slice([start..(start + PART).min(numbers)]);
            file.write_all(part.into_data().as_bytes())?;
        }
    }
    file.sync_all()
}

/// What the first rank [`write`]s of another's.
pub(crate) fn give(optimizer: &Optimizer<'_>, parameters: &[(String, usize)]) {
    for (name, which) in each(optimizer, parameters, |_, _, _| {}) {
        optimizer.whole(name, which);
    }
}

/// All moments that there are, in the order of the file; `see` is told how many numbers each has.
fn each<'n>(
    optimizer: &Optimizer<'_>,
    parameters: &'n [(String, usize)],
    mut see: impl FnMut(&str, Which, usize),
) -> Vec<(&'n str, Which)> {
    let mut all = vec![];
    for (name, numbers) in optimizer.with_moments(parameters) {
        for which in Which::ALL {
            see(name, which, *numbers);
            all.push((&**name, which));
        }
    }
    all
}

/// A file of moments that is being read.
pub(crate) struct Stored {
    file: File,
    header: Metadata,
    /// Where the tensors begin.
    start: u64,
}

impl Stored {
    /// Reads what the file says is in it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut length = [0; PREFIX];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        let mut header = vec![];
        (&file).take(length).read_to_end(&mut header)?;
        let header = serde_json::from_slice(&header)?;
        Ok(Self { file, header, start: PREFIX as u64 + length })
    }

    /// What it says of itself.
    pub(crate) fn says(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// The moments of a parameter with so many elements, if there are any.
    ///
    /// # Errors
    /// If the file cannot be read, or has them in another shape or a type that no optimizer has.
    pub(crate) fn moments(&mut self, name: &str, elements: usize) -> io::Result<Option<[TensorData; 2]>> {
        let infos = Which::ALL.map(|which| self.header.info(&format!("{name}.{}", which.name())).cloned());
        match infos {
            [Some(momentum), Some(variance)] => {
                Ok(Some([self.tensor(name, &momentum, elements)?, self.tensor(name, &variance, elements)?]))
            }
            [None, None] => Ok(None),
            _ => Err(unexpected(format!("one of the two moments of {name}"))),
        }
    }

    fn tensor(&mut self, name: &str, info: &TensorInfo, elements: usize) -> io::Result<TensorData> {
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::BF16 => DType::BF16,
            other => return Err(unexpected(format!("moments of {name} as {other:?} where F32 or BF16 belongs"))),
        };
        if info.shape != [elements] {
            return Err(unexpected(format!("moments of {name} of shape {:?} where [{elements}] belongs", info.shape)));
        }
        let (from, to) = info.data_offsets;
        let mut bytes = lasting(to - from);
        bytes.resize(to - from, 0);
        self.file.seek(SeekFrom::Start(self.start + from as u64))?;
        self.file.read_exact(&mut bytes)?;
        Ok(TensorData::from_bytes_vec(bytes, [elements], dtype))
    }
}

fn unexpected(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
