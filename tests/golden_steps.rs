//! Ten MPO steps on SmolLM2-135M against the authors' procedure in PyTorch.
//!
//! Needs the golden file and the model, which are too large for this repository, so these tests run only when asked for:
//! `MPO_GOLDENS=… MPO_MODELS=… cargo test --release --workspace --test golden_steps -- --ignored`, with the folders of
//! `smollm2-135m-mpo-steps.json` and of `smollm2-135m/`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;

use burn::tensor::Device;
use mpo_data::{LanguagePair, TokenizedRow, TokenizedRows};
use mpo_kernels::PackedLayout;
use mpo_models::{CausalLm, SaveOptions, WeightDtype};
use mpo_progress::Silent;
use mpo_tests::steps::{METRICS, assert_same_steps, golden_rows, row_by_row, trained};
use mpo_tests::{assert_close, floats};
use mpo_trainer::{AdapterKind, HyperParameters, OptimizerState, Recompute, StepEvent, TrainOptions, score_rows};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

struct Goldens {
    model: PathBuf,
    json: Value,
    rows: Vec<TokenizedRow>,
}

fn goldens() -> Goldens {
    let folder = |name| PathBuf::from(std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set")));
    let file = folder("MPO_GOLDENS").join("smollm2-135m-mpo-steps.json");
    let json: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let rows = golden_rows(&json["rows"]);
    let model = folder("MPO_MODELS").join("smollm2-135m");
    Goldens { model, json, rows }
}

/// Which of the goldens' runs.
struct Run {
    of: &'static str,
    retain: &'static str,
    retain_scale: &'static str,
    steps: usize,
}

const RELEASED: Run = Run { of: "train_released", retain: "mean-pool", retain_scale: "mean", steps: 10 };
const PAPER: Run = Run { of: "train_paper", retain: "last-token", retain_scale: "squared", steps: 3 };

impl Run {
    /// Checks the first `steps` steps.
    fn check(&self, goldens: &Goldens, seen: &[StepEvent], tolerance: f64) {
        assert_same_steps(self.of, seen, goldens.json[self.of]["steps"].as_array().unwrap(), tolerance);
    }
}

/// Takes the run's steps of one row, with more options.
fn train(goldens: &Goldens, run: &Run, more: TrainOptions) -> (CausalLm, Vec<StepEvent>) {
    let settings = json!({"retain": run.retain, "retain_scale": run.retain_scale, "pad_multiple": 1});
    let settings = HyperParameters(settings.as_object().unwrap().clone());
    let options = TrainOptions { hyper_parameters: settings, ..more }.or(row_by_row(1e-5));
    let rows = TokenizedRows::Bilingual(goldens.rows[..run.steps].to_vec());
    let start = CausalLm::load(&goldens.model, &Device::flex().autodiff()).unwrap();
    trained(start, rows, goldens.json["pad_id"].as_u64().unwrap() as u32, options)
}

/// Checks log-prob sums of every pair against `initial` or a run's `final_log_probs`.
fn check_log_probs(model: &CausalLm, goldens: &Goldens, want: &Value) {
    let language = "zh".parse().unwrap();
    for side in ["source", "target"] {
        let pairs: Vec<_> = goldens
            .rows
            .iter()
            .map(|row| LanguagePair {
                language,
                pair: match side {
                    "source" => row.dominant.clone(),
                    _ => row.target.clone(),
                },
                origin: row.origin.clone(),
            })
            .collect();
        let scored = score_rows(model, &pairs, 1024, &Silent).unwrap();
        for (row, (scored, want)) in scored.iter().zip(want.as_array().unwrap()).enumerate() {
            for (answer, (sum, tokens)) in [("chosen", scored.chosen), ("rejected", scored.rejected)] {
                let of = format!("{side}_{answer}");
                assert_eq!(tokens as u64, want[format!("{of}_tokens")].as_u64().unwrap());
                let their = want[format!("{of}_logp_sum")].as_f64().unwrap();
                assert_close(&format!("row {row}, {of}"), &[sum], &[their], 1e-4);
            }
        }
    }
}

#[test]
#[ignore = "needs MPO_GOLDENS and MPO_MODELS"]
fn initial_log_probs() {
    let goldens = goldens();
    let (model, _) = CausalLm::load(&goldens.model, &Device::flex()).unwrap();
    check_log_probs(&model, &goldens, &goldens.json["initial"]);
}

#[test]
#[ignore = "needs MPO_GOLDENS and MPO_MODELS"]
fn released_code() {
    let goldens = goldens();
    for recompute in [Recompute::Off, Recompute::On] {
        let (model, steps) =
            train(&goldens, &RELEASED, TrainOptions { recompute: Some(recompute), ..TrainOptions::default() });
        assert_eq!(steps.len(), 10);
        RELEASED.check(&goldens, &steps, 1e-4);
        check_log_probs(&model, &goldens, &goldens.json["train_released"]["final_log_probs"]);
    }
}

#[test]
#[ignore = "needs MPO_GOLDENS and MPO_MODELS"]
fn released_code_with_moments_in_bf16() {
    let goldens = goldens();
    let more = TrainOptions {
        recompute: Some(Recompute::On),
        optimizer_state: Some(OptimizerState::Bf16),
        ..TrainOptions::default()
    };
    let (_, steps) = train(&goldens, &RELEASED, more);
    // Before the first update nothing is rounded.
    RELEASED.check(&goldens, &steps[..1], 1e-4);
    RELEASED.check(&goldens, &steps, 1e-2);
}

#[test]
#[ignore = "needs MPO_GOLDENS and MPO_MODELS"]
fn paper() {
    let goldens = goldens();
    for recompute in [Recompute::Off, Recompute::On] {
        let (_, steps) =
            train(&goldens, &PAPER, TrainOptions { recompute: Some(recompute), ..TrainOptions::default() });
        assert_eq!(steps.len(), 3);
        PAPER.check(&goldens, &steps, 1e-3);
    }
}

/// A new adapter changes nothing, so the first step's loss and gaps are those of the whole model.
#[test]
#[ignore = "needs MPO_GOLDENS and MPO_MODELS"]
fn an_adapter_begins_where_the_model_does() {
    let goldens = goldens();
    let more =
        TrainOptions { adapter: Some(AdapterKind::Lora), recompute: Some(Recompute::On), ..TrainOptions::default() };
    let (_, steps) = train(&goldens, &RELEASED, more);
    let want = &goldens.json["train_released"]["steps"][0];
    for (ours, theirs) in &METRICS[..3] {
        assert_close(ours, &[steps[0].metrics[*ours]], &[want[theirs].as_f64().unwrap()], 1e-4);
    }
    assert_eq!(steps.len(), 10);
    assert!(steps.iter().all(|step| step.metrics["grad_norm"] > 0.0));
}

/// Leaves a saved model and our logits in `MPO_SAVED`, for `tests/peers/check_saved_model.py` to load with Transformers.
#[test]
#[ignore = "needs MPO_GOLDENS, MPO_MODELS and MPO_SAVED"]
fn saved_for_transformers() {
    let goldens = goldens();
    let folder = PathBuf::from(std::env::var("MPO_SAVED").unwrap());
    let (model, config) = CausalLm::load(&goldens.model, &Device::flex()).unwrap();
    let options = SaveOptions {
        dtype: WeightDtype::F32,
        copy_from: Some(&goldens.model),
        overwrite: true,
        ..SaveOptions::default()
    };
    model.save(&folder.join("model"), &config, &options).unwrap();
    let ids = goldens.rows[0].target.prompt();
    let hidden_states = model.hidden_states(ids, &PackedLayout::sequences(&[ids.len()]));
    let logits = floats(model.logits(hidden_states));
    let id_bytes: Vec<u8> = ids.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
    let logit_bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).unwrap();
    let vocabulary = logits.len() / ids.len();
    let tensors = [
        ("input_ids", view(Dtype::I64, vec![1, ids.len()], &id_bytes)),
        ("logits", view(Dtype::F32, vec![1, ids.len(), vocabulary], &logit_bytes)),
    ];
    safetensors::serialize_to_file(tensors, None, &folder.join("reference.safetensors")).unwrap();
}
