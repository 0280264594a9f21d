//! The header of a safetensors file: which tensor lies where.
//!
//! It is read here rather than by the `safetensors` crate because that keeps the last of two tensors of one name and
//! adds up sizes unchecked; the crate still says what an entry looks like.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    marker::PhantomData,
    path::Path,
};

use safetensors::tensor::TensorInfo;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, json};

use super::{CheckpointError, WeightDtype};

/// The length of the header comes first, as a little-endian `u64`.
const PREFIX: usize = size_of::<u64>();

/// The limit of the format.
pub(super) const MAX_HEADER: usize = 100_000_000;

/// A checked header: each tensor's range lies within the data, whose ranges neither overlap nor leave holes.
pub(super) struct Header {
    /// Where the data begins in the file.
    pub(super) data_start: usize,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let malformed = |problem: String| CheckpointError::malformed(file, problem);
        let (prefix, rest) = bytes
            .split_first_chunk::<PREFIX>()
            .ok_or_else(|| malformed(format!("expected a header of at least {PREFIX} bytes, got {}", bytes.len())))?;
        let length = u64::from_le_bytes(*prefix);
        let (header, data) = usize::try_from(length)
            .ok()
            .filter(|&length| length <= MAX_HEADER)
            .and_then(|length| rest.split_at_checked(length))
            .ok_or_else(|| {
                malformed(format!(
                    "expected a header of {length} bytes, as the file says, got a file of {}",
                    bytes.len()
                ))
            })?;
        let UniqueMap(tensors) = serde_json::from_slice::<UniqueMap<TensorInfo>>(header)
            .map_err(|error| malformed(format!("expected a safetensors header in JSON, got {error}")))?;
        check_layout(&tensors, data.len()).map_err(malformed)?;
        Ok(Self { data_start: bytes.len() - data.len(), tensors })
    }
}

fn check_layout(tensors: &BTreeMap<String, TensorInfo>, data_len: usize) -> Result<(), String> {
    let mut by_offset: Vec<_> = tensors.iter().collect();
    by_offset.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    for (name, info) in by_offset {
        let (from, to) = info.data_offsets;
        if from != end || to < from || to > data_len {
            return Err(format!("{name}: expected offsets from {end} to at most {data_len}, got {from} to {to}"));
        }
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &size| bits.checked_mul(size));
        if bits != (to - from).checked_mul(8) {
            return Err(format!("{name}: expected the bytes of {} {:?}, got {}", info.dtype, info.shape, to - from));
        }
        end = to;
    }
    if end != data_len {
        return Err(format!("expected {end} bytes of tensors, got {data_len}"));
    }
    Ok(())
}

/// The bytes before the data: tensors in the order given, the data aligned to eight bytes as readers that map the
/// file like it.
pub(super) fn encode<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize], usize)>, dtype: WeightDtype) -> Vec<u8> {
    let mut header = Map::new();
    // Transformers refuses a file that does not name a framework.
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut offset = 0;
    for (name, shape, bytes) in tensors {
        let end = offset + bytes;
        let entry = json!({
            "dtype": dtype.safetensors(),
            "shape": shape,
            "data_offsets": [offset, end],
        });
        header.insert(name.into(), entry);
        offset = end;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(PREFIX), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes
}

/// A JSON object whose keys differ; `__metadata__`, which is not a tensor, is skipped.
pub(super) struct UniqueMap<V>(pub(super) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMapVisitor(PhantomData))
    }
}

struct UniqueMapVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueMapVisitor<V> {
    type Value = UniqueMap<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a key for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut unique = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match unique.entry(key) {
                Entry::Vacant(place) => _ = place.insert(map.next_value()?),
                Entry::Occupied(held) => {
                    let key = held.key();
                    return Err(Error::custom(format_args!("tensor {key} twice")));
                }
            }
        }
        Ok(UniqueMap(unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Header, CheckpointError> {
        Header::parse(Path::new("model.safetensors"), bytes)
    }

    #[track_caller]
    fn assert_rejected(header: &str, data: usize, message: &str) {
        let error = parse(&file(header, data)).err().unwrap().to_string();
        assert!(error.starts_with("model.safetensors: "), "{error}");
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn an_encoded_header_can_be_parsed() {
        let tensors: [(&str, &[usize], usize); 3] = [("a", &[2, 3], 12), ("b", &[0], 0), ("c", &[], 2)];
        let mut bytes = encode(tensors.into_iter(), WeightDtype::BF16);
        assert_eq!(bytes.len() % 8, 0);
        bytes.extend([0; 14]);
        let header = parse(&bytes).unwrap();
        assert_eq!(header.data_start, bytes.len() - 14);
        let offsets: Vec<_> = header.tensors.values().map(|info| info.data_offsets).collect();
        assert_eq!(offsets, [(0, 12), (12, 12), (12, 14)]);
        assert_eq!(header.tensors["a"].shape, [2, 3]);
    }

    #[test]
    fn an_inconsistent_header_is_rejected() {
        let one = |from: u64, to: u64| format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[{from},{to}]}}}}"#);
        assert_rejected(&one(0, 8), 7, "expected offsets from 0 to at most 7, got 0 to 8");
        assert_rejected(&one(0, 8), 9, "expected 8 bytes of tensors, got 9");
        assert_rejected(&one(4, 12), 12, "expected offsets from 0 to at most 12, got 4 to 12");
        assert_rejected(&one(0, 4), 4, "expected the bytes of F32 [2], got 4");
        assert_rejected(&one(8, 0), 8, "got 8 to 0");
        assert_rejected(&one(0, u64::MAX), 8, "got 0 to 18446744073709551615");
        let entry = |name: &str| format!(r#""{name}":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#);
        let overlapping = format!("{{{},{}}}", entry("a"), entry("b"));
        assert_rejected(&overlapping, 4, "b: expected offsets from 4");
        let twice = format!("{{{},{}}}", entry("a"), entry("a"));
        assert_rejected(&twice, 4, "tensor a twice");
        let huge = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#;
        assert_rejected(huge, 0, "expected the bytes of F32");
        let unknown = r#"{"a":{"dtype":"F7","shape":[],"data_offsets":[0,0]}}"#;
        assert_rejected(unknown, 0, "F7");
        assert_rejected("[]", 0, "expected a safetensors header in JSON");
    }

    #[test]
    fn a_length_beyond_the_file_is_rejected_without_allocating() {
        for length in [3, MAX_HEADER as u64, MAX_HEADER as u64 + 1, u64::MAX] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(b"{}");
            assert!(parse(&bytes).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_change_of_a_header_panics(at in 0usize..200, byte: u8, data in 0usize..32) {
            let mut bytes = encode([("a", &[2, 3][..], 24)].into_iter(), WeightDtype::F32);
            bytes.resize(bytes.len() + data, 0);
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(header) = parse(&bytes) {
                for info in header.tensors.values() {
                    prop_assert!(header.data_start + info.data_offsets.1 <= bytes.len());
                }
            }
        }
    }
}
