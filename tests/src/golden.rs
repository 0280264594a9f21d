//! What Transformers computed for a small model with random weights, and what ours computes for the same tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use burn::tensor::{Device, Tensor};
use mpo_kernels::{PackedLayout, sequence_log_probs};
use mpo_models::{CausalLm, ModelConfig};
use mpo_tests::floats;
use safetensors::SafeTensors;
use serde_json::Value;

/// Tokens of each sequence of a batch, padding included.
const LENGTH: usize = 24;

/// Where these tests are; a binary carried to another machine is told by the variable that Cargo sets.
fn tests_folder() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

/// A folder of `fixtures/goldens`.
pub(crate) struct Golden {
    pub(crate) dir: PathBuf,
    tensors: Vec<u8>,
    numbers: Value,
}

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let dir = tests_folder().join("fixtures/goldens").join(name);
        Self {
            tensors: fs::read(dir.join("goldens.safetensors")).unwrap(),
            numbers: serde_json::from_slice(&fs::read(dir.join("goldens.json")).unwrap()).unwrap(),
            dir,
        }
    }

    pub(crate) fn load(&self, device: &Device) -> (CausalLm, ModelConfig) {
        CausalLm::load(&self.dir, device).unwrap()
    }

    /// A batch: `suffix` is empty for two whole sequences, `_padded` for the one whose second sequence is shorter.
    pub(crate) fn batch(&self, suffix: &str) -> Batch {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let bytes = |name: &str| tensors.tensor(&format!("{name}{suffix}")).unwrap().data();
        let integers = |name: &str| -> Vec<u32> {
            let (integers, _) = bytes(name).as_chunks::<8>();
            let integers = integers.iter().map(|&bytes| i64::from_le_bytes(bytes));
            integers.map(|id| u32::try_from(id).unwrap()).collect()
        };
        let floats = |name: &str| -> Vec<f32> {
            let (floats, _) = bytes(name).as_chunks::<4>();
            let floats = floats.iter().map(|&bytes| f32::from_le_bytes(bytes));
            floats.collect()
        };
        let number = |name: &str| &self.numbers[format!("{name}{suffix}")];
        let mask = integers("attention_mask");
        Batch {
            tokens: integers("input_ids"),
            lengths: mask.chunks(LENGTH).map(|sequence| sequence.iter().sum::<u32>() as usize).collect(),
            outputs: Outputs { hidden_states: floats("last_hidden"), logits: floats("logits") },
            training: Training {
                log_prob_sums: serde_json::from_value(number("logp_sums").clone()).unwrap(),
                gradient_norms: serde_json::from_value(number("grad_l2").clone()).unwrap(),
            },
        }
    }
}

/// Tokens, padding included, and what Transformers made of them.
pub(crate) struct Batch {
    pub(crate) tokens: Vec<u32>,
    /// Tokens of each sequence that are not padding.
    pub(crate) lengths: Vec<usize>,
    pub(crate) outputs: Outputs,
    pub(crate) training: Training,
}

/// What a model says of each token, row after row.
pub(crate) struct Outputs {
    pub(crate) hidden_states: Vec<f32>,
    pub(crate) logits: Vec<f32>,
}

/// What is learnt from.
pub(crate) struct Training {
    /// One a sequence.
    pub(crate) log_prob_sums: Vec<f32>,
    /// Of the mean negative log-likelihood over the predicted tokens of all sequences together.
    pub(crate) gradient_norms: BTreeMap<String, f64>,
}

impl Batch {
    /// The rows of `values` that are not padding.
    pub(crate) fn real<T: Clone>(&self, values: &[T]) -> Vec<T> {
        let width = values.len() / self.tokens.len();
        values
            .chunks(LENGTH * width)
            .zip(&self.lengths)
            .flat_map(|(sequence, length)| sequence[..length * width].to_vec())
            .collect()
    }

    /// What Transformers says of the tokens that are not padding.
    pub(crate) fn real_outputs(&self) -> Outputs {
        Outputs { hidden_states: self.real(&self.outputs.hidden_states), logits: self.real(&self.outputs.logits) }
    }

    /// Runs our model, forward and backward, on the tokens that are not padding.
    pub(crate) fn run(&self, model: &CausalLm) -> (Outputs, Training) {
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
pub(crate) fn outputs(model: &CausalLm, hidden_states: Tensor<2>) -> Outputs {
    Outputs { logits: floats(model.logits(hidden_states.clone())), hidden_states: floats(hidden_states) }
}

/// Asserts that ‖ours − theirs‖ ≤ `tolerance` · ‖theirs‖.
#[track_caller]
pub(crate) fn assert_close<T: Copy + Into<f64>>(what: &str, ours: &[T], theirs: &[T], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}: how many");
    let doubles = |values: &[T]| -> Vec<f64> { values.iter().map(|&value| value.into()).collect() };
    let (ours, theirs) = (doubles(ours), doubles(theirs));
    let differences = ours.iter().zip(&theirs).map(|(our, their)| our - their);
    let difference: f64 = differences.map(|d| d * d).sum();
    let size: f64 = theirs.iter().map(|their| their * their).sum();
    let error = (difference / size).sqrt();
    // Written so that a NaN fails.
    assert!(error <= tolerance, "{what}: expected a relative error of at most {tolerance:.0e}, got {error:.2e}");
}
