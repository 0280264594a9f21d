//! An adapter that PEFT made: what it computes, and three MPO steps of it, beside PyTorch's (`tests/peers/make_adapter.py`).

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::PathBuf;

use burn::tensor::Device;
use mpo_data::{Origin, Position, TokenizedPair, TokenizedRow, TokenizedRows};
use mpo_kernels::PackedLayout;
use mpo_models::{
    Accumulator, AdapterFolder, CausalLm, LoraOptions, ModelConfig, PassOptions, RunAgain, SaveOptions, WeightDtype,
};
use mpo_progress::Silent;
use mpo_tests::golden::Golden;
use mpo_tests::steps::{row_by_row, trained};
use mpo_tests::{assert_close, floats};
use mpo_trainer::{Reference, StepEvent, TrainOptions, build_task};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

const STEPS: usize = 3;
/// Of PyTorch's numbers.
const TOLERANCE: f64 = 1e-4;

fn golden() -> Golden {
    Golden::open("peft")
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn rows(numbers: &Value) -> Vec<TokenizedRow> {
    let origin = Origin { file: "rows".into(), position: Position::Row(1) };
    let pair = |pair: &Value| {
        let [prompt, chosen, rejected] = ["prompt", "chosen", "rejected"].map(|part| ids(&pair[part]));
        TokenizedPair::new(&origin, prompt, chosen, rejected).unwrap()
    };
    let row = |row: &Value| TokenizedRow {
        dominant: pair(&row["dominant"]),
        target: pair(&row["target"]),
        dominant_language: "en".parse().unwrap(),
        language: "sw".parse().unwrap(),
        origin: origin.clone(),
    };
    numbers["rows"].as_array().unwrap().iter().map(row).collect()
}

fn logits(model: &CausalLm, ids: &[u32]) -> Vec<f32> {
    floats(model.logits(model.hidden_states(ids, &PackedLayout::sequences(&[ids.len()]))))
}

/// PEFT's name of a weight.
fn peft_name(name: &str) -> Option<String> {
    let (path, weight) = name.split_once(".adapter.")?;
    let weight = if weight == "lora_a" { "lora_A" } else { "lora_B" };
    Some(format!("base_model.model.{path}.{weight}.weight"))
}

fn options(steps: usize, recompute: bool) -> TrainOptions {
    TrainOptions {
        max_steps: Some(steps as u64),
        max_grad_norm: Some(0.0),
        recompute: Some(recompute.into()),
        ..row_by_row(golden().numbers["learning_rate"].as_f64().unwrap())
    }
}

/// The model after so many steps, and their numbers.
fn after(steps: usize, (model, config): (CausalLm, ModelConfig), recompute: bool) -> (CausalLm, Vec<StepEvent>) {
    trained((model, config), TokenizedRows::Bilingual(rows(&golden().numbers)), 0, options(steps, recompute))
}

/// The gradients of a model at one row, by PEFT's names; `start` is what it was before training.
fn gradients(model: &CausalLm, start: &CausalLm, row: usize, recompute: bool) -> Vec<(String, Vec<f32>)> {
    let home = tempfile::tempdir().unwrap();
    let named = TrainOptions {
        model: Some("peft".into()),
        data: Some("rows".into()),
        output: Some(home.path().to_owned()),
        ..options(STEPS, recompute)
    };
    let config = named.resolve().unwrap();
    let objective = config.objective().unwrap();
    let mut reference = Reference::new(start, "peft", home.path().join("reference"), 1024, &Silent);
    let rows = TokenizedRows::Bilingual(rows(&golden().numbers));
    let task = build_task(&*objective, rows, &config, 0, &mut reference).unwrap();
    let row = [row];
    let work = task.losses(&row, None);
    let again = if recompute { RunAgain::Layers } else { RunAgain::Nothing };
    let (outputs, pass) = model.forward_training(&work.batch, PassOptions { again, head_memory: 0 });
    let losses = (work.then)(&outputs).losses;
    let mut sums = Accumulator::default();
    sums.add(model, losses.sum(), pass);
    let mut walk = sums.walk();
    let mut all = vec![];
    for (name, gradient) in std::iter::from_fn(|| walk.next(model)).flatten() {
        match peft_name(&name) {
            Some(peft) => all.push((peft, floats(gradient.unwrap()))),
            None => assert!(gradient.is_none(), "{name} is frozen"),
        }
    }
    all
}

#[test]
fn an_adapter_of_peft_computes_what_it_does_there() {
    let golden = golden();
    let (model, _) = golden.load(&Device::flex());
    let ids = ids(&golden.numbers["ids"]);
    let theirs = golden.floats("logits");
    assert_close("logits", &logits(&model, &ids), &theirs, TOLERANCE);
    let (base, config) = Golden::open("qwen2_untied").load(&Device::flex());
    let plain = logits(&base, &ids);
    assert!(plain.iter().zip(&theirs).any(|(one, other)| (one - other).abs() > 0.1), "the adapter is felt");

    // Merged into its base, it says the same.
    let home = tempfile::tempdir().unwrap();
    let options = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
    model.save(&home.path().join("merged"), &config, &options).unwrap();
    let (merged, _) = CausalLm::load(&home.path().join("merged"), &Device::flex()).unwrap();
    assert!(merged.adapter().is_none());
    assert_close("merged", &logits(&merged, &ids), &theirs, TOLERANCE);
}

#[test]
fn three_steps_are_those_of_peft() {
    let golden = golden();
    for recompute in [false, true] {
        let (start, config) = golden.load(&Device::flex().autodiff());
        let run = |steps| after(steps, (start.clone(), config.clone()), recompute);
        let (end, seen) = run(STEPS);
        assert_eq!(seen.len(), STEPS);
        for (number, (step, want)) in seen.iter().zip(golden.numbers["steps"].as_array().unwrap()).enumerate() {
            for key in ["loss", "rg/target", "rg/dominant", "loss/retain"] {
                let (got, want) = (step.metrics[key], want[key].as_f64().unwrap());
                assert!((got - want).abs() <= TOLERANCE * want.abs(), "step {number}, {key}: {got} and {want}");
            }
            let model = if number == 0 { start.clone() } else { run(number).0 };
            for (name, ours) in gradients(&model, &start, number, recompute) {
                let theirs = golden.floats(&format!("{number}.{name}"));
                assert_close(&format!("step {number}, {name}"), &ours, &theirs, TOLERANCE);
            }
        }
        let ours = logits(&end.frozen(), &ids(&golden.numbers["ids"]));
        assert_close("logits after", &ours, &golden.floats("logits_after"), TOLERANCE);
    }
}

#[test]
fn the_first_loss_of_a_new_adapter_retains_everything() {
    let base = Golden::open("qwen2_untied").dir;
    let (base, config) = CausalLm::load_frozen(&base, &Device::flex().autodiff()).unwrap();
    let Ok(all) = "all-linear".parse();
    let options = LoraOptions { rank: 4, alpha: 8.0, use_rslora: true, targets: vec![all], seed: 1 };
    let model = base.with_adapter(&options, "../qwen2_untied").unwrap();
    let (_, seen) = after(2, (model, config), false);
    assert_eq!(seen[0].metrics["loss/retain"], 0.0);
    assert!(seen[1].metrics["loss/retain"] > 0.0);
}

#[test]
fn an_adapter_is_known_by_all_that_it_computes_from() {
    let home = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(&mut Value)| {
        let dir = home.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::copy(golden().dir.join("adapter_model.safetensors"), dir.join("adapter_model.safetensors")).unwrap();
        let text = fs::read(golden().dir.join("adapter_config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["base_model_name_or_path"] = golden().dir.join("../qwen2_untied").to_str().unwrap().into();
        change(&mut config);
        fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
        AdapterFolder::find(&dir).unwrap().unwrap().content_hash().unwrap()
    };
    let hash = AdapterFolder::find(&golden().dir).unwrap().unwrap().content_hash().unwrap();
    assert_eq!(copy("elsewhere", &|_| {}), hash);
    assert_ne!(copy("scaled", &|config| config["lora_alpha"] = 6.into()), hash);
    let other = golden().dir.join("../llama3rope").to_str().unwrap().to_owned();
    assert_ne!(copy("other", &|config| config["base_model_name_or_path"] = other.clone().into()), hash);
}

/// Leaves an adapter of ours and our logits in `MPO_SAVED`, for `tests/peers/check_saved_adapter.py` to load with PEFT.
#[test]
#[ignore = "needs MPO_SAVED"]
fn saved_for_peft() {
    let out = PathBuf::from(std::env::var("MPO_SAVED").unwrap());
    let base = fs::canonicalize(Golden::open("qwen2_untied").dir).unwrap();
    let (model, config) = CausalLm::load_frozen(&base, &Device::flex().autodiff()).unwrap();
    let targets = ["q_proj", "layers.1.self_attn.v_proj", "mlp.down_proj"].map(|name| {
        let Ok(target) = name.parse();
        target
    });
    let options = LoraOptions { rank: 4, alpha: 8.0, use_rslora: true, targets: targets.into(), seed: 1 };
    let model = model.with_adapter(&options, base.to_str().unwrap()).unwrap();
    let (model, _) = after(STEPS, (model, config.clone()), false);
    let options = SaveOptions { dtype: WeightDtype::F32, overwrite: true, ..SaveOptions::default() };
    model.save_trained(&out.join("adapter"), &config, &options).unwrap();
    let ids = ids(&golden().numbers["ids"]);
    let logits = logits(&model.frozen(), &ids);
    let id_bytes: Vec<u8> = ids.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
    let logit_bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).unwrap();
    let tensors = [
        ("input_ids", view(Dtype::I64, vec![1, ids.len()], &id_bytes)),
        ("logits", view(Dtype::F32, vec![1, ids.len(), logits.len() / ids.len()], &logit_bytes)),
    ];
    safetensors::serialize_to_file(tensors, None, &out.join("reference.safetensors")).unwrap();
}
