//! Every method through the program: what each needs of the data and of the reference, and that each learns.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::prelude::*;
use mpo_objectives::{Loss, OBJECTIVES, Settings};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use binary::{model, rows, train, write_rows};

/// Every method's name, and whether its loss is computed from the reference too.
fn methods() -> impl Iterator<Item = (&'static str, bool)> {
    OBJECTIVES.iter().map(|one| {
        let objective = one.objective(&Settings::new()).unwrap();
        let alone = matches!(objective.loss(), Loss::Demonstrations(_) | Loss::Pairs(_));
        (one.name, !alone)
    })
}

/// The loss of every step in a run's log.
fn losses(run: &Path) -> Vec<f64> {
    metrics(run, "loss")
}

/// A number of every step in a run's log.
fn metrics(run: &Path, key: &str) -> Vec<f64> {
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let steps = events.filter(|event: &Value| event["event"] == "step");
    steps.map(|step| step[key].as_f64().unwrap()).collect()
}

/// Steps over all rows at once, at a constant rate.
fn whole_batches(command: &mut Command, method: &str, lr: &str) {
    command.args(["--method", method, "--lr", lr, "--batch-size", "64"]);
    command.args(["--schedule", "constant", "--warmup-ratio", "0", "--epochs", "6"]);
}

#[test]
fn every_method_learns_and_only_some_ask_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    for (method, needs_reference) in methods() {
        let run = dir.path().join(method);
        let mut command = train(&model(), &data, &run);
        whole_batches(&mut command, method, "2e-5");
        command.assert().success();
        let losses = losses(&run);
        assert_eq!(losses.len(), 6);
        assert!(losses[5] < losses[0], "{method}: {losses:?}");
        let asked = run.join("reference").exists();
        assert_eq!(asked, needs_reference, "{method}");
    }
}

/// Beside a method's defaults, what of MPO looks at other states or tokens.
const VARIANTS: [&[&str]; 11] = [
    &["--retain", "none"],
    &["--retain", "kl"],
    &["--retain", "masked-mean"],
    &["--retain", "mean-pool"],
    &["--retain-scale", "squared"],
    &["--length-normalized", "false"],
    &["--dominant-gap", "2"],
    &["--dominant-gap", "20", "--one-sided"],
    &["--dominant-gap", "sw"],
    &["--dominant-gap", "policy", "--retain", "kl"],
    &["--pivot", "sw"],
];

#[test]
fn mpo_learns_with_every_variant() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    for (number, variant) in VARIANTS.into_iter().enumerate() {
        let run = dir.path().join(number.to_string());
        let mut command = train(&model(), &data, &run);
        whole_batches(&mut command, "mpo", "3e-5");
        command.args(variant).assert().success();
        let losses = losses(&run);
        assert!(losses[5] < losses[0], "{variant:?}: {losses:?}");
    }
}

/// Several passes a step: of the model, whose layers are all kept or run again.
#[test]
fn every_method_ends_the_same_where_layers_are_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    let variants = VARIANTS.map(|variant| ("mpo", variant));
    for (method, variant) in methods().map(|(name, _)| (name, &[][..])).chain(variants) {
        let [kept, again] = ["off", "on"].map(|recompute| {
            let run = dir.path().join(recompute);
            let mut command = train(&model(), &data, &run);
            command.args(["--method", method, "--lr", "1e-4", "--batch-size", "3", "--max-steps", "3"]);
            command.args(["--micro-batch-tokens", "60", "--recompute", recompute]).args(variant);
            command.assert().success();
            let ended = (losses(&run), fs::read(run.join("model/model.safetensors")).unwrap());
            fs::remove_dir_all(run).unwrap();
            ended
        });
        assert_eq!(kept.0, again.0, "{method} {variant:?}");
        assert!(kept.1 == again.1, "{method} {variant:?}");
    }
}

#[test]
fn languages_above_their_goal_are_named_before_they_are_lowered() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    // No gap of this model is that low.
    let trained = |name: &str, arguments: &[&str]| {
        let mut command = train(&model(), &data, &dir.path().join(name));
        command.args(["--dominant-gap", "-50", "--max-steps", "1", "--json"]).args(arguments);
        let output = command.assert().success().get_output().clone();
        serde_json::from_slice::<Value>(&output.stdout).unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let said = trained("two-sided", &[]);
    assert!(said.contains("warning: training would lower the gaps of "), "{said}");
    assert!(
        said.contains("sw (") && said.contains("bn (") && said.contains("the goal, -50.00 nats per token"),
        "{said}"
    );
    for argument in ["--one-sided", "--quiet"] {
        let said = trained(argument, &[argument]);
        assert!(!said.contains("would lower"), "{argument}: {said}");
    }
}

#[test]
fn one_sided_mpo_moves_no_gap_that_is_above_its_goal() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    for one_sided in [true, false] {
        let run = dir.path().join(one_sided.to_string());
        let mut command = train(&model(), &data, &run);
        whole_batches(&mut command, "mpo", "3e-5");
        command.args(["--dominant-gap", "-50", "--one-sided", &one_sided.to_string()]).assert().success();
        for metric in ["loss", "grad_norm"] {
            let values = metrics(&run, metric);
            assert!(values.iter().all(|&value| (value == 0.0) == one_sided), "{one_sided}: {metric} {values:?}");
        }
    }
}

/// The weights in a run's model.
fn weights(run: &Path) -> Vec<f32> {
    let bytes = fs::read(run.join("model/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = tensors.tensors();
    tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
    let bytes = tensors.iter().flat_map(|(_, tensor)| tensor.data().as_chunks::<4>().0);
    bytes.map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Fifty steps of the miniature's model at its learning rate. How far apart they end, `--nocapture` says.
#[test]
fn moments_in_bf16_end_near_those_in_f32() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    let trained = |name: &str, arguments: &[&str]| {
        let run = dir.path().join(name);
        let mut command = train(&model(), &data, &run);
        command.args(["--recipe", "miniature", "--batch-size", "6", "--max-steps", "50", "--epochs", "25"]);
        command.args(["--checkpoint-every", "1000", "--recompute", "on"]).args(arguments).assert().success();
        weights(&run)
    };
    let start = trained("start", &["--lr", "1e-30"]);
    let exact = trained("f32", &[]);
    let rounded = trained("bf16", &["--optimizer-state", "bf16"]);
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    let (apart, moved) = (distance(&rounded, &exact), distance(&exact, &start));
    println!("moved by {moved:.4}, apart by {apart:.6}: {:.2} %", 100.0 * apart / moved);
    assert!(apart > 0.0 && apart < 0.02 * moved, "{apart} of {moved}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    for (arguments, message) in [
        (&["--method", "rdpo", "--epsilon", "0.5"][..], "epsilon: expected a number from 0 to below 0.5, got 0.5"),
        (&["--method", "kto", "--batch-size", "1"], "batch_size: expected at least 2 for kto, got 1"),
        (&["--method", "dpo", "--tau", "0.1"], "tau: expected a hyper-parameter of dpo (beta, sft_weight)"),
        (&["--method", "dpo", "--beta", "much"], "beta: expected a number above 0, got much"),
        (&["--dominant-gap", "zh"], "dominant_gap: expected a language that every prompt is translated to"),
        (&["--dominant-gap", "swahilish"], "dominant_gap: expected"),
        (&["--pivot", "zh"], "pivot: expected rows whose prompt is there in Chinese too"),
    ] {
        let run = dir.path().join("run");
        let mut command = train(&model(), &data, &run);
        let message = contains(format!("error: {message}")).and(contains("hint: "));
        command.args(arguments).assert().code(1).stderr(message);
        fs::remove_dir_all(&run).ok();
    }
}

#[test]
fn answers_need_not_come_in_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("answers.jsonl");
    let answers: Vec<Value> = rows()
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let (side, good) = (&row["target"], i % 3 == 0);
            let completion = if good { &side["chosen"] } else { &side["rejected"] };
            json!({
                "language": side["language"],
                "prompt": side["prompt"],
                "completion": completion,
                "label": good,
            })
        })
        .collect();
    write_rows(&data, &answers);
    for method in ["kto", "sft"] {
        let run = dir.path().join(method);
        let mut command = train(&model(), &data, &run);
        whole_batches(&mut command, method, "1e-4");
        command.assert().success();
        let losses = losses(&run);
        assert!(losses[5] < losses[0], "{method}: {losses:?}");
    }
    for method in ["dpo", "mpo"] {
        let mut command = train(&model(), &data, &dir.path().join(method));
        let message = contains("got single answers").and(contains("hint: "));
        command.args(["--method", method]).assert().code(1).stderr(message);
    }
}

/// `MPO_DATA=… MPO_MODELS=… cargo test --release --workspace --test methods -- --ignored --nocapture`, with the file of
/// preference rows and the folder of `smollm2-135m/`. The learning rate is small: one of 1e-5 carries IPO, which works on
/// sums, past its goal in the first step.
#[test]
#[ignore = "needs MPO_DATA and MPO_MODELS"]
fn every_method_learns_on_a_real_model() {
    let path = |name| PathBuf::from(std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set")));
    let (data, model) = (path("MPO_DATA"), path("MPO_MODELS").join("smollm2-135m"));
    let dir = tempfile::tempdir().unwrap();
    for (method, needs_reference) in methods() {
        let run = dir.path().join(method);
        let mut command = train(&model, &data, &run);
        command.args(["--method", method, "--rows", "16", "--max-tokens", "192"]);
        command.args(["--lr", "1e-6", "--schedule", "constant", "--warmup-ratio", "0"]);
        command.args(["--batch-size", "64", "--epochs", "3", "--eval-rows", "0"]);
        command.args(["--checkpoint-every", "1000"]).assert().success();
        let losses = losses(&run);
        println!("{method}: {losses:?}");
        assert!(losses[2] < losses[0], "{method}: {losses:?}");
        let asked = run.join("reference").exists();
        assert_eq!(asked, needs_reference, "{method}");
    }
}
