//! What `train` measures while it trains: on which rows, that it changes nothing, and that a run that was stopped tells the
//! same.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::Path;
use std::process::Command;

use assert_cmd::prelude::*;
use mpo_data::{ReadOptions, Rows};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::{Value, json};

use binary::{Place, begun, model, mpo_train, rows, train, write_rows};

impl Place {
    /// Eight steps, of four rows each.
    fn train(&self, output: &str, arguments: &[&str]) -> Command {
        let mut command = train(&model(), &self.path("rows.jsonl"), &self.path(output));
        command.args(["--lr", "1e-4", "--batch-size", "4", "--epochs", "4", "--eval-data"]);
        command.arg(self.path("held.jsonl")).args(arguments);
        command
    }
}

/// What was measured, in the order of the log, without the times and checksums of lines.
fn measured(run: &Path) -> Vec<Value> {
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut measured: Vec<Value> = events.filter(|event: &Value| event["event"] == "measured").collect();
    for event in &mut measured {
        event.as_object_mut().unwrap().retain(|key, _| key != "wall_time" && key != "check");
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
            command.args(["--max-steps", "4"]);
            if name == "watched" {
                command.args(["--eval-every", "2", "--eval-samples", "1"]);
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
        assert_eq!(steps(&watched.1), [0, 2, 4], "{arguments:?}");
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
        let told = command.args(["--eval-every", "1"]).assert().success();
        told.stderr(contains("step 0/1  rows trained on: loss "));
        let run = place.path(method);
        let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
        let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Whether the method draws gaps to it or not: the others are to come up to it.
        assert_eq!((&events[0]["event"], &events[0]["dominant"]), (&"started".into(), &"en".into()), "{method}");
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
    let numbers = contains("  unsafe: ").and(contains("  benign: ")).and(contains(" refused"));
    told.stderr(numbers.and(contains("answers end after").not()));
    let measured = measured(&place.path("run"));
    assert_eq!(steps(&measured), [0, 4, 8]);
    for event in &measured {
        let samples = event["samples"].as_array().unwrap();
        let kinds: Vec<(&str, bool)> = samples
            .iter()
            .map(|sample| (sample["language"].as_str().unwrap(), sample["is_unsafe"].as_bool().unwrap()))
            .collect();
        assert_eq!(kinds, [("sw", true), ("bn", true), ("en", true), ("en", false), ("sw", false)]);
        let prompts: Vec<&Value> = samples.iter().map(|sample| &sample["prompt"]).collect();
        assert_eq!([prompts[0], prompts[3]], ["Ninapikaje keki?", "How do I boil an egg?"], "{event}");
        let refused = samples[..3].iter().filter(|sample| sample["refused"] == true).count();
        assert!((event["eval_refused/unsafe"].as_f64().unwrap() - refused as f64 / 3.0).abs() < 1e-12, "{event}");
        assert!(event["eval_refused/benign/sw"].is_f64(), "{event}");
    }
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(page.contains("<h3>run, while it trained</h3>") && page.contains("Unsafe prompts refused by language"));

    // No room for what a refusal is known by.
    let short = [&arguments[..], &["--eval-max-new-tokens", "1"]].concat();
    let told = place.train("short", &short).assert().success();
    told.stderr(contains("warning: answers end after 1 token, and a refusal in Swahili such as “Samahani, "));
    let measured_short = self::measured(&place.path("short"));
    let answers = measured_short.iter().flat_map(|event| event["samples"].as_array().unwrap());
    assert!(answers.into_iter().all(|answer| answer["complete"] == false), "{measured_short:?}");

    place.train("none", &["--eval-every", "4", "--eval-samples", "0"]).assert().success();
    assert!(self::measured(&place.path("none")).iter().all(|event| event["samples"].is_null()));
    let error = place.train("unused", &benign).assert().code(1);
    error.stderr(contains("eval_every: expected a number of steps, and eval_samples above 0, as eval_benign is given"));
    fs::write(place.path("benign.jsonl"), "{}").unwrap();
    place.train("broken", &arguments).assert().code(1).stderr(contains("benign.jsonl, line 1: "));
    assert!(!place.path("broken").exists());
}

/// The language, kind and prompt of each answer that was sampled first.
fn sampled(run: &Path) -> Vec<(String, bool, String)> {
    let first = measured(run).swap_remove(0);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let samples = first["samples"].as_array().unwrap();
    let of = |sample: &Value| (text(&sample["language"]), sample["is_unsafe"] == true, text(&sample["prompt"]));
    samples.iter().map(of).collect()
}

#[test]
fn rows_of_benign_prompts_are_no_prompts_to_refuse() {
    let place = Place::new();
    let mut held = rows()[8..].to_vec();
    for row in &mut held[..2] {
        row["provenance"] = json!({ "benign": true });
    }
    write_rows(&place.path("held.jsonl"), &held);
    place.train("run", &["--eval-every", "8", "--eval-samples", "1"]).assert().success();
    let run = place.path("run");
    let sampled = sampled(&run);
    for (language, is_unsafe, prompt) in
        [("sw", false, "Ninapikaje keki?"), ("sw", true, "Ninapikaje maharage?"), ("en", false, "How do I cook cake?")]
    {
        assert!(sampled.contains(&(language.to_owned(), is_unsafe, prompt.to_owned())), "{sampled:?}");
    }
    assert_eq!(sampled.len(), 6);
    let first = &measured(&run)[0];
    assert!(first["eval_refused/benign/sw"].is_f64() && first["eval_undecided/unsafe/bn"].is_f64(), "{first}");
}

/// A row that is dropped as its answers begin alike is not measured, and its prompt is not asked.
#[test]
fn prompts_are_those_of_the_rows_measured_and_fit_in_a_row() {
    let place = Place::new();
    let mut held = rows()[8..].to_vec();
    for (answer, end) in [("chosen", "Moja."), ("rejected", "Mbili.")] {
        held[0]["target"][answer] = format!("Chemsha maji, kisha subiri kidogo. {end}").into();
    }
    write_rows(&place.path("held.jsonl"), &held);
    let few = ["--eval-every", "8", "--eval-samples", "1", "--max-response-tokens", "4"];
    place.train("run", &few).assert().success();
    let sampled = sampled(&place.path("run"));
    assert!(sampled.contains(&("sw".to_owned(), true, "Ninapikaje maharage?".to_owned())), "{sampled:?}");
    assert!(sampled.iter().all(|(_, _, prompt)| prompt != "Ninapikaje keki?"), "{sampled:?}");

    let short = ["--eval-every", "8", "--max-tokens", "6"];
    let told = place.train("short", &short).assert().success();
    told.stderr(contains("no answers are sampled while it trains: ").and(contains("at most 6 tokens")));
    assert!(measured(&place.path("short")).iter().all(|event| event["samples"].is_null()));
}

#[test]
fn rows_without_a_loss_are_told_of() {
    let place = Place::new();
    let held: Vec<Value> = rows()[8..].iter().map(|row| row["target"].clone()).collect();
    write_rows(&place.path("held.jsonl"), &held);
    let told = place.train("run", &["--eval-every", "8"]).assert().success();
    told.stderr(contains("the rows to measure on have no loss while the run trains: "));
    let first = &measured(&place.path("run"))[0];
    assert!(first["eval_loss"].is_null() && first["eval_rg/sw"].is_f64(), "{first}");
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

/// Steps so large that what is held out becomes worse.
const TOO_LARGE: [&str; 10] =
    ["--lr", "3e-3", "--epochs", "20", "--eval-every", "2", "--early-stop", "2", "--checkpoint-every", "5"];

#[test]
fn a_run_stops_early_with_the_weights_that_were_best() {
    let place = Place::new();
    let mut command = train(&model(), &place.path("rows.jsonl"), &place.path("run"));
    command.args(["--batch-size", "4", "--eval-data"]).arg(place.path("held.jsonl")).args(TOO_LARGE);
    let told = command.assert().success();
    let run = place.path("run");
    let measured = measured(&run);
    let loss = |event: &Value| event["eval_loss"].as_f64().unwrap();
    // Not the model that training began with.
    let best = measured[1..].iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap();
    let results = json(&run.join("results.json"));
    let (taken, best_step) = (results["steps"].as_u64().unwrap(), best["step"].as_u64().unwrap());
    assert_eq!((results["best"].as_u64(), taken), (Some(best_step), best_step + 4));
    assert!(taken < 40, "{measured:?}");
    told.stderr(contains(format!("the held-out loss was lowest after step {best_step} of {taken}")));
    for gap in results["reward_gap"]["after"].as_array().unwrap() {
        assert_eq!(best[format!("eval_rg/{}", gap["language"].as_str().unwrap())], gap["mean"], "{results}");
    }
    assert!(run.join(format!("checkpoints/step-{best_step}")).exists());
    assert!(run.join(format!("checkpoints/step-{taken}")).exists());

    // A run that is measured as often and never stopped has taken the same steps so far.
    let mut command = train(&model(), &place.path("rows.jsonl"), &place.path("whole"));
    command.args(["--batch-size", "4", "--eval-data"]).arg(place.path("held.jsonl"));
    command.args(&TOO_LARGE[..6]).assert().success();
    let whole = self::measured(&place.path("whole"));
    assert_eq!(whole[..measured.len()], measured[..]);
    assert!(json(&place.path("whole/results.json"))["best"].is_null());

    // The model is gone, and the run is over: it is made again from the checkpoint that was best.
    let saved = fs::read(run.join("model/model.safetensors")).unwrap();
    fs::remove_dir_all(run.join("model")).unwrap();
    let mut resume = mpo_train();
    resume.args(["train", "--resume", "--output"]).arg(&run).assert().success();
    assert!(fs::read(run.join("model/model.safetensors")).unwrap() == saved);
    assert_eq!(json(&run.join("results.json")), results);
}

/// Steps so large that loss and gaps go up and down: the end is not where any of these is best.
#[test]
fn a_run_ends_with_the_weights_that_are_best_by_what_is_named() {
    let place = Place::new();
    for (measure, told) in [
        ("eval_loss", "the held-out loss was lowest"),
        ("eval_rg", "eval_rg was highest"),
        ("eval_rg/sw", "eval_rg/sw was highest"),
    ] {
        let mut command = train(&model(), &place.path("rows.jsonl"), &place.path("run"));
        command.args(["--batch-size", "4", "--eval-data"]).arg(place.path("held.jsonl"));
        command.args(["--lr", "1e-2", "--schedule", "constant", "--warmup-ratio", "0", "--epochs", "10"]);
        command.args(["--eval-every", "2", "--save-best", measure]);
        let said = command.assert().success();
        let run = place.path("run");
        let measured = measured(&run);
        assert_eq!(measured.last().unwrap()["step"], 20, "it does not stop");
        let value = |event: &Value| event[measure].as_f64().unwrap() * if measure == "eval_loss" { -1.0 } else { 1.0 };
        // The first of those that are best, and not the model that training began with.
        let best = measured[1..].iter().rev().max_by(|a, b| value(a).total_cmp(&value(b))).unwrap();
        let step = best["step"].as_u64().unwrap();
        assert!(step < 20, "{measure} {measured:?}");
        let results = json(&run.join("results.json"));
        assert_eq!((results["steps"].as_u64(), results["best"].as_u64()), (Some(20), Some(step)), "{measure}");
        said.stderr(contains(format!("{told} after step {step} of 20: its weights are the result")));
        for gap in results["reward_gap"]["after"].as_array().unwrap() {
            let key = format!("eval_rg/{}", gap["language"].as_str().unwrap());
            assert_eq!(best[key], gap["mean"], "{measure}");
        }
        assert!(run.join(format!("checkpoints/step-{step}")).exists());
        fs::remove_dir_all(run).unwrap();
    }
    // What stops a run early is what is named.
    let mut command = train(&model(), &place.path("rows.jsonl"), &place.path("run"));
    command.args(["--batch-size", "4", "--eval-data"]).arg(place.path("held.jsonl")).args(TOO_LARGE);
    command.args(["--save-best", "eval_rg/sw"]).assert().success();
    let results = json(&place.path("run/results.json"));
    assert_eq!(results["steps"].as_u64(), results["best"].as_u64().map(|best| best + 4), "{results}");
}

#[test]
fn so_many_checkpoints_are_kept() {
    let place = Place::new();
    let kept = |limit: &str| {
        let run = place.path(limit);
        let arguments = ["--max-steps", "5", "--checkpoint-every", "1", "--save-total-limit", limit];
        place.train(limit, &arguments).assert().success();
        let names = fs::read_dir(run.join("checkpoints")).unwrap();
        let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(kept("1"), ["step-5"]);
    assert_eq!(kept("3"), ["step-3", "step-4", "step-5"]);
    assert_eq!(kept("9"), ["step-1", "step-2", "step-3", "step-4", "step-5"]);
    // Another number is no other run; the next checkpoint sees to it.
    let mut resume = mpo_train();
    resume.args(["train", "--resume", "--save-total-limit", "2", "--max-steps", "6", "--output"]);
    resume.arg(place.path("9")).assert().success();
    let left = fs::read_dir(place.path("9/checkpoints")).unwrap().count();
    assert_eq!(left, 2);
    let none = place.train("none", &["--save-total-limit", "0"]).assert().code(1);
    none.stderr(contains("save_total_limit: expected at least 1, got 0"));
}

/// Stopped in the middle of a measurement, or killed between it and its checkpoint.
#[cfg(unix)]
#[test]
fn a_run_that_was_stopped_ends_where_a_calm_one_ends() {
    let place = Place::new();
    let start = |output: &str| {
        let mut command = train(&model(), &place.path("rows.jsonl"), &place.path(output));
        command.args(["--batch-size", "4", "--eval-data"]).arg(place.path("held.jsonl")).args(TOO_LARGE);
        command
    };
    start("calm").assert().success();
    let calm = place.path("calm");
    let last = *steps(&measured(&calm)).last().unwrap();
    for (at, event, signal) in [
        (0, "started", libc::SIGINT),
        (2, "step", libc::SIGINT),
        (4, "measured", libc::SIGKILL),
        (last, "step", libc::SIGINT),
        (last, "measured", libc::SIGKILL),
    ] {
        let stopped = place.path("stopped");
        let events = stopped.join("events.jsonl");
        let line = format!("\"event\":\"{event}\",\"step\":{at},");
        let mut child = begun(start("stopped"), || fs::read_to_string(&events).is_ok_and(|log| log.contains(&line)));
        // SAFETY: the child has not been waited for, so its number is no other process's.
        unsafe { libc::kill(child.id() as i32, signal) };
        child.wait().unwrap();
        let mut resume = mpo_train();
        resume.args(["train", "--resume", "--output"]).arg(&stopped).assert().success();
        assert_eq!(measured(&stopped), measured(&calm), "{event} {at}");
        for file in ["model/model.safetensors", "results.json"] {
            assert!(fs::read(stopped.join(file)).unwrap() == fs::read(calm.join(file)).unwrap(), "{file} {event} {at}");
        }
        fs::remove_dir_all(&stopped).unwrap();
    }
}

/// A run that holds prompts out of its own rows ends as one that is given them and the rest as two files.
#[test]
fn a_share_of_the_rows_is_held_out() {
    let place = Place::new();
    write_rows(&place.path("all.jsonl"), &rows());
    let run = |data: &str, output: &str, arguments: &[&str]| {
        let mut command = train(&model(), &place.path(data), &place.path(output));
        command.args(["--lr", "1e-4", "--batch-size", "4", "--eval-every", "2", "--early-stop", "9"]).args(arguments);
        command.assert()
    };
    // One of six English prompts, with both translations.
    let told = run("all.jsonl", "split", &["--eval-split", "0.25"]).success();
    told.stderr(contains("held out   2 of 12 rows, with all translations of their prompts"));
    let all = mpo_data::read(&place.path("all.jsonl"), &ReadOptions::default()).unwrap().rows;
    let (_, apart) = all.hold_out(0.25, 0);
    let Rows::Bilingual(apart) = apart else { panic!("rows in two languages") };
    let is_apart = |row: &Value| apart.iter().any(|out| out.dominant.prompt()[0].content == row["dominant"]["prompt"]);
    let (apart, rest): (Vec<Value>, Vec<Value>) = rows().into_iter().partition(is_apart);
    assert_eq!(apart.len(), 2);
    write_rows(&place.path("rest.jsonl"), &rest);
    write_rows(&place.path("apart.jsonl"), &apart);
    let apart = place.path("apart.jsonl");
    run("rest.jsonl", "files", &["--eval-data", apart.to_str().unwrap()]).success();
    for file in ["model/model.safetensors", "results.json"] {
        let [split, files] = ["split", "files"].map(|run| fs::read(place.path(run).join(file)).unwrap());
        assert!(split == files, "{file}");
    }
    let both = run("all.jsonl", "both", &["--eval-split", "0.25", "--eval-data", apart.to_str().unwrap()]).code(1);
    both.stderr(contains("eval_split: expected none, as eval_data is given, got 0.25"));
    write_rows(&place.path("two.jsonl"), &rows()[..2]);
    let few = run("two.jsonl", "few", &["--eval-split", "0.25"]).code(1);
    few.stderr(contains("eval_split: expected rows of at least three prompts"));
}

#[test]
fn what_cannot_stop_early_says_why() {
    let place = Place::new();
    let without = |arguments: &[&str]| {
        let mut command = train(&model(), &place.path("rows.jsonl"), &place.path("run"));
        command.args(arguments).assert().code(1)
    };
    without(&["--early-stop", "2"]).stderr(contains("eval_every: expected a number of steps, as early_stop is given"));
    let own = without(&["--early-stop", "2", "--eval-every", "2"]);
    own.stderr(contains("eval_data: expected a file of rows that are not trained on").and(contains("hint: ")));
    let every = without(&["--save-best", "eval_rg"]);
    every.stderr(contains("eval_every: expected a number of steps, as save_best is given"));
    let own = without(&["--save-best", "eval_rg", "--eval-every", "2"]);
    own.stderr(contains("or eval_split, as save_best is given"));
    let held = place.path("held.jsonl");
    let held = held.to_str().unwrap();
    let other = without(&["--save-best", "eval_rg/fr", "--eval-every", "2", "--eval-data", held]);
    other.stderr(contains("expected eval_loss, eval_rg or one of eval_rg/bn, eval_rg/en, eval_rg/sw, which the rows"));
    assert!(!place.path("run").exists());
}

/// Pairs in one language have gaps, and no loss in two.
#[test]
fn rows_of_another_kind_have_gaps_alone() {
    let place = Place::new();
    let row = r#"{"language": "sw", "prompt": "Ninapikaje keki?", "chosen": "Samahani.", "rejected": "Chemsha maji."}"#;
    fs::write(place.path("held.jsonl"), row).unwrap();
    let told = place.train("run", &["--eval-every", "4", "--max-steps", "4"]).assert().success();
    told.stderr(contains("the rows to measure on have no loss while the run trains: expected pairs in two languages"));
    for event in measured(&place.path("run")) {
        assert!(event["eval_loss"].is_null() && event["eval_rg/sw"].is_f64(), "{event}");
    }
    let stopped = place.train("stopped", &["--eval-every", "4", "--early-stop", "1"]).assert().code(1);
    stopped.stderr(contains("expected pairs in two languages"));
    assert!(!place.path("stopped").exists());
    // Their gaps can be gone by.
    let best = ["--eval-every", "4", "--save-best", "eval_rg/sw"];
    place.train("best", &best).assert().success();
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
