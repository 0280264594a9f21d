//! Numbers by what they were computed from, in memory and in a file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::error::TrainError;
use crate::folder::{read_file, write_atomically};

/// Identifies token ids.
pub(crate) type Digest = [u8; 32];

/// A digest of parts, each with its length: no two lists of parts share one.
pub(crate) fn digest(parts: &[&[u32]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for ids in parts {
        hasher.update(&(ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| _ = hasher.update(&id.to_le_bytes()));
    }
    *hasher.finalize().as_bytes()
}

/// In the place of how many numbers there are of a digest that is not known.
const UNKNOWN: u32 = u32::MAX;

/// A few numbers for each digest.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    /// Where a digest's numbers end in `values`; they begin where the ones before end.
    index: HashMap<Digest, usize>,
    digests: Vec<Digest>,
    ends: Vec<usize>,
    values: Vec<f32>,
}

impl Table {
    pub(crate) fn get(&self, of: &Digest) -> Option<&[f32]> {
        let entry = *self.index.get(of)?;
        let start = entry.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.values[start..self.ends[entry]])
    }

    pub(crate) fn insert(&mut self, of: Digest, values: &[f32]) {
        if self.index.contains_key(&of) {
            return;
        }
        self.index.insert(of, self.digests.len());
        self.digests.push(of);
        self.values.extend_from_slice(values);
        self.ends.push(self.values.len());
    }

    /// What is known of these, for another rank to [`learn`](Self::learn).
    pub(crate) fn told<'d>(&self, of: impl Iterator<Item = &'d Digest>) -> Vec<u8> {
        let words = of.flat_map(|of| {
            let values = self.get(of);
            let count = values.map_or(UNKNOWN, |values| values.len() as u32);
            std::iter::once(count).chain(values.into_iter().flatten().map(|value| value.to_bits()))
        });
        words.flat_map(u32::to_le_bytes).collect()
    }

    /// Takes in what another rank tells of these.
    pub(crate) fn learn<'d>(&mut self, of: impl Iterator<Item = &'d Digest>, told: &[u8]) {
        let mut words = told.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
        for of in of {
            let count = words.next().unwrap_or(UNKNOWN);
            if count != UNKNOWN {
                let values: Vec<f32> = words.by_ref().take(count as usize).map(f32::from_bits).collect();
                self.insert(*of, &values);
            }
        }
    }

    /// The same with nothing but the numbers of these; itself where it has no others.
    pub(crate) fn only(self, of: &[Digest]) -> Self {
        let wanted: HashSet<&Digest> = of.iter().collect();
        if self.digests.iter().all(|digest| wanted.contains(digest)) {
            return self;
        }
        let mut only = Self::default();
        for digest in of {
            if let Some(values) = self.get(digest) {
                only.insert(*digest, values);
            }
        }
        only
    }

    /// The table at `path`, if there is one with this key.
    pub(crate) fn load(path: &Path, key: &str) -> Result<Option<Self>, TrainError> {
        let Some(bytes) = read_file(path)? else {
            return Ok(None);
        };
        Self::parse(&bytes, key).map_err(|problem| TrainError::Broken {
            path: path.to_owned(),
            problem,
            remedy: "delete the file; it will be made again",
        })
    }

    fn parse(bytes: &[u8], key: &str) -> Result<Option<Self>, String> {
        let text = |error: safetensors::SafeTensorError| error.to_string();
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(text)?;
        let stored = metadata.metadata().as_ref().and_then(|map| map.get("key"));
        match stored {
            None => return Err("tensors without the model that they are of".into()),
            Some(stored) if stored != key => return Ok(None),
            Some(_) => {}
        }
        let check = metadata.metadata().as_ref().and_then(|map| map.get("check"));
        let tensors = SafeTensors::deserialize(bytes).map_err(text)?;
        let data = |name: &str, dtype: Dtype| {
            let tensor = tensors.tensor(name).map_err(text)?;
            if tensor.dtype() == dtype {
                Ok(tensor.data())
            } else {
                Err(format!("{name}: expected {dtype:?}, got {:?}", tensor.dtype()))
            }
        };
        let (digests, ends, values) =
            (data("digest", Dtype::U8)?, data("end", Dtype::U64)?, data("value", Dtype::F32)?);
        if check != Some(&sum(key, digests, ends, values)) {
            return Err("numbers that are not as they were written".into());
        }
        let (digests, _) = digests.as_chunks::<32>();
        let (ends, _) = ends.as_chunks::<8>();
        let (values, _) = values.as_chunks::<4>();
        let ends: Vec<usize> = ends.iter().map(|&end| u64::from_le_bytes(end) as usize).collect();
        let whole = ends.is_sorted() && *ends.last().unwrap_or(&0) == values.len();
        if !whole || ends.len() != digests.len() {
            let (rows, numbers) = (digests.len(), values.len());
            return Err(format!("expected the ends of {rows} entries with {numbers} numbers"));
        }
        Ok(Some(Self {
            index: digests.iter().copied().zip(0..).collect(),
            digests: digests.to_vec(),
            ends,
            values: values.iter().map(|&value| f32::from_le_bytes(value)).collect(),
        }))
    }

    /// Writes the table; should that fail, the one before is untouched.
    pub(crate) fn store(&self, path: &Path, key: &str) -> Result<(), TrainError> {
        let broken = |error: safetensors::SafeTensorError| TrainError::Broken {
            path: path.to_owned(),
            problem: error.to_string(),
            remedy: "delete the file; it will be made again",
        };
        let ends: Vec<u8> = self.ends.iter().flat_map(|&end| (end as u64).to_le_bytes()).collect();
        let values: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let count = self.digests.len();
        let view = |dtype, shape, data| TensorView::new(dtype, shape, data).map_err(broken);
        let tensors = [
            ("digest", view(Dtype::U8, vec![count, 32], self.digests.as_flattened())?),
            ("end", view(Dtype::U64, vec![count], &ends)?),
            ("value", view(Dtype::F32, vec![self.values.len()], &values)?),
        ];
        let check = sum(key, self.digests.as_flattened(), &ends, &values);
        let metadata = [("key", key.to_owned()), ("check", check)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
        let metadata = HashMap::from(metadata);
        let file = safetensors::serialize(tensors, Some(metadata)).map_err(broken)?;
        write_atomically(path, &file)
    }
}

/// A checksum: one bad byte would change every run that shares the table.
fn sum(key: &str, digests: &[u8], ends: &[u8], values: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [key.as_bytes(), digests, ends, values] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_back_under_its_own_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scores.safetensors");
        assert_eq!(Table::load(&path, "k").unwrap(), None);
        let mut table = Table::default();
        let (one, none, three) = (digest(&[&[1], &[2]]), digest(&[&[1, 2]]), digest(&[&[]]));
        table.insert(one, &[0.5]);
        table.insert(none, &[]);
        table.insert(three, &[1.0, -2.0, f32::MIN_POSITIVE]);
        table.insert(one, &[7.0]);
        table.store(&path, "k").unwrap();
        let read = Table::load(&path, "k").unwrap().unwrap();
        assert_eq!(read, table);
        assert_eq!(read.get(&one), Some(&[0.5][..]));
        assert_eq!(read.get(&none), Some(&[][..]));
        assert_eq!(read.get(&three).map(<[f32]>::len), Some(3));
        assert_eq!(read.get(&digest(&[&[9]])), None);
        assert_eq!(Table::load(&path, "other").unwrap(), None);
    }

    #[test]
    fn what_one_rank_tells_another_knows() {
        let of = [1, 2, 3, 4].map(|id| digest(&[&[id]]));
        let mut table = Table::default();
        table.insert(of[0], &[1.0, f32::NAN]);
        table.insert(of[2], &[]);
        table.insert(of[3], &[-0.0]);
        let mut other = Table::default();
        other.insert(of[1], &[5.0]);
        other.learn(of.iter(), &table.told(of.iter()));
        let bits = |at: usize| other.get(&of[at]).map(|values| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        assert_eq!(bits(0), Some(vec![1.0_f32.to_bits(), f32::NAN.to_bits()]));
        assert_eq!((bits(1), bits(2)), (Some(vec![5.0_f32.to_bits()]), Some(vec![])));
        assert_eq!(bits(3), Some(vec![(-0.0_f32).to_bits()]));
    }

    #[test]
    fn some_of_a_table_has_nothing_else() {
        let of = [1, 2, 3].map(|id| digest(&[&[id]]));
        let mut table = Table::default();
        for (of, values) in of.iter().zip([&[1.0][..], &[2.0, 2.5], &[3.0]]) {
            table.insert(*of, values);
        }
        assert_eq!(table.clone().only(&[of[2], of[0], of[1], of[2]]), table);
        let only = table.only(&[of[1], of[1], digest(&[&[9]])]);
        assert_eq!((only.get(&of[0]), only.get(&of[1])), (None, Some(&[2.0, 2.5][..])));
        assert_eq!(only.values.len(), 2);
    }

    #[test]
    fn a_flipped_bit_is_found_or_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut table = Table::default();
        table.insert(digest(&[&[1]]), &[1.0, 2.0]);
        table.store(&path, "key").unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, bad).unwrap();
            // Under another key it is another model's, which is not used either.
            if let Ok(Some(read)) = Table::load(&path, "key") {
                assert_eq!(read, table, "byte {at}");
            }
        }
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut table = Table::default();
        table.insert(digest(&[&[1]]), &[1.0, 2.0]);
        table.ends[0] = 3;
        table.store(&path, "k").unwrap();
        assert!(matches!(Table::load(&path, "k"), Err(TrainError::Broken { .. })));
        std::fs::write(&path, "no").unwrap();
        assert!(matches!(Table::load(&path, "k"), Err(TrainError::Broken { .. })));
    }
}
