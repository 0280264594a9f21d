//! Prompts in several languages without answers, through the program: LENS on them, and what holds them consistent beside other
//! methods.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::Path;
use std::process::Command;

use assert_cmd::prelude::*;
use serde_json::{Value, json};

use binary::{assert_board_is_the_log, model, mpo_train, rows, train, write_rows};

/// Ten prompts in three languages.
fn prompts() -> Vec<Value> {
    let things = [
        ("bread", "mkate", "রুটি"),
        ("tea", "chai", "চা"),
        ("rice", "wali", "ভাত"),
        ("soup", "supu", "স্যুপ"),
        ("cake", "keki", "কেক"),
        ("beans", "maharage", "শিম"),
        ("milk", "maziwa", "দুধ"),
        ("fish", "samaki", "মাছ"),
        ("salt", "chumvi", "লবণ"),
        ("honey", "asali", "মধু"),
    ];
    let row = |(english, swahili, bengali)| {
        json!({ "prompts": {
            "en": format!("Where do I buy {english}?"),
            "sw": format!("Ninanunua wapi {swahili}?"),
            "bn": [{ "role": "user", "content": format!("{bengali} কোথায় কিনব?") }],
        } })
    };
    things.map(row).into()
}

/// Steps at a constant rate.
fn steady(command: &mut Command, method: &str, steps: &str) {
    command.args(["--method", method, "--lr", "2e-5", "--schedule", "constant", "--warmup-ratio", "0"]);
    command.args(["--batch-size", "16", "--epochs", "100", "--max-steps", steps]);
}

/// What events of a kind in a run's log say of a number.
fn logged(run: &Path, kind: &str, key: &str) -> Vec<f64> {
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == kind).filter_map(|event| event[key].as_f64()).collect()
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model/model.safetensors")).unwrap()
}

/// What a command that must fail says.
fn refusal(command: &mut Command) -> String {
    String::from_utf8(command.assert().failure().get_output().stderr.clone()).unwrap()
}

#[test]
fn lens_is_trained_on_prompts_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("prompts.jsonl"), dir.path().join("run"));
    write_rows(&data, &prompts());
    let mut command = train(&model(), &data, &run);
    steady(&mut command, "lens", "6");
    command.args(["--eval-split", "0.2", "--eval-every", "3", "--early-stop", "9", "--log-to", "tensorboard"]);
    let output = command.assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("kept       10") && said.contains("sw         10 (Swahili)"), "{said}");
    for key in ["loss", "loss/agnostic", "loss/specific", "loss/retain"] {
        assert_eq!(logged(&run, "step", key).len(), 6, "{key}");
    }
    let losses = logged(&run, "step", "loss");
    assert!(losses[5] < losses[0], "{losses:?}");
    let measured = logged(&run, "measured", "eval_loss");
    assert!(measured.len() == 3 && measured[2] < measured[0], "{measured:?}");
    assert!(logged(&run, "step", "rg/target").is_empty() && logged(&run, "measured", "eval_rg").is_empty());
    assert_board_is_the_log(&run);
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("Loss that drives languages apart"));
    mpo_train().arg("report").arg(&run).current_dir(dir.path()).assert().success();
    assert!(run.join("reference/prompt-last-token.safetensors").exists());
}

#[test]
fn rows_in_two_languages_are_prompts_in_several() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    let run = dir.path().join("run");
    let mut command = train(&model(), &data, &run);
    steady(&mut command, "lens", "2");
    command.assert().success();
    // Six dominant prompts.
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    assert!(log.contains("\"rows\":6,"), "{log}");
}

/// How each term is asked for.
const TERMS: [&[&str]; 3] = [
    &["--consistency-temperature", "0.5"],
    &["--consistency", "cosine", "--consistency-layer", "1"],
    &["--consistency", "contrast", "--consistency-layer", "1", "--consistency-temperature", "0.05"],
];

#[test]
fn what_holds_prompts_consistent_is_lowered_beside_any_method() {
    let dir = tempfile::tempdir().unwrap();
    let [data, beside] = ["rows.jsonl", "prompts.jsonl"].map(|name| dir.path().join(name));
    write_rows(&data, &rows());
    write_rows(&beside, &prompts());
    for (number, (method, term)) in ["mpo", "dpo", "sft"].into_iter().zip(TERMS).enumerate() {
        for own in [true, false] {
            let run = dir.path().join(format!("{number}-{own}"));
            let mut command = train(&model(), &data, &run);
            steady(&mut command, method, "8");
            // All prompts in every step, so that steps can be compared.
            command.args(["--consistency-weight", "3"]).args(term).args(["--consistency-batch-size", "10"]);
            if !own {
                command.arg("--consistency-data").arg(&beside);
            }
            command.assert().success();
            let [losses, shared] = ["loss/consistency", "consistency"].map(|key| logged(&run, "step", key));
            assert_eq!((losses.len(), shared.len()), (8, 8));
            // With two languages of each prompt in turns, every other step has the same.
            assert!(losses[6] < losses[0], "{method}, {term:?}: {losses:?}");
            assert!(shared.iter().all(|share| (0.3..=1.0).contains(share)), "{shared:?}");
        }
    }
}

/// Whether all prompts of a step pass through the model at once or few, and whether layers are kept or run again.
#[test]
fn parts_and_layers_that_are_run_again_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [data, beside] = ["rows.jsonl", "prompts.jsonl"].map(|name| dir.path().join(name));
    write_rows(&data, &rows());
    write_rows(&beside, &prompts());
    for (number, term) in TERMS.into_iter().enumerate() {
        let of = |tokens: &str, recompute: &str| {
            let run = dir.path().join(format!("{number}-{tokens}-{recompute}"));
            let mut command = train(&model(), &data, &run);
            steady(&mut command, "mpo", "3");
            command.args(["--consistency-weight", "3", "--consistency-batch-size", "6", "--recompute", recompute]);
            command.args(term).args(["--micro-batch-tokens", tokens]).arg("--consistency-data").arg(&beside);
            command.assert().success();
            (logged(&run, "step", "loss/consistency"), weights(&run))
        };
        let (few, again) = (of("70", "off"), of("70", "on"));
        assert!(few == again, "{term:?}: {:?}, {:?}", few.0, again.0);
        let at_once = of("4096", "off").0;
        for (few, at_once) in few.0.iter().zip(&at_once) {
            assert!((few - at_once).abs() < 1e-5, "{term:?}: {few}, {at_once}");
        }
    }
}

#[test]
fn a_run_that_goes_on_meets_the_prompts_that_it_would_have_met() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    let begin = |name: &str, steps: &str| {
        let run = dir.path().join(name);
        let mut command = train(&model(), &data, &run);
        steady(&mut command, "dpo", steps);
        command.args(["--consistency-weight", "1", "--consistency-batch-size", "2", "--consistency-every", "2"]);
        command.assert().success();
        run
    };
    let (whole, parts) = (begin("whole", "5"), begin("parts", "2"));
    mpo_train().args(["train", "--resume", "--max-steps", "5", "--output"]).arg(&parts).assert().success();
    assert_eq!(logged(&whole, "step", "consistency").len(), 3);
    assert_eq!(logged(&whole, "step", "consistency"), logged(&parts, "step", "consistency"));
    assert!(weights(&whole) == weights(&parts));
}

#[test]
fn what_cannot_be_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let [data, parallel, single] = ["rows.jsonl", "prompts.jsonl", "single.jsonl"].map(|name| dir.path().join(name));
    write_rows(&data, &rows());
    write_rows(&parallel, &prompts());
    write_rows(&single, &[json!({ "language": "en", "prompt": "Why?", "chosen": "So.", "rejected": "No." })]);
    let run = dir.path().join("run");
    let of = |data: &Path, arguments: &[&str]| refusal(train(&model(), data, &run).args(arguments));
    for method in ["mpo", "dpo", "sft", "kto"] {
        let said = of(&parallel, &["--method", method]);
        assert!(said.contains(", got prompts in several languages"), "{method}: {said}");
    }
    let said = of(&single, &["--method", "lens"]);
    assert!(said.contains("got pairs in one language"), "{said}");
    let said = of(&single, &["--method", "dpo", "--consistency-weight", "1"]);
    assert!(said.contains("consistency_data: expected rows in two languages"), "{said}");
    let said = of(&data, &["--consistency-weight", "1", "--consistency-layer", "99"]);
    assert!(said.contains("consistency_layer: expected at most"), "{said}");
    let said = of(&data, &["--consistency-layer", "2"]);
    assert!(said.contains("consistency_weight: expected a number, as consistency_layer is given"), "{said}");
    let lora = ["--adapter", "lora", "--lora-targets", "layers.1.mlp.up_proj"];
    let said = of(&data, &[&["--consistency-weight", "1", "--consistency-layer", "1"], &lora[..]].concat());
    assert!(said.contains("at or above the first that the adapter trains"), "{said}");
    let mut score = mpo_train();
    score.args(["score", "--device", "flex", "--model"]).arg(model()).arg("--data").arg(&parallel);
    let said = refusal(&mut score);
    assert!(said.contains("expected pairs of answers"), "{said}");
    let mut report = mpo_train();
    report.args(["plan", "--method", "lens", "--device", "flex", "--model"]).arg(model()).arg("--data").arg(&parallel);
    report.assert().success();
    let mut plan = mpo_train();
    plan.args(["plan", "--consistency-weight", "1", "--device", "flex", "--model"]).arg(model());
    plan.arg("--data").arg(&data).arg("--consistency-data").arg(&parallel).assert().success();
}
