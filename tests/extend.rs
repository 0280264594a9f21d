//! A finished run that is given a later end: what it comes to, what it says, and what is refused.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::Path;
use std::process::Command;

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

use binary::{Place, begun, model, mpo_train, rows, train, write_rows};

impl Place {
    /// Two steps an epoch.
    fn train(&self, output: &str, arguments: &[&str]) -> Command {
        let mut command = train(&model(), &self.path("rows.jsonl"), &self.path(output));
        command.args(["--lr", "1e-4", "--batch-size", "4"]).args(arguments);
        command
    }

    fn resume(&self, output: &str, arguments: &[&str]) -> Command {
        let mut command = mpo_train();
        command.args(["train", "--resume", "--output"]).arg(self.path(output)).args(arguments);
        command
    }

    fn weights(&self, run: &str) -> Vec<u8> {
        fs::read(self.path(run).join("model/model.safetensors")).unwrap()
    }

    fn log(&self, run: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.path(run).join("events.jsonl")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The learning rate of each step.
    fn rates(&self, run: &str) -> Vec<f64> {
        let log = self.log(run);
        let steps = log.iter().filter(|event| event["event"] == "step");
        steps.map(|event| event["learning_rate"].as_f64().unwrap()).collect()
    }

    fn steps(&self, run: &str) -> u64 {
        results(&self.path(run))["steps"].as_u64().unwrap()
    }
}

fn results(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("results.json")).unwrap()).unwrap()
}

/// Where the schedule knows no end, an extended run is the one that was as long from the start.
#[test]
fn with_a_constant_rate_it_ends_where_a_longer_run_ends() {
    let place = Place::new();
    let constant = ["--schedule", "constant", "--warmup-ratio", "0"];
    let of = |more: &[&'static str]| [&constant[..], more].concat();
    // An end in the middle of an epoch, and KTO, whose reference depends on the epochs to come.
    for (method, short, long) in
        [("mpo", ["--max-steps", "3"], ["--max-steps", "4"]), ("kto", ["--epochs", "1"], ["--epochs", "2.5"])]
    {
        let arguments = ["--method", method, "--eval-every", "2"];
        let (short_run, long_run) = (format!("{method}-short"), format!("{method}-long"));
        let mut straight = place.train(&long_run, &of(&arguments));
        straight.args(long).assert().success();
        place.train(&short_run, &of(&arguments)).args(short).assert().success();
        let told = place.resume(&short_run, &long).assert().success();
        told.stderr(contains("extending from ").and(contains("continuing after step ")));
        assert!(place.weights(&short_run) == place.weights(&long_run), "{method}");
        assert_eq!(place.steps(&short_run), place.steps(&long_run));
        assert_eq!(place.rates(&short_run), place.rates(&long_run));
        let results = [&short_run, &long_run].map(|run| results(&place.path(run))["reward_gap"].clone());
        assert_eq!(results[0], results[1], "{method}");
        // The longer run's settings are the run's from here on.
        place.resume(&short_run, &[]).assert().success().stderr(contains("finished already, after "));
        let config = fs::read_to_string(place.path(&short_run).join("config.yaml")).unwrap();
        let [key, value] = long.map(|word| word.trim_start_matches("--").replace('-', "_"));
        assert!(config.contains(&format!("{key}: {value}")), "{config}");
    }
}

/// The rates of before are those of the run as it was, and the others those of a run of the new length.
#[test]
fn a_schedule_with_an_end_goes_on_as_that_of_a_longer_run() {
    let place = Place::new();
    let end = ["--max-steps", "4"];
    place.train("long", &["--epochs", "4"]).assert().success();
    place.train("short", &["--epochs", "4"]).args(end).assert().success();
    let short = place.rates("short");
    let of_end = place.weights("short");
    let told = place.resume("short", &["--max-steps", "8"]).assert().success();
    told.stderr(contains(
        "from here on the learning rate is that of a run of 8 steps (cosine: 2.50e-5 at step 4, 6.11e-5 at step 5)",
    ));
    let (rates, long) = (place.rates("short"), place.rates("long"));
    assert_eq!(rates[..4], short);
    assert_eq!(rates[4..], long[4..]);
    assert!(rates[4] > rates[3] && place.weights("short") != of_end);
    assert!(place.weights("short") != place.weights("long"), "as if it had been as long from the start");

    // What it comes to follows from its ends: it is the same when nothing is left but what it read.
    let extended = place.weights("short");
    for gone in ["model", "checkpoints"] {
        fs::remove_dir_all(place.path("short").join(gone)).unwrap();
    }
    place.resume("short", &[]).assert().success();
    assert_eq!(place.rates("short"), rates);
    assert!(place.weights("short") == extended);
    // Once more.
    place.resume("short", &["--max-steps", "9", "--epochs", "9"]).assert().success();
    assert_eq!(place.rates("short")[..8], rates);
    assert_eq!(place.steps("short"), 9);
}

#[test]
fn a_kill_on_the_way_loses_nothing() {
    let place = Place::new();
    let arguments = ["--max-steps", "4", "--epochs", "9", "--checkpoint-every", "2"];
    for run in ["calm", "killed"] {
        place.train(run, &arguments).assert().success();
    }
    place.resume("calm", &["--max-steps", "12"]).assert().success();
    let events = place.path("killed/events.jsonl");
    let has = |what: &str| fs::read_to_string(&events).is_ok_and(|log| log.contains(what));
    let mut child = begun(place.resume("killed", &["--max-steps", "12"]), || has("\"event\":\"step\",\"step\":7"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("killed/results.json").exists(), "killed too late");
    // The run is of twelve steps from here on.
    let refused = place.resume("killed", &["--max-steps", "14"]).assert().code(1);
    let what = "got one that is not finished, and different settings: max_steps: 12 → 14";
    refused.stderr(contains(what).and(contains("hint: let it come to its end by --resume alone")));
    place.resume("killed", &[]).assert().success().stderr(contains("continuing after step "));
    assert!(place.weights("killed") == place.weights("calm"));
    assert_eq!(place.steps("killed"), 12);

    // Killed before the results of the earlier end were gone: they are not those of this one.
    let earlier = Place::new();
    earlier.train("run", &arguments).assert().success();
    let files = ["results.json", "results.json.blake3"].map(|name| earlier.path("run").join(name));
    let old = files.each_ref().map(|file| fs::read(file).unwrap());
    earlier.resume("run", &["--max-steps", "12"]).assert().success();
    for (file, old) in files.iter().zip(old) {
        fs::write(file, old).unwrap();
    }
    earlier.resume("run", &[]).assert().success().stderr(contains("finished already").not());
    assert_eq!(earlier.steps("run"), 12);
    assert!(earlier.weights("run") == place.weights("calm"));
}

#[test]
fn what_is_no_later_end_is_refused() {
    let place = Place::new();
    place.train("run", &["--epochs", "2"]).assert().success();
    let files = || ["mpo-train.json", "config.yaml", "results.json"].map(|name| fs::read(place.path("run").join(name)));
    let before = files().map(Result::unwrap);
    let refused = |arguments: &[&str], expected: &str| {
        let refused = place.resume("run", arguments).assert().code(1);
        refused.stderr(contains(expected).and(contains("hint: ")));
        assert_eq!(files().map(Result::unwrap), before, "{arguments:?}");
    };
    // Four steps are two epochs.
    refused(&["--max-steps", "40"], "expected a later end than that after 4 steps, got one after 4 steps");
    refused(&["--epochs", "1"], "expected a later end than that after 4 steps, got one after 2 steps");
    let both = "got different settings: lr: 0.0001 → 0.001, epochs: 2.0 → 4.0";
    refused(&["--epochs", "4", "--lr", "1e-3"], both);
    // A rehearsal says what it would do, and does nothing.
    let told = place.resume("run", &["--epochs", "3", "--dry-run"]).assert().success();
    told.stderr(contains("extending from 4 to 6 steps"));
    assert_eq!(files().map(Result::unwrap), before);
    // Other rows, which make as many steps, more and fewer: nothing is said of ends.
    for count in [7, 12, 4] {
        write_rows(&place.path("rows.jsonl"), &rows()[..count]);
        for arguments in [&["--epochs", "3"][..], &["--epochs", "3", "--dry-run"], &["--dry-run"]] {
            refused(arguments, "got different rows\n");
        }
    }
}

/// Whoever has no use for a later end need not keep what it takes.
#[test]
fn a_run_that_keeps_only_its_model_has_no_later_end() {
    let place = Place::new();
    place.train("run", &["--max-steps", "2", "--save-only-model"]).assert().success();
    let checkpoints = place.path("run/checkpoints");
    assert!(!checkpoints.exists() && place.path("run/model/model.safetensors").exists());
    for arguments in [&["--max-steps", "4"][..], &["--max-steps", "4", "--dry-run"]] {
        let refused = place.resume("run", arguments).assert().code(1);
        let what = "expected a run with a checkpoint, whose optimizer state a later end goes on from, got one without";
        refused.stderr(contains(what).and(contains("save_only_model")).and(contains("hint: train anew")));
    }
    assert_eq!(place.steps("run"), 2);
    // It is finished all the same.
    place.resume("run", &[]).assert().success().stderr(contains("finished already, after 2 steps"));

    // Stopped on the way it goes on, for checkpoints are there until its end.
    let mut slow = place.train("stopped", &["--epochs", "9", "--checkpoint-every", "1", "--save-only-model"]);
    slow.args(["--eval-every", "1"]);
    let mut child = begun(slow, || place.path("stopped/checkpoints/step-3").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    place.resume("stopped", &[]).assert().success().stderr(contains("continuing after step "));
    assert!(!place.path("stopped/checkpoints").exists());

    // Those of a run that is finished go when it is asked for.
    place.train("late", &["--max-steps", "2"]).assert().success();
    assert!(place.path("late/checkpoints/step-2").exists());
    place.resume("late", &["--save-only-model"]).assert().success().stderr(contains("finished already"));
    assert!(!place.path("late/checkpoints").exists());
}

/// A page is of the results that stand beside it.
#[test]
fn the_page_of_an_earlier_end_goes_with_its_results() {
    let place = Place::new();
    place.train("run", &["--max-steps", "2"]).assert().success();
    let page = place.path("run/report.html");
    assert!(page.exists());
    let events = place.path("run/events.jsonl");
    let has = |what: &str| fs::read_to_string(&events).is_ok_and(|log| log.contains(what));
    let longer = place.resume("run", &["--max-steps", "2000", "--epochs", "999"]);
    let mut child = begun(longer, || has("\"event\":\"step\",\"step\":3"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!page.exists() && !place.path("run/results.json").exists());
}

#[test]
fn a_run_that_stopped_early_has_no_later_end() {
    let place = Place::new();
    let held = place.path("held.jsonl");
    let start = |run: &str, max_steps: &str| {
        let mut command = train(&model(), &place.path("rows.jsonl"), &place.path(run));
        // Steps so large that what is held out becomes worse.
        command.args(["--lr", "3e-3", "--schedule", "constant", "--warmup-ratio", "0", "--batch-size", "4"]);
        command.args(["--epochs", "20", "--max-steps", max_steps, "--eval-every", "1", "--early-stop", "2"]);
        command.arg("--eval-data").arg(&held).assert().success();
    };
    start("stopped", "40");
    let taken = place.steps("stopped");
    assert!(taken < 40, "{taken}");
    let refused = place.resume("stopped", &["--epochs", "30"]).assert().code(1);
    refused.stderr(contains(format!("got one that stopped early, after step {taken} of 40")));

    // One whose patience ended with its last step goes on, and counts anew.
    start("last", &taken.to_string());
    assert_eq!(results(&place.path("last")), results(&place.path("stopped")));
    let more = (taken + 2).to_string();
    place.resume("last", &["--max-steps", &more]).assert().success();
    assert!(place.steps("last") > taken);
}
