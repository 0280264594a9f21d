//! The beginning of a file: what it says of the model, and which tensor lies where.
//!
//! Nothing that a file says of sizes is trusted: no room is made for more than the bytes that are there can hold.

use std::collections::HashSet;
use std::path::Path;

use super::metadata::Metadata;
use super::types::{READ, TensorType, other_name};
use super::value::{ARRAY, Value};
use super::{ALIGNMENT, MAGIC};
use crate::checkpoint::CheckpointError;

/// Values in all arrays together; the largest vocabularies have two million tokens, merges and scores.
const MAX_VALUES: usize = 1 << 24;

/// Arrays in arrays are read so deep; no file has any.
const MAX_DEPTH: usize = 2;

/// The sizes that a tensor has at most.
const MAX_DIMENSIONS: u32 = 4;

/// The sizes of what is looked at before the rest: a key's length and type, a tensor's name, sizes, type and place.
const LEAST_ENTRY: usize = 12;

/// A checked header: every tensor lies within the file, and no two share bytes.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<Tensor>,
    /// Where the data begins in the file; the header ends before it.
    pub(super) data_start: usize,
}

/// A tensor's place.
#[derive(Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// Sizes, outermost first.
    pub(super) shape: Vec<usize>,
    pub(super) of: TensorType,
    /// Where its bytes are, counted from the start of the data.
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Header {
    /// Reads the header of a whole file.
    ///
    /// # Errors
    /// If the bytes break the format, or a tensor has a type that is not read.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let malformed = |problem: String| CheckpointError::malformed(file, problem);
        let unread = |expected: String, got: String, hint| CheckpointError::Unread {
            file: file.to_owned(),
            expected,
            got,
            hint,
        };
        let mut reader = Reader { bytes, at: 0, values: MAX_VALUES };
        if reader.take(MAGIC.len()).map_err(malformed)? != MAGIC {
            return Err(malformed("expected a file that begins with GGUF, got other bytes".into()));
        }
        match reader.u32().map_err(malformed)? {
            2 | 3 => {}
            version => {
                let found = if version.swap_bytes() <= 3 {
                    "one for machines with the other order of bytes (big-endian)".into()
                } else {
                    format!("version {version}")
                };
                let hint = "convert the model again with a llama.cpp of today";
                return Err(unread("GGUF of version 2 or 3".into(), found, hint));
            }
        }
        let tensors = reader.u64().map_err(malformed)?;
        let values = reader.u64().map_err(malformed)?;
        let metadata = reader.metadata(values).map_err(malformed)?;
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(value) => value
                .whole()
                .and_then(|alignment| usize::try_from(alignment).ok())
                .filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20)
                .ok_or_else(|| malformed(format!("expected general.alignment to be a power of two, got {value:?}")))?,
        };
        let places = reader.places(tensors).map_err(malformed)?;
        let data_start = reader.at.next_multiple_of(alignment).min(bytes.len());
        let length = bytes.len() - data_start;
        let mut tensors = Vec::with_capacity(places.len());
        for Place { name, shape, number, from } in places {
            let Some(of) = TensorType::of(number) else {
                let found = format!("{} in {name}", other_name(number));
                return Err(unread(
                    format!("tensors in {READ}"),
                    found,
                    "pass the GGUF of the same model in one of these types, such as Q8_0 or F16; files named Q4_K_M, Q6_K \
                     or Q8_0 often have no others",
                ));
            };
            let tensor = Tensor::new(name, shape, of, from, length).map_err(malformed)?;
            if !tensor.from.is_multiple_of(alignment) {
                let Tensor { name, from, .. } = tensor;
                return Err(malformed(format!("{name}: expected a place at a multiple of {alignment}, got {from}")));
            }
            tensors.push(tensor);
        }
        check_apart(&tensors).map_err(malformed)?;
        Ok(Self { metadata, tensors, data_start })
    }
}

impl Tensor {
    /// Checks how a tensor lies in data of so many bytes.
    fn new(name: String, shape: Vec<usize>, of: TensorType, from: u64, length: usize) -> Result<Self, String> {
        let (block, _) = of.block();
        let numbers = shape.iter().try_fold(1usize, |numbers, &size| numbers.checked_mul(size));
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(block) {
            return Err(format!("{name}: expected rows of whole blocks of {block} numbers, got rows of {row}"));
        }
        let bytes = numbers.and_then(|numbers| of.bytes(numbers));
        let from = usize::try_from(from).ok();
        let to = from.zip(bytes).and_then(|(from, bytes)| from.checked_add(bytes)).filter(|&to| to <= length);
        match (from, to) {
            (Some(from), Some(to)) => Ok(Self { name, shape, of, from, to }),
            _ => Err(format!("{name}: expected {shape:?} within the {length} bytes of data that there are, got more")),
        }
    }
}

/// That no two tensors share a name or bytes.
fn check_apart(tensors: &[Tensor]) -> Result<(), String> {
    let mut names = HashSet::new();
    if let Some(twice) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        return Err(format!("expected each tensor once, got {} twice", twice.name));
    }
    let mut by_place: Vec<&Tensor> = tensors.iter().filter(|tensor| tensor.from < tensor.to).collect();
    by_place.sort_by_key(|tensor| tensor.from);
    match by_place.windows(2).find(|pair| pair[0].to > pair[1].from) {
        Some(pair) => {
            Err(format!("expected tensors apart, got {} and {} in the same bytes", pair[0].name, pair[1].name))
        }
        None => Ok(()),
    }
}

/// What the header says of a tensor.
struct Place {
    name: String,
    /// Sizes, outermost first.
    shape: Vec<usize>,
    number: u32,
    from: u64,
}

/// Bytes, how many of them have been read, and how many values of arrays may follow. Problems are expectations and findings.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let (taken, _) = rest.split_at_checked(count).ok_or_else(|| {
            format!("expected {count} more bytes of the header at byte {}, got a file of {}", self.at, self.bytes.len())
        })?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things that take at least so many bytes each.
    fn count(&self, count: u64, least: usize, what: &str) -> Result<usize, String> {
        let most = (self.bytes.len() - self.at) / least;
        usize::try_from(count).ok().filter(|&count| count <= most).ok_or_else(|| {
            format!("expected at most {most} {what} in a file of {} bytes, got {count}", self.bytes.len())
        })
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.u64()?;
        let at = self.at;
        let length = self.count(length, 1, "bytes of a text")?;
        let bytes = self.take(length)?;
        let text = str::from_utf8(bytes);
        text.map(str::to_owned).map_err(|_| format!("expected a text in UTF-8 at byte {at}, got other bytes"))
    }

    fn metadata(&mut self, count: u64) -> Result<Metadata, String> {
        let mut metadata = Metadata::default();
        for _ in 0..self.count(count, LEAST_ENTRY, "keys")? {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind, 0).map_err(|problem| format!("{key:.100}: {problem}"))?;
            if !metadata.insert(key.clone(), value) {
                return Err(format!("expected each key once, got {key:.100} twice"));
            }
        }
        Ok(metadata)
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.array()?)),
            1 => Value::I8(i8::from_le_bytes(self.array()?)),
            2 => Value::U16(u16::from_le_bytes(self.array()?)),
            3 => Value::I16(i16::from_le_bytes(self.array()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.array()?)),
            6 => Value::F32(f32::from_le_bytes(self.array()?)),
            7 => Value::Bool(u8::from_le_bytes(self.array()?) != 0),
            8 => Value::Text(self.text()?),
            ARRAY if depth < MAX_DEPTH => {
                let kind = self.u32()?;
                let count = self.u64()?;
                let count = self.count(count, least_bytes(kind), "values of an array")?;
                self.values = self
                    .values
                    .checked_sub(count)
                    .ok_or_else(|| format!("expected at most {MAX_VALUES} values in arrays, got more"))?;
                let mut values = vec![];
                for _ in 0..count {
                    values.push(self.value(kind, depth + 1)?);
                }
                Value::Array(values)
            }
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.array()?)),
            12 => Value::F64(f64::from_le_bytes(self.array()?)),
            kind => return Err(format!("expected a type from 0 to 12, got {kind}")),
        })
    }

    fn places(&mut self, count: u64) -> Result<Vec<Place>, String> {
        let count = self.count(count, 2 * LEAST_ENTRY, "tensors")?;
        let mut places = vec![];
        for _ in 0..count {
            let name = self.text()?;
            let dimensions = self.u32()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(format!("{name:.100}: expected at most {MAX_DIMENSIONS} sizes, got {dimensions}"));
            }
            let mut shape = vec![];
            for _ in 0..dimensions {
                let size = self.u64()?;
                let size = usize::try_from(size).map_err(|_| format!("{name:.100}: expected a size, got {size}"))?;
                shape.push(size);
            }
            // The file has the innermost first.
            shape.reverse();
            places.push(Place { name, shape, number: self.u32()?, from: self.u64()? });
        }
        Ok(places)
    }
}

/// The bytes that a value of a type takes at least.
fn least_bytes(kind: u32) -> usize {
    match kind {
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        ARRAY => 12,
        _ => 1,
    }
}
