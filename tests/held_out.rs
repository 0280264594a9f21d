//! What `train` measures while it trains: on which rows, that it changes nothing, and that a run that was stopped tells the
//! same.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

use binary::{begun, model, mpo_train, rows, train, write_rows};

struct Place {
    dir: TempDir,
}

impl Place {
    /// Eight rows to train on and four held out.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_rows(&dir.path().join("rows.jsonl"), &rows()[..8]);
        write_rows(&dir.path().join("held.jsonl"), &rows()[8..]);
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Eight steps, of four rows each.
    fn train(&self, output: &str, arguments: &[&str]) -> Command {
        let mut command = train(&model(), &self.path("rows.jsonl"), &self.path(output));
        command.args(["--lr", "1e-4", "--batch-size", "4", "--epochs", "4", "--eval-data"]);
        command.arg(self.path("held.jsonl")).args(arguments);
        command
    }
}

/// What was measured, in the order of the log, without the checksums of lines.
fn measured(run: &Path) -> Vec<Value> {
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut measured: Vec<Value> = events.filter(|event: &Value| event["event"] == "measured").collect();
    for event in &mut measured {
        event.as_object_mut().unwrap().remove("check");
    }
    measured
}

fn steps(measured: &[Value]) -> Vec<u64> {
    measured.iter().map(|event| event["step"].as_u64().unwrap()).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn held_out_rows_are_measured_by_language_from_the_start_to_the_end() {
    let place = Place::new();
    let told = place.train("run", &["--eval-every", "3"]).assert().success();
    told.stderr(contains("step 3/8  held out: loss ").and(contains("  gap bn ")));
    let run = place.path("run");
    let measured = measured(&run);
    assert_eq!(steps(&measured), [0, 3, 6, 8]);
    let results = json(&run.join("results.json"));
    for (event, when) in [(&measured[0], "before"), (&measured[3], "after")] {
        for gap in results["reward_gap"][when].as_array().unwrap() {
            let language = gap["language"].as_str().unwrap();
            assert_eq!(event[format!("eval_rg/{language}")], gap["mean"], "{language} {when}");
            assert_eq!(event[format!("eval_chosen/{language}")], gap["chosen_mean"], "{language} {when}");
        }
        // Rows have the language of their target side.
        assert!(event["eval_loss/sw"].is_f64() && event["eval_loss/bn"].is_f64() && event["eval_loss/en"].is_null());
    }
    let loss = |event: &Value| event["eval_loss"].as_f64().unwrap();
    assert!(loss(&measured[3]) < loss(&measured[0]), "{measured:?}");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Held-out loss by language") && page.contains("Held-out reward gap by language"));
}

#[test]
fn measuring_changes_nothing_of_any_method() {
    let place = Place::new();
    let methods = ["mpo", "kto", "sft", "dpo", "orpo"].map(|method| vec!["--method", method]);
    // What is made of the reference's states, and of its distributions.
    let retains = ["kl", "mean-pool", "none"].map(|retain| vec!["--method", "mpo", "--retain", retain]);
    for arguments in methods.into_iter().chain(retains) {
        let [plain, watched] = ["plain", "watched"].map(|name| {
            let mut command = place.train(name, &arguments);
            if name == "watched" {
                command.args(["--eval-every", "1"]);
            }
            command.assert().success();
            let run = place.path(name);
            let ended = ["model/model.safetensors", "results.json"].map(|file| fs::read(run.join(file)).unwrap());
            let seen = measured(&run);
            fs::remove_dir_all(run).unwrap();
            (ended, seen)
        });
        assert!(plain.0 == watched.0, "{arguments:?}");
        assert!(plain.1.is_empty());
        assert_eq!(steps(&watched.1), Vec::from_iter(0..=8), "{arguments:?}");
        assert!(watched.1.iter().all(|event| event["eval_loss"].is_f64()), "{arguments:?}");
    }
}

/// The loss on the rows that are trained on is that of training.
#[test]
fn the_loss_is_the_one_that_is_minimized() {
    let place = Place::new();
    for method in ["mpo", "kto", "dpo"] {
        let mut command = train(&model(), &place.path("rows.jsonl"), &place.path(method));
        command.args(["--method", method, "--batch-size", "64", "--shuffle", "false", "--max-steps", "1"]);
        command.args(["--eval-every", "1"]).assert().success();
        let run = place.path(method);
        let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
        let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let step = events.iter().find(|event| event["event"] == "step").unwrap();
        let first = &measured(&run)[0];
        for language in ["sw", "bn"] {
            let [trained, held] = [format!("loss/{language}"), format!("eval_loss/{language}")];
            let (trained, held) = (step[trained].as_f64().unwrap(), first[held].as_f64().unwrap());
            assert!((trained - held).abs() <= 1e-6 * trained.abs().max(1e-3), "{method}: {trained}, {held}");
        }
    }
}

#[test]
fn answers_are_sampled_to_unsafe_and_to_benign_prompts() {
    let place = Place::new();
    let benign = place.path("benign.jsonl");
    let prompts =
        [r#"{"language": "en", "prompt": "How do I boil an egg?"}"#, r#"{"language": "sw", "prompt": "Yai?"}"#];
    fs::write(&benign, prompts.repeat(2).join("\n")).unwrap();
    let benign = ["--eval-benign", benign.to_str().unwrap()];
    let arguments = [&["--eval-every", "4", "--eval-samples", "1"][..], &benign].concat();
    let told = place.train("run", &arguments).assert().success();
    told.stderr(contains("  unsafe: ").and(contains("  benign: ")).and(contains(" refused")));
    let measured = measured(&place.path("run"));
    assert_eq!(steps(&measured), [0, 4, 8]);
    for event in &measured {
        let samples = event["samples"].as_array().unwrap();
        let kinds: Vec<(&str, bool)> = samples
            .iter()
            .map(|sample| (sample["language"].as_str().unwrap(), sample["is_unsafe"].as_bool().unwrap()))
            .collect();
        assert_eq!(kinds, [("sw", true), ("bn", true), ("en", true), ("en", false), ("sw", false)]);
        assert!(samples[3]["prompt"].as_str().unwrap().contains("How do I boil an egg?"), "{event}");
        let refused = samples[..3].iter().filter(|sample| sample["refused"] == true).count();
        assert!((event["eval_refused/unsafe"].as_f64().unwrap() - refused as f64 / 3.0).abs() < 1e-12, "{event}");
        assert!(event["eval_refused/benign/sw"].is_f64(), "{event}");
    }
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(page.contains("<h3>run, while it trained</h3>") && page.contains("Unsafe prompts refused by language"));

    place.train("none", &["--eval-every", "4", "--eval-samples", "0"]).assert().success();
    assert!(self::measured(&place.path("none")).iter().all(|event| event["samples"].is_null()));
    let error = place.train("unused", &benign).assert().code(1);
    error.stderr(contains("eval_every: expected a number of steps, and eval_samples above 0, as eval_benign is given"));
    fs::write(place.path("benign.jsonl"), "{}").unwrap();
    place.train("broken", &arguments).assert().code(1).stderr(contains("benign.jsonl, line 1: "));
    assert!(!place.path("broken").exists());
}

#[test]
fn a_run_that_was_killed_tells_what_a_calm_one_tells() {
    let place = Place::new();
    let arguments = ["--eval-every", "2", "--checkpoint-every", "3"];
    place.train("calm", &arguments).assert().success();
    let killed = place.path("killed");
    let events = killed.join("events.jsonl");
    let has = |what: &str| fs::read_to_string(&events).is_ok_and(|log| log.contains(what));
    // Between a measurement and the checkpoint after it.
    let mut child = begun(place.train("killed", &arguments), || has("\"event\":\"measured\",\"step\":4"));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut resume = mpo_train();
    resume.args(["train", "--resume", "--output"]).arg(&killed).assert().success();
    assert_eq!(measured(&killed), measured(&place.path("calm")));
    for file in ["model/model.safetensors", "results.json"] {
        assert!(fs::read(killed.join(file)).unwrap() == fs::read(place.path("calm").join(file)).unwrap(), "{file}");
    }
}

/// A run may be measured at other steps than it was begun with, for that decides nothing.
#[test]
fn how_often_is_nothing_that_a_run_is() {
    let place = Place::new();
    place.train("run", &["--max-steps", "4"]).assert().success();
    let run = place.path("run");
    fs::remove_dir_all(run.join("model")).unwrap();
    let mut resume = mpo_train();
    resume.args(["train", "--resume", "--eval-every", "4", "--output"]).arg(&run).assert().success();
    // The checkpoint of its end is measured, which nobody did before.
    assert_eq!(steps(&measured(&run)), [4]);
    let none = place.train("none", &["--eval-every", "2", "--eval-rows", "0"]).assert().code(1);
    none.stderr(contains("eval_rows: expected at least 1, as eval_every is given, got 0"));
}
