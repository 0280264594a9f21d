//! The command line with adapters: trained, killed and resumed, asked, trained on, merged, compared.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;
mod packed;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

use binary::{begun, model, mpo_train, rows, train, write_rows};
use packed::write_nf4;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_rows(&dir.path().join("rows.jsonl"), &rows());
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Six steps that train an adapter.
    fn train(&self, model: &Path, output: &str, more: &[&str]) -> Command {
        let mut command = train(model, &self.path("rows.jsonl"), &self.path(output));
        command.args(["--lr", "1e-3", "--batch-size", "4", "--checkpoint-every", "2"]).args(more);
        command
    }

    /// What is said of the rows by a model.
    fn score(&self, model: &Path) -> Value {
        let mut command = mpo_train();
        command.args(["score", "--device", "flex", "--json", "--model"]).arg(model);
        let output = command.arg("--data").arg(self.path("rows.jsonl")).assert().success();
        serde_json::from_slice(&output.get_output().stdout).unwrap()
    }

    fn merge(&self, adapter: &Path, output: &str) -> Command {
        let mut command = mpo_train();
        command
            .args(["merge", "--device", "flex", "--save-dtype", "f32"])
            .arg(adapter)
            .arg("--output")
            .arg(self.path(output));
        command
    }
}

const LORA: [&str; 4] = ["--adapter", "lora", "--lora-rank", "4"];
const NF4: [&str; 7] = ["--adapter", "lora", "--lora-rank", "4", "--quantization", "nf4", "--double-quantization"];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The reward gap of each language.
fn gaps(value: &Value) -> Vec<f64> {
    let gaps = value["reward_gap"].get("before").unwrap_or(&value["reward_gap"]);
    gaps.as_array().unwrap().iter().map(|gap| gap["mean"].as_f64().unwrap()).collect()
}

/// That numbers are the same but for the order of sums.
#[track_caller]
fn assert_same(one: &[f64], other: &[f64]) {
    assert!(one.len() == other.len() && one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-4), "{one:?} {other:?}");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_adapter_is_trained_asked_trained_on_and_merged() {
    let place = Place::new();
    place.train(&model(), "run", &LORA).assert().success();
    let adapter = place.path("run/model");
    assert_eq!(
        names(&adapter),
        [
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "mpo-train.blake3",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let config = json(&adapter.join("adapter_config.json"));
    assert_eq!(config["base_model_name_or_path"], fs::canonicalize(model()).unwrap().to_str().unwrap());
    assert_eq!((&config["r"], &config["lora_alpha"]), (&4.into(), &8.into()));
    let checkpoint = place.path("run/checkpoints/step-6");
    let bytes = |file: &Path| fs::metadata(file).unwrap().len();
    assert_eq!(
        names(&checkpoint.join("model")),
        ["adapter_config.json", "adapter_model.safetensors", "mpo-train.blake3"]
    );
    let weights = bytes(&checkpoint.join("model/adapter_model.safetensors"));
    assert!(weights < bytes(&model().join("model.safetensors")) / 4);
    assert!(bytes(&checkpoint.join("optimizer.safetensors")) < 3 * weights, "moments of the adapter alone");

    // It is a model wherever one is asked for, and the checkpoint is one too.
    let of_base = place.score(&model());
    let of_adapter = place.score(&adapter);
    assert_ne!(of_adapter["reward_gap"], of_base["reward_gap"]);
    assert_eq!(place.score(&checkpoint.join("model")), of_adapter);
    let results = json(&place.path("run/results.json"));
    assert_same(&gaps(&results), &gaps(&of_base));
    let mut generate = mpo_train();
    generate.args(["generate", "--device", "flex", "--max-new-tokens", "4", "--model"]).arg(&adapter);
    generate.arg("How do I cook rice?").assert().success();

    // Merged, it says the same, and lies where a whole model does.
    place.merge(&adapter, "merged").assert().success().stderr(contains("model in"));
    assert!(!place.path("merged/adapter_config.json").exists() && place.path("merged/config.json").exists());
    let card = fs::read_to_string(place.path("merged/README.md")).unwrap();
    assert!(card.contains("with the adapter `model` merged into its weights, by mpo-train "), "{card}");
    let of_merged = place.score(&place.path("merged"));
    assert_same(&gaps(&of_merged), &gaps(&of_adapter));
    place.merge(&adapter, "merged").assert().failure().stderr(contains("expected a new or empty folder"));
    place.merge(&model(), "other").assert().failure().stderr(contains("expected an adapter, got a whole model"));
    place.train(&model(), "whole", &[&LORA[..], &["--merge"]].concat()).assert().success();
    assert_eq!(place.score(&place.path("whole/model")), of_merged);

    // Trained on, it stays an adapter of the same base, and the reference is what it was.
    place.train(&adapter, "on", &[]).assert().success();
    let on = json(&place.path("on/model/adapter_config.json"));
    assert_eq!(on["base_model_name_or_path"], config["base_model_name_or_path"]);
    assert_same(&gaps(&json(&place.path("on/results.json"))), &gaps(&of_adapter));
    assert_ne!(place.score(&place.path("on/model"))["reward_gap"], of_adapter["reward_gap"]);
    place.train(&adapter, "twice", &LORA).assert().failure().stderr(
        contains("expected a model, to train a new adapter of, got an adapter").and(contains("merge it first")),
    );
    assert!(!place.path("twice").exists());
}

/// A base's template in a file of its own would beat that in the adapter's `tokenizer_config.json`.
#[test]
fn the_adapters_chat_template_is_that_of_the_merged_model() {
    let place = Place::new();
    place.train(&model(), "run", &[&LORA[..], &["--max-steps", "1"]].concat()).assert().success();
    let (adapter, base) = (place.path("run/model"), place.path("base"));
    fs::create_dir(&base).unwrap();
    for name in names(&model()) {
        fs::copy(model().join(&name), base.join(&name)).unwrap();
    }
    fs::write(base.join("chat_template.jinja"), "{{ 'of the base' }}").unwrap();
    let mut config = json(&adapter.join("adapter_config.json"));
    config["base_model_name_or_path"] = base.to_str().unwrap().into();
    fs::write(adapter.join("adapter_config.json"), config.to_string()).unwrap();
    // It was edited.
    fs::remove_file(adapter.join("mpo-train.blake3")).unwrap();
    let of_adapter = place.score(&adapter);
    place.merge(&adapter, "merged").assert().success();
    assert!(!place.path("merged/chat_template.jinja").exists());
    assert_same(&gaps(&place.score(&place.path("merged"))), &gaps(&of_adapter));
}

/// As `train` takes the folder, and without the base's weights.
#[test]
fn training_an_adapter_on_is_planned() {
    let place = Place::new();
    place.train(&model(), "run", &[&LORA[..], &["--max-steps", "1"]].concat()).assert().success();
    let adapter = place.path("run/model");
    let plan = |arguments: &[&str], model: &Path| {
        let mut command = mpo_train();
        command.args(["plan", "--device", "flex", "--json", "--model"]).arg(model).args(arguments);
        command
    };
    let weights = |command: &mut Command| {
        let planned: Value = serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap();
        let shares = planned["phases"][0]["shares"].as_array().unwrap().clone();
        let of_weights = shares.iter().find(|share| share["part"] == "weights");
        of_weights.unwrap()["bytes"].as_u64().unwrap()
    };
    let rows = place.path("rows.jsonl");
    let (length, rows) = (["--row-tokens", "40"], ["--data", rows.to_str().unwrap()]);
    for given in [&length[..], &rows] {
        let new = weights(&mut plan(&[given, &LORA[..]].concat(), &model()));
        assert_eq!(weights(&mut plan(given, &adapter)), new);
        let refused = plan(&[given, &LORA[..]].concat(), &adapter).assert().failure();
        refused.stderr(contains("expected a model, to train a new adapter of, got an adapter"));
    }
    // The miniature's model is stored in f16, which is widened.
    let stored = fs::metadata(model().join("model.safetensors")).unwrap().len();
    assert!(weights(&mut plan(&length, &adapter)) > 2 * stored - 20_000);
}

/// The first step's policy is the reference to the bit.
#[test]
fn the_first_retain_loss_is_zero() {
    let place = Place::new();
    // Runs share what the reference says, and a base in NF4 is another reference.
    let shared = place.path("reference");
    for (run, adapter, recompute) in [
        ("kept", &LORA[..], "off"),
        ("rerun", &LORA[..], "on"),
        ("packed", &NF4[..], "off"),
        ("packed-rerun", &NF4[..], "on"),
    ] {
        let mut command = place.train(&model(), run, &[adapter, &["--recompute", recompute]].concat());
        command.arg("--reference-cache").arg(&shared).assert().success();
        let log = fs::read_to_string(place.path(run).join("events.jsonl")).unwrap();
        let steps: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let retain = steps.iter().filter(|event| event["event"] == "step").map(|step| &step["loss/retain"]);
        let retain: Vec<f64> = retain.map(|number| number.as_f64().unwrap()).collect();
        assert!(retain[0] == 0.0 && retain[retain.len() - 1] > 0.0, "{run}: {retain:?}");
    }
    let weights = |run: &str| fs::read(place.path(run).join("model/adapter_model.safetensors")).unwrap();
    assert!(weights("kept") == weights("rerun"), "recompute changes nothing");
    assert!(weights("packed") == weights("packed-rerun"), "recompute changes nothing");
    assert!(weights("kept") != weights("packed"), "rounding is felt");
    // Asked and merged, an adapter stands on the base as it is stored.
    let adapter = place.path("packed/model");
    place.merge(&adapter, "merged").assert().success();
    assert_same(&gaps(&place.score(&place.path("merged"))), &gaps(&place.score(&adapter)));
}

#[test]
fn a_killed_run_ends_with_what_an_undisturbed_one_ends_with() {
    for adapter in [&LORA[..], &NF4[..]] {
        let place = Place::new();
        place.train(&model(), "calm", adapter).assert().success();
        let command = place.train(&model(), "killed", adapter);
        let mut child = begun(command, || place.path("killed/checkpoints/step-2").exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let resume = || {
            let mut command = mpo_train();
            command.args(["train", "--resume", "--output"]).arg(place.path("killed"));
            command
        };
        resume().arg("--lora-rank").arg("8").assert().failure().stderr(contains("lora_rank: 4 → 8"));
        if adapter == LORA {
            let changed = contains("quantization: none → nf4");
            resume().args(["--quantization", "nf4"]).assert().failure().stderr(changed);
        }
        resume().assert().success();
        for file in ["model/adapter_model.safetensors", "model/adapter_config.json", "results.json"] {
            let read = |run: &str| fs::read(place.path(run).join(file)).unwrap();
            assert!(read("killed") == read("calm"), "{file}");
        }
    }
}

/// A model that bitsandbytes saved is one wherever one is asked for; it is trained with an adapter, which is merged into the
/// numbers that it stands for.
#[test]
fn a_checkpoint_in_nf4_is_asked_trained_and_merged() {
    let place = Place::new();
    let base = place.path("packed");
    write_nf4(&model(), &base, true);
    let of_base = place.score(&base);
    assert_ne!(of_base["reward_gap"], place.score(&model())["reward_gap"]);
    let mut generate = mpo_train();
    generate.args(["generate", "--device", "flex", "--max-new-tokens", "4", "--model"]).arg(&base);
    generate.arg("How do I cook rice?").assert().success();
    place.train(&base, "full", &[]).assert().failure().stderr(
        contains("expected weights to train in f32, f16 or bf16, got some in NF4").and(contains("--adapter lora")),
    );
    place.train(&base, "whole", &[&LORA[..], &["--merge"]].concat()).assert().failure().stderr(contains("in NF4"));
    place.train(&base, "run", &LORA).assert().success();
    assert_same(&gaps(&json(&place.path("run/results.json"))), &gaps(&of_base));
    let of_adapter = place.score(&place.path("run/model"));
    assert_ne!(of_adapter["reward_gap"], of_base["reward_gap"]);
    place.merge(&place.path("run/model"), "merged").assert().success();
    assert_same(&gaps(&place.score(&place.path("merged"))), &gaps(&of_adapter));
    assert!(json(&place.path("merged/config.json")).get("quantization_config").is_none());
}

#[test]
fn settings_of_an_adapter_are_checked() {
    let place = Place::new();
    for (more, expected) in [
        (&["--lora-rank", "4"][..], "adapter: expected lora, as lora_rank is given, got nothing"),
        (&["--adapter", "dora"], "possible values: lora"),
        (&["--adapter", "lora", "--lora-targets", "query"], "got one for \"query\", which names none"),
        (&["--adapter", "lora", "--lora-targets", "q.*"], "expected names such as q_proj,v_proj"),
        (&["--adapter", "lora", "--lora-rank", "0"], "at least 1"),
        (&["--quantization", "nf4"], "adapter: expected lora, as quantization is given, got nothing"),
        (
            &["--adapter", "lora", "--double-quantization"],
            "quantization: expected nf4, as double_quantization is given",
        ),
        (&[&NF4[..], &["--merge"]].concat(), "merge: expected false beside quantization"),
        (&["--merge"], "adapter: expected lora, or a model that is an adapter, as merge is given, got nothing"),
    ] {
        place.train(&model(), "run", more).assert().failure().stderr(contains(expected));
        assert!(!place.path("run").exists());
    }
    // What the model's configuration says is found before anything else is read.
    for command in ["train", "plan"] {
        let mut asked = mpo_train();
        asked.args([
            command,
            "--device",
            "flex",
            "--data",
            "no/such.jsonl",
            "--adapter",
            "lora",
            "--lora-targets",
            "query",
        ]);
        asked.arg("--model").arg(model()).arg("--output").arg(place.path("run"));
        asked.assert().failure().stderr(contains("which names none").and(contains("hint: there are q_proj, k_proj")));
    }
}

#[test]
fn methods_are_compared_with_adapters() {
    let place = Place::new();
    let mut command = mpo_train();
    command.args(["compare", "--device", "flex", "--methods", "mpo,dpo", "--save-models", "--epochs", "1"]);
    command.args(["--batch-size", "4", "--max-new-tokens", "4", "--adapter", "lora", "--grid", "lora_rank=2,4"]);
    command.arg("--model").arg(model()).arg("--data").arg(place.path("rows.jsonl"));
    command.arg("--output").arg(place.path("compare")).assert().success();
    let adapters = |rank: u64| {
        let dir = place.path("compare/runs/mpo").join(format!("lora_rank={rank}")).join("seed-42/model");
        json(&dir.join("adapter_config.json"))["r"].as_u64().unwrap()
    };
    assert_eq!([2, 4].map(adapters), [2, 4]);
}
