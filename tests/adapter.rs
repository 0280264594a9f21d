//! An adapter that PEFT made: what it computes, and three MPO steps of it, beside PyTorch's (`tests/peers/make_adapter.py`).

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mpo_data::{Origin, Position, TokenizedPair, TokenizedRow, TokenizedRows};
use mpo_kernels::PackedLayout;
use mpo_models::{
    Accumulator, AdapterFolder, CausalLm, LoraOptions, ModelConfig, PassOptions, RunAgain, SaveOptions, WeightDtype,
};
use mpo_objectives::Objective;
use mpo_progress::Silent;
use mpo_trainer::{
    Event, Identity, Kind, Reference, RunFolder, Schedule, StepEvent, Task, TrainConfig, TrainOptions, Trainer,
    build_task,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

const STEPS: usize = 3;
/// Of PyTorch's numbers.
const TOLERANCE: f64 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/peft")
}

fn numbers() -> Value {
    serde_json::from_slice(&fs::read(folder().join("goldens.json")).unwrap()).unwrap()
}

fn golden(name: &str) -> Vec<f32> {
    let bytes = fs::read(folder().join("goldens.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (floats, _) = tensors.tensor(name).unwrap().data().as_chunks::<4>();
    floats.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
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
    let states = model.hidden_states(ids, &PackedLayout::sequences(&[ids.len()]));
    model.logits(states).into_data().try_to_vec().unwrap()
}

/// ‖ours − theirs‖ ≤ 1e-4 · ‖theirs‖
fn assert_close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let apart = norm(&mut ours.iter().zip(theirs).map(|(our, their)| f64::from(our - their)));
    let size = norm(&mut theirs.iter().map(|&their| f64::from(their)));
    // Written so that a NaN fails.
    assert!(apart <= TOLERANCE * size, "{what}: apart by {:.1e}", apart / size);
}

/// PEFT's name of a weight.
fn peft_name(name: &str) -> Option<String> {
    let (path, weight) = name.split_once(".adapter.")?;
    let weight = if weight == "lora_a" { "lora_A" } else { "lora_B" };
    Some(format!("base_model.model.{path}.{weight}.weight"))
}

fn settings(run: &Path, steps: usize, recompute: bool) -> TrainConfig {
    let options = TrainOptions {
        model: Some("peft".into()),
        data: Some("rows".into()),
        output: Some(run.to_owned()),
        lr: numbers()["learning_rate"].as_f64(),
        schedule: Some(Schedule::Constant),
        warmup_ratio: Some(0.0),
        batch_size: Some(1),
        epochs: Some(1.0),
        max_steps: Some(steps as u64),
        shuffle: Some(false),
        max_grad_norm: Some(0.0),
        recompute: Some(recompute.into()),
        ..TrainOptions::default()
    };
    options.resolve().unwrap()
}

fn task<'a>(objective: &'a dyn Objective, model: &CausalLm, config: &TrainConfig) -> Box<dyn Task + 'a> {
    let cache = config.output.with_file_name("reference");
    let mut reference = Reference::new(model, "peft", cache, 1024, &Silent);
    let rows = TokenizedRows::Bilingual(rows(&numbers()));
    build_task(objective, rows, config, 0, &mut reference).unwrap()
}

/// The model after so many steps, and their numbers.
fn trained(
    model: CausalLm,
    model_config: &ModelConfig,
    home: &Path,
    steps: usize,
    recompute: bool,
) -> (CausalLm, Vec<StepEvent>) {
    let config = settings(&home.join(format!("run-{steps}")), steps, recompute);
    let objective = config.objective().unwrap();
    let task = task(&*objective, &model, &config);
    let run = RunFolder::create(&config.output, Kind::Train, Identity::default()).unwrap();
    let trainer = Trainer {
        task: &*task,
        consistency: None,
        config: &config,
        run: &run,
        model_config,
        model_hash: "peft",
        dominant: None,
        recompute,
        held_out: None,
    };
    let mut seen = vec![];
    let mut keep = |event: &Event| {
        if let Event::Step(step) = event {
            seen.push(step.clone());
        }
    };
    let trained = trainer.run(model, &Silent, &mut keep).unwrap();
    (trained.model, seen)
}

#[test]
fn an_adapter_of_peft_computes_what_it_does_there() {
    let (model, _) = CausalLm::load(&folder(), &Device::flex()).unwrap();
    let ids = ids(&numbers()["ids"]);
    let theirs = golden("logits");
    assert_close("logits", &logits(&model, &ids), &theirs);
    let base = folder().join("../qwen2_untied");
    let (base, config) = CausalLm::load(&base, &Device::flex()).unwrap();
    let plain = logits(&base, &ids);
    assert!(plain.iter().zip(&theirs).any(|(one, other)| (one - other).abs() > 0.1), "the adapter is felt");

    // Merged into its base, it says the same.
    let home = tempfile::tempdir().unwrap();
    let options = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
    model.save(&home.path().join("merged"), &config, &options).unwrap();
    let (merged, _) = CausalLm::load(&home.path().join("merged"), &Device::flex()).unwrap();
    assert!(merged.adapter().is_none());
    assert_close("merged", &logits(&merged, &ids), &theirs);
}

#[test]
fn three_steps_are_those_of_peft() {
    let numbers = numbers();
    let home = tempfile::tempdir().unwrap();
    for recompute in [false, true] {
        let (start, config) = CausalLm::load(&folder(), &Device::flex().autodiff()).unwrap();
        let run = |steps| trained(start.clone(), &config, &home.path().join(recompute.to_string()), steps, recompute);
        let (end, seen) = run(STEPS);
        for (number, (step, want)) in seen.iter().zip(numbers["steps"].as_array().unwrap()).enumerate() {
            for key in ["loss", "rg/target", "rg/dominant", "loss/retain"] {
                let (got, want) = (step.metrics[key], want[key].as_f64().unwrap());
                assert!((got - want).abs() <= TOLERANCE * want.abs(), "step {number}, {key}: {got} and {want}");
            }
            let model = if number == 0 { start.clone() } else { run(number).0 };
            let settings = settings(&home.path().join("gradients"), STEPS, recompute);
            let objective = settings.objective().unwrap();
            let task = task(&*objective, &start, &settings);
            let row = [number];
            let work = task.losses(&row, None);
            let again = if recompute { RunAgain::Layers } else { RunAgain::Nothing };
            let (outputs, pass) = model.forward_training(&work.batch, PassOptions { again, head_memory: 0 });
            let losses = (work.then)(&outputs).losses;
            let mut sums = Accumulator::default();
            sums.add(&model, losses.sum(), pass);
            let mut walk = sums.walk();
            let parts = std::iter::from_fn(|| walk.next(&model));
            for (name, gradient) in parts.flatten() {
                let Some(peft) = peft_name(&name) else {
                    assert!(gradient.is_none(), "{name} is frozen");
                    continue;
                };
                let ours: Vec<f32> = gradient.unwrap().into_data().try_to_vec().unwrap();
                assert_close(&format!("step {number}, {name}"), &ours, &golden(&format!("{number}.{peft}")));
            }
        }
        assert_close("logits after", &logits(&end.frozen(), &ids(&numbers["ids"])), &golden("logits_after"));
    }
}

#[test]
fn the_first_loss_of_a_new_adapter_retains_everything() {
    let home = tempfile::tempdir().unwrap();
    let (base, config) = CausalLm::load_frozen(&folder().join("../qwen2_untied"), &Device::flex().autodiff()).unwrap();
    let Ok(all) = "all-linear".parse();
    let options = LoraOptions { rank: 4, alpha: 8.0, use_rslora: true, targets: vec![all], seed: 1 };
    let model = base.with_adapter(&options, "../qwen2_untied").unwrap();
    let (_, seen) = trained(model, &config, home.path(), 2, false);
    assert_eq!(seen[0].metrics["loss/retain"], 0.0);
    assert!(seen[1].metrics["loss/retain"] > 0.0);
}

#[test]
fn an_adapter_is_known_by_all_that_it_computes_from() {
    let home = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(&mut Value)| {
        let dir = home.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::copy(folder().join("adapter_model.safetensors"), dir.join("adapter_model.safetensors")).unwrap();
        let text = fs::read(folder().join("adapter_config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["base_model_name_or_path"] = folder().join("../qwen2_untied").to_str().unwrap().into();
        change(&mut config);
        fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
        AdapterFolder::find(&dir).unwrap().unwrap().content_hash().unwrap()
    };
    let hash = AdapterFolder::find(&folder()).unwrap().unwrap().content_hash().unwrap();
    assert_eq!(copy("elsewhere", &|_| {}), hash);
    assert_ne!(copy("scaled", &|config| config["lora_alpha"] = 6.into()), hash);
    let other = folder().join("../llama3rope").to_str().unwrap().to_owned();
    assert_ne!(copy("other", &|config| config["base_model_name_or_path"] = other.clone().into()), hash);
}

/// Leaves an adapter of ours and our logits in `MPO_SAVED`, for `tests/peers/check_saved_adapter.py` to load with PEFT.
#[test]
#[ignore = "needs MPO_SAVED"]
fn saved_for_peft() {
    let out = PathBuf::from(std::env::var("MPO_SAVED").unwrap());
    let home = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(folder().join("../qwen2_untied")).unwrap();
    let (model, config) = CausalLm::load_frozen(&base, &Device::flex().autodiff()).unwrap();
    let targets = ["q_proj", "layers.1.self_attn.v_proj", "mlp.down_proj"].map(|name| {
        let Ok(target) = name.parse();
        target
    });
    let options = LoraOptions { rank: 4, alpha: 8.0, use_rslora: true, targets: targets.into(), seed: 1 };
    let model = model.with_adapter(&options, base.to_str().unwrap()).unwrap();
    let (model, _) = trained(model, &config, home.path(), STEPS, false);
    let options = SaveOptions { dtype: WeightDtype::F32, overwrite: true, ..SaveOptions::default() };
    model.save_trained(&out.join("adapter"), &config, &options).unwrap();
    let ids = ids(&numbers()["ids"]);
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
