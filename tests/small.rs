//! Small models with random weights, rows of token ids, and how the one is trained on the other.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::convert::Infallible;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use mpo_data::{Origin, Position, TokenizedPair, TokenizedRow, TokenizedRows};
use mpo_models::{CausalLm, ModelConfig, WeightSource};
use mpo_progress::{Progress, Silent, Stage};
use mpo_tests::FIXTURES;
use mpo_trainer::{OptimizerState, TrainOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// One that asks to stop when it is told to.
#[derive(Default)]
pub(crate) struct Stopping(pub(crate) AtomicBool);

impl Progress for Stopping {
    fn note(&self, _: &dyn Display) {}

    fn begin(&self, what: &str, length: Option<usize>) -> Box<dyn Stage + '_> {
        Silent.begin(what, length)
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A small model with random weights, always the same.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    pub(crate) fixture: &'static str,
    /// Whether the head is the embedding.
    pub(crate) tied: bool,
}

impl Model {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        FIXTURES.into_iter().flat_map(|fixture| [true, false].map(|tied| Self { fixture, tied }))
    }

    pub(crate) fn on(self, device: &Device) -> (CausalLm, ModelConfig) {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens");
        let text = fs::read(fixtures.join(self.fixture).join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["tie_word_embeddings"] = self.tied.into();
        // Room for all ids of `rows`.
        config["vocab_size"] = config["vocab_size"].as_u64().unwrap().max(303).into();
        let config = ModelConfig::from_json(config).unwrap();
        let Ok(model) = CausalLm::new(config.decoder.clone(), &mut Weights, device);
        (model, config)
    }
}

/// Random weights that follow from names alone, so that tests that run at the same time have the same.
struct Weights;

impl WeightSource for Weights {
    type Error = Infallible;

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, Infallible> {
        let mut random = ChaCha8Rng::from_seed(*blake3::hash(name.as_bytes()).as_bytes());
        let number = |_| random.random_range(-0.0625..0.0625f32);
        let numbers: Vec<f32> = (0..shape.iter().product::<usize>()).map(number).collect();
        Ok(Tensor::from_data(TensorData::new(numbers, shape), device))
    }
}

pub(crate) fn rows() -> TokenizedRows {
    let origin = Origin { file: "rows".into(), position: Position::Row(1) };
    let row = |at: u32| {
        let ids = |from: u32, count: u32| (from..from + count).map(|id| 3 + (id * 37 + at * 11) % 300).collect();
        let pair = |from| TokenizedPair::new(&origin, ids(from, 5), ids(from + 5, 4 + at), ids(from + 20, 6)).unwrap();
        TokenizedRow {
            dominant: pair(1),
            target: pair(50),
            dominant_language: "en".parse().unwrap(),
            language: "zh".parse().unwrap(),
            origin: origin.clone(),
        }
    };
    TokenizedRows::Bilingual((0..6).map(row).collect())
}

/// How a model is trained.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) state: OptimizerState,
    pub(crate) recompute: bool,
    /// Tokens that pass at once.
    pub(crate) micro_batch: usize,
    pub(crate) max_grad_norm: f64,
}

impl How {
    pub(crate) fn options(self, output: &Path) -> TrainOptions {
        TrainOptions {
            model: Some("model".into()),
            data: Some("rows".into()),
            output: Some(output.to_owned()),
            lr: Some(1e-3),
            weight_decay: Some(0.01),
            batch_size: Some(3),
            epochs: Some(3.0),
            micro_batch_tokens: Some(self.micro_batch),
            max_grad_norm: Some(self.max_grad_norm),
            optimizer_state: Some(self.state),
            checkpoint_every: Some(1000),
            ..TrainOptions::default()
        }
    }
}

/// Every weight, and what the log says of every step.
pub(crate) type Trained = (Vec<(String, Vec<f32>)>, Vec<Vec<(String, u64)>>);

/// ‖a − b‖ / ‖b − start‖.
pub(crate) fn distance(a: &Trained, b: &Trained, start: &CausalLm) -> f64 {
    let mut before = vec![];
    start.each_parameter(|parameter| before.push(parameter.values.into_data().try_to_vec::<f32>().unwrap()));
    let (mut apart, mut moved) = (0.0, 0.0);
    for (((_, a), (_, b)), start) in a.0.iter().zip(&b.0).zip(&before) {
        for ((a, b), start) in a.iter().zip(b).zip(start) {
            apart += f64::from(a - b).powi(2);
            moved += f64::from(b - start).powi(2);
        }
    }
    (apart / moved).sqrt()
}
