//! What others computed for a small model with random weights, and what ours computes for the same tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use burn::tensor::{Device, Tensor};
use mpo_kernels::{PackedLayout, sequence_log_probs};
use mpo_models::{CausalLm, ModelConfig};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::floats;

/// Tokens of each sequence of a batch, padding included.
const LENGTH: usize = 24;

/// Where files are that tests read. These tests are where Cargo's variable says: a binary may be carried to another machine.
pub fn fixtures() -> PathBuf {
    let tests = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(tests).join("fixtures")
}

/// A folder of `fixtures/goldens`.
pub struct Golden {
    /// Where it is: of most, a model.
    pub dir: PathBuf,
    tensors: Vec<u8>,
    /// What is in `goldens.json`.
    pub numbers: Value,
}

impl Golden {
    /// The folder of this name.
    ///
    /// # Panics
    /// If its files cannot be read.
    pub fn open(name: &str) -> Self {
        let dir = fixtures().join("goldens").join(name);
        Self {
            tensors: fs::read(dir.join("goldens.safetensors")).expect("a file of tensors"),
            numbers: serde_json::from_slice(&fs::read(dir.join("goldens.json")).expect("a file")).expect("JSON"),
            dir,
        }
    }

    /// The model of the folder.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub fn load(&self, device: &Device) -> (CausalLm, ModelConfig) {
        CausalLm::load(&self.dir, device).expect("a model")
    }

    /// The numbers of a tensor in f32.
    ///
    /// # Panics
    /// If there is none.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        let bytes = self.bytes(name).expect("a tensor of this name");
        bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    /// The token ids of a tensor, if it is there.
    ///
    /// # Panics
    /// If they are none.
    pub fn ids(&self, name: &str) -> Option<Vec<u32>> {
        let ids = self.bytes(name)?.as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes));
        Some(ids.map(|id| u32::try_from(id).expect("a token id")).collect())
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        let tensors = SafeTensors::deserialize(&self.tensors).expect("a file of tensors");
        Some(tensors.tensor(name).ok()?.data())
    }

    /// A batch: `suffix` is empty for two whole sequences, `_padded` for the one whose second sequence is shorter.
    ///
    /// # Panics
    /// If there is none in the files.
    pub fn batch(&self, suffix: &str) -> Batch {
        let ids = |name: &str| self.ids(&format!("{name}{suffix}")).expect("a tensor of this name");
        let floats = |name: &str| self.floats(&format!("{name}{suffix}"));
        let number = |name: &str| self.numbers[format!("{name}{suffix}")].clone();
        let mask = ids("attention_mask");
        Batch {
            tokens: ids("input_ids"),
            lengths: mask.chunks(LENGTH).map(|sequence| sequence.iter().sum::<u32>() as usize).collect(),
            outputs: Outputs { hidden_states: floats("last_hidden"), logits: floats("logits") },
            training: Training {
                log_prob_sums: serde_json::from_value(number("logp_sums")).expect("a number a sequence"),
                gradient_norms: serde_json::from_value(number("grad_l2")).expect("a number a parameter"),
            },
        }
    }
}

/// Tokens, padding included, and what Transformers made of them.
pub struct Batch {
    /// One sequence after the other.
    pub tokens: Vec<u32>,
    /// Tokens of each sequence that are not padding.
    pub lengths: Vec<usize>,
    /// What a model says of them.
    pub outputs: Outputs,
    /// What it learns from them.
    pub training: Training,
}

/// What a model says of each token, row after row.
pub struct Outputs {
    /// The last layer's, after the norm.
    pub hidden_states: Vec<f32>,
    /// One for each token of the vocabulary.
    pub logits: Vec<f32>,
}

/// What is learnt from.
pub struct Training {
    /// One a sequence.
    pub log_prob_sums: Vec<f32>,
    /// Of the mean negative log-likelihood over the predicted tokens of all sequences together.
    pub gradient_norms: BTreeMap<String, f64>,
}

impl Batch {
    /// The rows of `values` that are not padding.
    pub fn real<T: Clone>(&self, values: &[T]) -> Vec<T> {
        let width = values.len() / self.tokens.len();
        values
            .chunks(LENGTH * width)
            .zip(&self.lengths)
            .flat_map(|(sequence, length)| sequence[..length * width].to_vec())
            .collect()
    }

    /// What Transformers says of the tokens that are not padding.
    pub fn real_outputs(&self) -> Outputs {
        Outputs { hidden_states: self.real(&self.outputs.hidden_states), logits: self.real(&self.outputs.logits) }
    }

    /// Our model's log-probabilities of every token that follows another, padding included.
    pub fn token_log_probs(&self, model: &CausalLm) -> Tensor<1> {
        let rows: Vec<usize> = (0..self.tokens.len()).filter(|row| (row + 1) % LENGTH != 0).collect();
        let targets: Vec<u32> = rows.iter().map(|row| self.tokens[row + 1]).collect();
        let hidden = model.hidden_states(&self.tokens, &PackedLayout::sequences(&self.lengths));
        model.token_log_probs(hidden, &rows, &targets)
    }

    /// Runs our model, forward and backward, on the tokens that are not padding.
    ///
    /// # Panics
    /// If a parameter has no gradient.
    pub fn run(&self, model: &CausalLm) -> (Outputs, Training) {
        let tokens = self.real(&self.tokens);
        let hidden_states = model.hidden_states(&tokens, &PackedLayout::sequences(&self.lengths));
        let outputs = outputs(model, hidden_states.clone());

        // Every token but a sequence's last predicts the next.
        let (mut rows, mut start) = (vec![], 0);
        for &length in &self.lengths {
            rows.extend(start..start + length - 1);
            start += length;
        }
        let targets: Vec<u32> = rows.iter().map(|row| tokens[row + 1]).collect();
        let predicted: Vec<usize> = self.lengths.iter().map(|length| length - 1).collect();
        let log_probs = model.token_log_probs(hidden_states, &rows, &targets);
        let sums = sequence_log_probs(log_probs, &predicted).sum;

        let mean_nll = sums.clone().sum().neg().div_scalar(rows.len() as f32);
        let mut gradients = mean_nll.backward();
        let gradient_norms = model
            .take_gradients(&mut gradients)
            .into_iter()
            .map(|(name, gradient)| {
                let gradient = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
                let squares = floats(gradient).into_iter().map(|g| f64::from(g).powi(2));
                (name, squares.sum::<f64>().sqrt())
            })
            .collect();
        let training = Training { log_prob_sums: floats(sums), gradient_norms };
        (outputs, training)
    }
}

/// Hidden states as they are read back, with their logits.
pub fn outputs(model: &CausalLm, hidden_states: Tensor<2>) -> Outputs {
    Outputs { logits: floats(model.logits(hidden_states.clone())), hidden_states: floats(hidden_states) }
}
