//! Matrices in NF4 as bitsandbytes stores them: codes under the matrix's name, and the rest under names that begin with it.

use mpo_kernels::{CODEBOOK, Nf4Data, Nf4Scales};
use safetensors::Dtype;
use serde::Deserialize;

use super::{Checkpoint, CheckpointError, names};

/// What of the format is not a tensor.
#[derive(Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f32>,
}

impl Checkpoint {
    /// Whether a matrix is stored in NF4.
    pub(crate) fn is_nf4(&self, name: &str) -> bool {
        self.contains(&format!("{name}{}", names::NF4_STATE))
    }

    /// Whether any is.
    pub(crate) fn has_nf4(&self) -> bool {
        self.names().any(|name| name.ends_with(names::NF4_STATE))
    }

    /// A matrix of this shape that is stored in NF4; none if it is stored in another way.
    pub(crate) fn nf4(&self, name: &str, shape: &[usize]) -> Result<Option<Nf4Data>, CheckpointError> {
        if !self.is_nf4(name) {
            return Ok(None);
        }
        let of = |part: &str| format!("{name}{part}");
        let (file, _, bytes) = self.stored(&of(names::NF4_STATE))?;
        let malformed = |problem: String| CheckpointError::malformed(file, format!("{name}: {problem}"));
        let state: State = serde_json::from_slice(bytes)
            .map_err(|error| malformed(format!("expected what NF4 is stored as in JSON, got {error}")))?;
        if state.quant_type != "nf4" || state.blocksize != 64 {
            let (of, size) = (state.quant_type, state.blocksize);
            return Err(malformed(format!("expected nf4 in blocks of 64, got {of:.20} in blocks of {size}")));
        }
        if state.shape != shape {
            return Err(CheckpointError::Shape {
                file: file.to_owned(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                got: state.shape,
            });
        }
        let elements: usize = shape.iter().product();
        let blocks = elements.div_ceil(64);
        if self.floats_of(&of(".quant_map"), CODEBOOK.len())? != CODEBOOK {
            return Err(malformed("expected the numbers of NF4 as quant_map, got others".into()));
        }
        let codes = self.bytes_of(name, elements.div_ceil(2))?;
        self.release(name);
        let absmax = of(".absmax");
        let scales = match (state.nested_offset, state.nested_blocksize) {
            (None, None) => Nf4Scales::Single(self.floats_of(&absmax, blocks)?),
            (Some(offset), Some(256)) => Nf4Scales::Double {
                codes: self.bytes_of(&absmax, blocks)?,
                absmax: self.floats_of(&of(".nested_absmax"), blocks.div_ceil(256))?,
                map: self.floats_of(&of(".nested_quant_map"), 256)?.try_into().expect("as many numbers were asked for"),
                offset,
            },
            (_, size) => return Err(malformed(format!("expected nested blocks of 256, got {size:?}"))),
        };
        Ok(Some(Nf4Data { codes, scales }))
    }

    /// So many bytes.
    fn bytes_of(&self, name: &str, count: usize) -> Result<Vec<u8>, CheckpointError> {
        Ok(self.numbers(name, Dtype::U8, count)?.to_vec())
    }

    /// So many numbers of 32 bits.
    fn floats_of(&self, name: &str, count: usize) -> Result<Vec<f32>, CheckpointError> {
        let (floats, _) = self.numbers(name, Dtype::F32, count)?.as_chunks::<4>();
        Ok(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    /// The bytes of a tensor of this type and so many elements, in whatever shape.
    fn numbers(&self, name: &str, dtype: Dtype, count: usize) -> Result<&[u8], CheckpointError> {
        let (file, info, bytes) = self.stored(name)?;
        if info.dtype != dtype || info.shape.iter().product::<usize>() != count {
            let problem =
                format!("{name}: expected {count} numbers of {dtype}, got {:?} of {}", info.shape, info.dtype);
            return Err(CheckpointError::malformed(file, problem));
        }
        Ok(bytes)
    }
}
