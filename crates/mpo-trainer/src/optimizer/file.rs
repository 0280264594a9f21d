//! Moments in a safetensors file, each in the type that it has: written a part at a time, and read one at a time, beside those
//! of the optimizer.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use mpo_kernels::allocator::lasting;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::Optimizer;

/// What the two moments of a parameter are called behind its name.
const NAMES: [&str; 2] = ["momentum", "variance"];
/// Numbers written at a time.
const PART: usize = 1 << 22;
/// The length of the header, which stands before it.
const PREFIX: usize = size_of::<u64>();

/// Writes the moments of the parameters `names` to a new file, and syncs it.
pub(crate) fn write(
    path: &Path,
    optimizer: &Optimizer,
    names: &[String],
    metadata: HashMap<String, String>,
) -> io::Result<()> {
    let moments = optimizer.state.moments();
    let dtype = match moments.dtype() {
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    };
    let mut end = 0;
    let mut tensors: Vec<(String, &Tensor<1>, TensorInfo)> = vec![];
    for (name, of) in names.iter().filter_map(|name| Some((name, moments.of(name)?))) {
        for (which, tensor) in NAMES.iter().zip(of) {
            let (shape, start) = (tensor.dims().to_vec(), end);
            end += shape[0] * moments.dtype().size();
            tensors.push((format!("{name}.{which}"), tensor, TensorInfo { dtype, shape, data_offsets: (start, end) }));
        }
    }
    let infos = tensors.iter().map(|(name, _, info)| (name.clone(), info.clone())).collect();
    let header = Metadata::new(Some(metadata), infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(PREFIX), b' ');
    let mut file = File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (_, tensor, _) in tensors {
        let [numbers] = tensor.dims();
        for start in (0..numbers).step_by(PART) {
            let part = tensor.clone().slice([start..(start + PART).min(numbers)]);
            file.write_all(part.into_data().as_bytes())?;
        }
    }
    file.sync_all()
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

    /// Gives the optimizer the moments of a parameter with so many elements, in the type that it keeps them in, if there are any.
    ///
    /// # Errors
    /// If the file cannot be read, or has them in another shape or a type that no optimizer has.
    pub(crate) fn restore(&mut self, optimizer: &mut Optimizer, name: &str, elements: usize) -> io::Result<()> {
        let infos = NAMES.map(|which| self.header.info(&format!("{name}.{which}")).cloned());
        match infos {
            [Some(momentum), Some(variance)] => {
                let moments = [self.tensor(name, &momentum, elements)?, self.tensor(name, &variance, elements)?];
                optimizer.state.moments_mut().put(name.to_owned(), moments);
                Ok(())
            }
            [None, None] => Ok(()),
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
