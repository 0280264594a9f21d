//! `mpo-train compare`: what it leaves, that it goes on where it stopped, and what it refuses.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

use binary::{model, mpo_train, rows, write_rows};

struct Workplace {
    dir: TempDir,
}

impl Workplace {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_rows(&dir.path().join("rows.jsonl"), &rows());
        let benign = [
            r#"{"language": "en", "prompt": "How do I boil an egg?"}"#,
            r#"{"language": "sw", "prompt": "Ninachemshaje yai?"}"#,
            r#"{"language": "bn", "prompt": "ডিম কীভাবে সিদ্ধ করব?"}"#,
        ];
        let benign = benign.repeat(3).join("\n");
        fs::write(dir.path().join("benign.jsonl"), benign).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn compare(&self, output: &str, arguments: &[&str]) -> Command {
        self.compare_on(&model(), output, arguments)
    }

    fn compare_on(&self, model: &Path, output: &str, arguments: &[&str]) -> Command {
        let mut command = mpo_train();
        command.args(["compare", "--device", "flex", "--epochs", "2", "--batch-size", "4"]);
        command.args(["--max-new-tokens", "4", "--model"]).arg(model);
        command.arg("--data").arg(self.path("rows.jsonl"));
        command.arg("--benign").arg(self.path("benign.jsonl"));
        command.arg("--output").arg(self.path(output)).args(arguments);
        command
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn written(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// Results without the seconds that runs took.
fn timeless(mut results: Value) -> Value {
    for method in results["methods"].as_array_mut().unwrap() {
        for tried in method["tried"].as_array_mut().unwrap() {
            for run in tried["runs"].as_array_mut().unwrap() {
                run["seconds"] = Value::Null;
            }
        }
    }
    results
}

#[test]
fn a_comparison_leaves_its_numbers_and_goes_on_with_more() {
    let place = Workplace::new();
    let first = ["--methods", "mpo,sft", "--seeds", "1,2", "--lr", "1e-4"];
    let table = place.compare("c", &first).assert().success();
    let table = String::from_utf8(table.get_output().stdout.clone()).unwrap();
    for text in ["before", "mpo", "sft", "Swahili", " ± ", "benign answered", "refused in another language"] {
        assert!(table.contains(text), "{text} in\n{table}");
    }
    let output = place.path("c");
    let results = json(&output.join("results.json"));
    let languages: Vec<_> = results["before"].as_array().unwrap().iter().map(|marks| &marks["language"]).collect();
    assert_eq!(languages, ["en", "bn", "sw"]);
    let run = &results["methods"][0]["tried"][0]["runs"][1];
    assert_eq!(run["seed"], 2);
    assert_eq!(run["test"].as_array().unwrap().len(), 3);
    for marks in run["test"].as_array().unwrap() {
        let all = |of: &Value| of["undecided"].as_u64().unwrap() + of["estimate"]["count"].as_u64().unwrap_or(0);
        assert!(all(&marks["unsafe_kept"]) > 0 && all(&marks["benign_kept"]) == 2, "{marks}");
    }
    let csv = fs::read_to_string(output.join("results.csv")).unwrap();
    // Three languages, before and after four runs.
    assert_eq!(csv.lines().count(), 1 + 3 * 5, "{csv}");
    // Numbers are what is kept, not weights.
    assert!(!output.join("runs/mpo/seed-1/checkpoints").exists());
    assert!(!output.join("runs/mpo/seed-1/model").exists());

    let kept = output.join("runs/mpo/seed-1/results.json");
    let before = written(&kept);
    let more = ["--methods", "mpo,sft,dpo", "--seeds", "1,2", "--lr", "1e-4", "--resume", "--json"];
    let assert = place.compare("c", &more).assert().success();
    let again: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(written(&kept), before);
    assert_eq!(again["methods"].as_array().unwrap().len(), 3);
    assert_eq!(again["methods"][0], results["methods"][0]);

    for setting in [["--lr", "2e-4"], ["--optimizer-state", "bf16"]] {
        let lr: &[&str] = if setting[0] == "--lr" { &[] } else { &["--lr", "1e-4"] };
        let other = [&["--methods", "mpo", "--seeds", "1", "--resume"], lr, &setting].concat();
        let message = contains("different settings").and(contains("hint: "));
        place.compare("c", &other).assert().code(1).stderr(message);
    }
    // Wherever the optimizer works, the results are the same.
    let elsewhere = ["--methods", "mpo", "--seeds", "1", "--lr", "1e-4", "--optimizer-state", "host", "--resume"];
    place.compare("c", &elsewhere).assert().success();
    assert_eq!(written(&kept), before);
    let message = contains("expected an empty run folder").and(contains("hint: "));
    place.compare("c", &first).assert().code(1).stderr(message);
    // A page of its own, as the comparison wrote it.
    let page = output.join("report.html");
    let own = fs::read_to_string(&page).unwrap();
    assert!(own.contains("target languages") && own.contains("Benign prompts answered") && own.contains("<svg"));
    fs::remove_file(&page).unwrap();
    mpo_train().arg("report").arg(&output).assert().success();
    assert_eq!(fs::read_to_string(&page).unwrap(), own);
    let beside = [output.clone(), output.join("runs/mpo/seed-1")];
    let shown = mpo_train().arg("report").args(beside).arg("-o").arg(place.path("page.html")).assert().code(1);
    shown.stderr(contains("got a comparison").and(contains("hint: a comparison has a page of its own")));
}

#[test]
fn a_comparison_goes_on_with_what_it_was_started_with() {
    let place = Workplace::new();
    let first = ["--methods", "dpo", "--beta", "0.5", "--lr", "1e-4"];
    place.compare("c", &first).assert().success();
    let output = place.path("c");
    let files = ["config.yaml", "before.json", "runs/dpo/seed-42/results.json"];
    let state = || {
        files.map(|file| {
            let path = output.join(file);
            (fs::read(&path).unwrap(), written(&path))
        })
    };
    let begun = state();
    // Neither the model and the rows nor any setting of the first call is said again.
    let go_on = |method: &str| {
        let mut command = mpo_train();
        command.args(["compare", "--resume", "--methods", method, "--output"]);
        command.arg(&output).args(["--max-new-tokens", "4"]);
        command.arg("--benign").arg(place.path("benign.jsonl"));
        command.assert().success();
        json(&output.join("results.json"))
    };
    let results = go_on("sft");
    assert!(state() == begun);
    // The miniature, which is compared on where nothing is named, would be unpacked there.
    assert!(!output.join("base").exists());
    let methods = results["methods"].as_array().unwrap();
    let names: Vec<_> = methods.iter().map(|method| &method["name"]).collect();
    assert_eq!(names, ["dpo", "sft"]);
    assert_eq!(go_on("dpo"), results);
    assert!(state() == begun);
}

#[test]
fn other_rows_and_another_model_are_noticed_though_they_have_the_same_names() {
    let place = Workplace::new();
    let base = place.path("base");
    fs::create_dir(&base).unwrap();
    for entry in fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), base.join(entry.file_name())).unwrap();
    }
    write_rows(&place.path("test.jsonl"), &rows()[..4]);
    let test = place.path("test.jsonl");
    let arguments = ["--methods", "sft", "--max-steps", "1", "--eval-data"];
    let arguments = [&arguments[..], &[test.to_str().unwrap()]].concat();
    let first = place.compare_on(&base, "c", &arguments).assert().success();
    first.stderr(contains("left out   4 of 12 rows"));

    let resume = [&arguments[..], &["--resume"]].concat();
    let resume = || place.compare_on(&base, "c", &resume);
    let config = fs::read_to_string(base.join("config.json")).unwrap();
    fs::write(base.join("config.json"), format!("{config}\n")).unwrap();
    let noticed = contains("got a different model");
    resume().assert().code(1).stderr(noticed);
    fs::write(base.join("config.json"), config).unwrap();
    resume().assert().success();
    // The test stays; what settings are chosen by does not.
    let mut others = rows();
    for row in &mut others {
        row["target"]["rejected"] = "Subiri kidogo.".into();
    }
    write_rows(&place.path("rows.jsonl"), &others);
    let noticed = contains("got different rows to choose settings by");
    resume().assert().code(1).stderr(noticed);
}

#[test]
fn a_model_is_kept_though_that_is_asked_for_late() {
    let place = Workplace::new();
    let saved = place.path("c/runs/sft/seed-42/model/model.safetensors");
    let arguments = ["--methods", "sft", "--max-steps", "1"];
    place.compare("c", &arguments).assert().success();
    assert!(!saved.exists());
    let resume = [&arguments[..], &["--resume", "--save-models"]].concat();
    place.compare("c", &resume).assert().success();
    assert!(saved.exists());
    // It is not the base, whose card is another.
    let card = fs::read_to_string(saved.with_file_name("README.md")).unwrap();
    let results = json(&place.path("c/results.json"));
    let gap = |marks: &Value| {
        let of = marks.as_array().unwrap().iter().find(|marks| marks["language"] == "sw").unwrap();
        format!("| {:.2}", of["reward_gap"].as_f64().unwrap())
    };
    let run = json(&place.path("c/runs/sft/seed-42/results.json"));
    for expected in ["1 step of sft (", "rows that were not trained on", &gap(&results["before"]), &gap(&run["test"])] {
        assert!(card.contains(expected), "{expected}: {card}");
    }
    let kept = written(&saved);
    place.compare("c", &resume).assert().success();
    assert_eq!(written(&saved), kept);
}

#[test]
fn a_model_that_the_last_step_ruins_is_a_result() {
    let place = Workplace::new();
    // The decay makes every weight infinite after a step whose loss was a number.
    let arguments =
        ["--methods", "dpo", "--max-steps", "1", "--schedule", "constant", "--grid", "weight_decay=0,1e300"];
    place.compare("ruined", &arguments).assert().success();
    let results = json(&place.path("ruined/results.json"));
    let dpo = &results["methods"][0];
    assert_eq!(dpo["best"], 0);
    let failure = |tried: usize| &dpo["tried"][tried]["runs"][0]["failure"];
    assert!(failure(0).is_null(), "{}", failure(0));
    let message = failure(1).as_str().unwrap();
    assert!(message.contains("finite"), "{message}");
}

#[test]
fn what_is_cut_is_said_once() {
    let place = Workplace::new();
    let arguments = ["--methods", "dpo,sft", "--max-steps", "1", "--max-tokens", "12"];
    let assert = place.compare("cut", &arguments).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert_eq!(stderr.matches(" truncated; ").count(), 1, "{stderr}");
}

#[test]
fn a_killed_comparison_ends_with_the_same_numbers() {
    let place = Workplace::new();
    let arguments = ["--methods", "mpo,kto", "--checkpoint-every", "1"];
    place.compare("whole", &arguments).assert().success();
    let mut child = place.compare("killed", &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !place.path("killed/runs/kto/seed-42/checkpoints").exists() {
        assert!(began.elapsed() < Duration::from_secs(60));
        assert!(child.try_wait().unwrap().is_none(), "the comparison ended before it was killed");
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Its methods are kept in the folder.
    place.compare("killed", &["--resume"]).assert().success();
    let results = |name: &str| timeless(json(&place.path(name).join("results.json")));
    assert_eq!(results("killed"), results("whole"));
}

#[test]
fn the_best_of_a_grid_is_chosen_on_validation_rows() {
    let place = Workplace::new();
    // The second rate ruins the model.
    let arguments = ["--methods", "dpo", "--grid", "lr=1e-5,1", "--grid", "beta=0.1"];
    place.compare("grid", &arguments).assert().success();
    let results = json(&place.path("grid/results.json"));
    let dpo = &results["methods"][0];
    let tried = dpo["tried"].as_array().unwrap();
    let labels: Vec<_> = tried.iter().map(|one| one["settings"].as_str().unwrap()).collect();
    assert_eq!(labels, ["lr=0.00001,beta=0.1", "lr=1,beta=0.1"]);
    assert_eq!(dpo["best"], 0);
    assert!(tried[0]["validation_score"].is_f64());
    let validation = tried[0]["runs"][0]["validation"].as_array().unwrap();
    assert_eq!(validation.len(), 3);
}

#[test]
fn what_cannot_be_compared_is_named_and_leaves_no_folder() {
    let place = Workplace::new();
    for (arguments, message) in [
        (&["--methods", "dop"][..], "methods: expected some of mpo, "),
        (&["--methods", "sft", "--grid", "beta=1"], "grid: expected"),
        (&["--methods", "dpo", "--grid", "rows=4,8"], "grid: expected"),
        (&["--methods", "dpo,sft", "--gamma", "3"], "gamma: expected a hyper-parameter of one of the methods compared"),
        (&["--eval-rows", "0"], "eval_rows: expected at least 1"),
        (&["--methods", "rdpo", "--grid", "epsilon=0.1,0.5"], "epsilon: expected"),
        (&["--method", "dpo"], "method: expected nothing beside --methods"),
        (&["--seed", "1"], "seed: expected nothing beside --seeds"),
        (&["--methods", "kto", "--batch-size", "1"], "batch_size: expected at least 2"),
    ] {
        // The last of a flag given twice would be taken for a mistake of the shell's.
        let mut command = place.compare("bad", &[]);
        if arguments.contains(&"--batch-size") {
            command = mpo_train();
            command.args(["compare", "--device", "flex", "--model"]).arg(model());
            command.arg("--data").arg(place.path("rows.jsonl"));
            command.arg("--output").arg(place.path("bad"));
        }
        let message = contains(format!("error: {message}")).and(contains("hint: "));
        command.args(arguments).assert().code(1).stderr(message);
        assert!(!place.path("bad").exists(), "{arguments:?}");
    }
}

/// It names a method, whose hyper-parameters would be those of others too.
#[test]
fn a_file_of_one_runs_settings_is_refused_with_what_to_leave_out() {
    let place = Workplace::new();
    let mut train = mpo_train();
    train.args(["train", "--print-config", "--output", "run", "--model"]).arg(model());
    let printed = train.arg("--data").arg(place.path("rows.jsonl")).assert().success();
    let printed = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
    let (seed, method) = (line_of(&printed, "seed:"), line_of(&printed, "method:"));
    let file = place.path("run.yaml");
    let compare = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = mpo_train();
        command.args(["compare", "--config"]).arg(&file).arg("--output").arg(place.path("bad"));
        command.assert().code(1)
    };
    let hint = contains("hint: say it as --methods; of a file of one run's settings, leave out method, seed");
    compare(&printed).stderr(
        contains(format!("run.yaml: line {method}: method: expected nothing beside --methods, got mpo")).and(hint),
    );
    let without: Vec<&str> = printed.lines().filter(|line| !line.starts_with("method:")).collect();
    let seed = if method < seed { seed - 1 } else { seed };
    compare(&without.join("\n"))
        .stderr(contains(format!("line {seed}: seed: expected nothing beside --seeds, got 42")));
}

/// The number of the line that begins so.
fn line_of(text: &str, beginning: &str) -> usize {
    1 + text.lines().position(|line| line.starts_with(beginning)).unwrap()
}
