//! The reference as a cache: its reward gaps and hidden states on the dominant language, computed once.
//!
//! They are constants of weights, data and template, so the cache is keyed by a digest of all three, and a dominant
//! pair that stands in several rows (once for each target language) is computed once.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mpo_data::{TokenizedPair, TokenizedRow};
use mpo_models::CausalLm;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::config::Retain;
use crate::error::TrainError;
use crate::pack::Packer;
use crate::run_folder::write_atomically;
use crate::tasks::Padding;

/// The reference's numbers for every row.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    gaps: Vec<f32>,
    hidden: Vec<f32>,
    /// Elements of `hidden` a row; 0 if none are held.
    width: usize,
}

impl Reference {
    /// How many rows it covers.
    pub fn rows(&self) -> usize {
        self.gaps.len()
    }

    /// The dominant reward gap of a row, nats a token.
    pub fn gap(&self, row: usize) -> f32 {
        self.gaps[row]
    }

    /// The hidden states of these rows, `[rows, elements]`.
    pub(crate) fn hidden(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|row| &self.hidden[row * self.width..(row + 1) * self.width])
            .copied()
            .collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), self.width]), device)
    }
}

/// What of the dominant side is held in place, collected while a batch is packed.
#[derive(Debug)]
pub(crate) enum Retained {
    Nothing,
    /// The prompts' last rows.
    LastTokens(Vec<usize>),
    /// Two groups of rows for each pair: chosen, rejected.
    Means {
        groups: Vec<Vec<Range<usize>>>,
        padding: Padding,
    },
}

impl Retained {
    pub(crate) fn new(retain: Retain, padding: Padding) -> Self {
        match retain {
            Retain::None => Self::Nothing,
            Retain::LastToken => Self::LastTokens(vec![]),
            Retain::MeanPool => Self::Means {
                groups: vec![],
                padding,
            },
        }
    }

    /// Adds what is needed of a dominant pair to the batch.
    pub(crate) fn pack(&mut self, packer: &mut Packer, pair: &TokenizedPair) {
        match self {
            Self::Nothing => {}
            Self::LastTokens(rows) => rows.push(packer.prompt(pair.prompt()).end - 1),
            Self::Means { .. } => {
                let rows = packer.pair(pair);
                self.add(packer, &rows);
            }
        }
    }

    /// Adds what is needed of a dominant pair that is in the batch already.
    fn add(&mut self, packer: &mut Packer, pair: &crate::pack::PairRows) {
        match self {
            Self::Nothing => {}
            Self::LastTokens(rows) => rows.push(pair.prompt.end - 1),
            Self::Means { groups, padding } => {
                let answers = [&pair.chosen, &pair.rejected];
                let longest = answers
                    .iter()
                    .map(|answer| pair.prompt.len() + answer.len())
                    .max();
                let length = longest.unwrap_or(0).next_multiple_of(padding.multiple);
                for answer in answers {
                    let missing = length - pair.prompt.len() - answer.len();
                    let pads = packer.padding(&pair.prompt, answer, padding.token, missing);
                    groups.push(vec![pair.prompt.clone(), answer.clone(), pads]);
                }
            }
        }
    }
}

/// Where the cache is kept and what it must have been made from.
#[derive(Debug)]
pub struct ReferenceCache {
    path: PathBuf,
    key: String,
    rows: usize,
}

impl ReferenceCache {
    /// The cache at `path` for the model with this content hash, these rows and this way of retaining.
    pub fn new(
        path: impl Into<PathBuf>,
        model_hash: &str,
        rows: &[TokenizedRow],
        retain: Retain,
        padding: Padding,
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        // To be raised when the same model and rows come to give other numbers.
        hasher.update(b"reference 1");
        hasher.update(model_hash.as_bytes());
        rows.iter().for_each(|row| row_digest(&mut hasher, row));
        let retain = match retain {
            Retain::MeanPool => format!("{retain:?} {padding:?}"),
            Retain::LastToken | Retain::None => format!("{retain:?}"),
        };
        hasher.update(retain.as_bytes());
        Self {
            path: path.into(),
            key: hasher.finalize().to_string(),
            rows: rows.len(),
        }
    }

    /// The cached reference, if there is one made from the same things.
    ///
    /// # Errors
    /// If the file is there and unreadable or broken.
    pub fn load(&self) -> Result<Option<Reference>, TrainError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrainError::io(&self.path, error)),
        };
        parse(&bytes, &self.key, self.rows).map_err(|problem| TrainError::Broken {
            path: self.path.clone(),
            problem,
        })
    }

    /// Keeps `reference` for later runs.
    ///
    /// # Errors
    /// If the file cannot be written; then the one before is untouched.
    pub fn store(&self, reference: &Reference) -> Result<(), TrainError> {
        let rows = reference.rows();
        let gaps = bytes(&reference.gaps);
        let hidden = bytes(&reference.hidden);
        let view = |shape, data| {
            TensorView::new(Dtype::F32, shape, data).map_err(|error| TrainError::Broken {
                path: self.path.clone(),
                problem: error.to_string(),
            })
        };
        let tensors = [
            ("gap", view(vec![rows], &gaps)?),
            ("hidden", view(vec![rows, reference.width], &hidden)?),
        ];
        let metadata = HashMap::from([("key".to_owned(), self.key.clone())]);
        let file = safetensors::serialize(tensors, Some(metadata)).map_err(|error| {
            TrainError::Broken {
                path: self.path.clone(),
                problem: error.to_string(),
            }
        })?;
        write_atomically(&self.path, &file)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn parse(bytes: &[u8], key: &str, count: usize) -> Result<Option<Reference>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let stored = metadata.metadata().as_ref().and_then(|map| map.get("key"));
    if stored.map(String::as_str) != Some(key) {
        return Ok(None);
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let floats = |name: &str| -> Result<(Vec<usize>, Vec<f32>), String> {
        let tensor = tensors.tensor(name).map_err(|error| error.to_string())?;
        let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        match tensor.dtype() {
            Dtype::F32 => Ok((
                tensor.shape().to_vec(),
                tensor.data().chunks_exact(4).map(value).collect(),
            )),
            other => Err(format!("{name}: expected F32, got {other:?}")),
        }
    };
    let (_, gaps) = floats("gap")?;
    let (shape, hidden) = floats("hidden")?;
    match shape[..] {
        [rows, width] if rows == count && gaps.len() == count => Ok(Some(Reference {
            gaps,
            hidden,
            width,
        })),
        _ => Err(format!(
            "gap [{}] and hidden {shape:?} where {count} rows belong",
            gaps.len()
        )),
    }
}

impl Reference {
    /// Computes the reference with `model`'s present weights; `progress` is told rows done and rows in all, and says
    /// whether to go on.
    ///
    /// # Errors
    /// If a number is not finite, or `progress` says stop.
    pub fn compute(
        model: &CausalLm,
        rows: &[TokenizedRow],
        retain: Retain,
        padding: Padding,
        max_tokens: usize,
        mut progress: impl FnMut(usize, usize) -> bool,
    ) -> Result<Self, TrainError> {
        let model = model.valid();
        let mut distinct: HashMap<&TokenizedPair, usize> = HashMap::new();
        let mut pairs: Vec<&TokenizedRow> = vec![];
        for row in rows {
            distinct.entry(&row.dominant).or_insert_with(|| {
                pairs.push(row);
                pairs.len() - 1
            });
        }
        let (mut gaps, mut hidden) = (vec![], vec![]);
        let mut done = 0;
        while done < pairs.len() {
            if !progress(done, pairs.len()) {
                return Err(TrainError::Interrupted);
            }
            let (mut packer, mut scored, mut tokens) = (Packer::default(), vec![], 0);
            let mut retained = Retained::new(retain, padding);
            while let Some(row) = pairs.get(done) {
                let pair = &row.dominant;
                let size = pair.tokens();
                if tokens > 0 && tokens + size > max_tokens {
                    break;
                }
                tokens += size;
                let rows = packer.pair(pair);
                retained.add(&mut packer, &rows);
                scored.push(rows);
                done += 1;
            }
            let states = packer.hidden_states(&model);
            let gap = packer.pair_scores(&model, &states, &scored).reward_gap();
            gaps.extend(values(gap));
            if let Some(states) = retained.hidden(&states) {
                let elements = states.shape().num_elements();
                hidden.extend(values(states.reshape([elements])));
            }
            let first = gaps.len() - scored.len();
            if let Some(bad) = gaps[first..].iter().position(|gap| !gap.is_finite()) {
                return Err(TrainError::NotFinite {
                    what: "the reference's reward gap",
                    value: f64::from(gaps[first + bad]),
                    row: pairs[first + bad].origin.to_string(),
                });
            }
        }
        progress(pairs.len(), pairs.len());
        let width = hidden.len() / pairs.len().max(1);
        let index = |row: &TokenizedRow| distinct[&row.dominant];
        Ok(Self {
            gaps: rows.iter().map(|row| gaps[index(row)]).collect(),
            hidden: rows
                .iter()
                .flat_map(|row| &hidden[index(row) * width..(index(row) + 1) * width])
                .copied()
                .collect(),
            width,
        })
    }
}

/// The elements of a tensor.
pub(crate) fn values(tensor: Tensor<1>) -> Vec<f32> {
    let data = tensor.without_autodiff().into_data().convert::<f32>();
    data.try_to_vec()
        .expect("the data has just been converted to f32")
}

/// Adds a row's tokens to a digest.
pub(crate) fn row_digest(hasher: &mut blake3::Hasher, row: &TokenizedRow) {
    for pair in [&row.dominant, &row.target] {
        for ids in [pair.prompt(), pair.chosen(), pair.rejected()] {
            hasher.update(&(ids.len() as u64).to_le_bytes());
            ids.iter()
                .for_each(|id| _ = hasher.update(&id.to_le_bytes()));
        }
    }
}
