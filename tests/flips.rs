//! Bits flipped in every file that is read again: each is found, or harmless. None is used in silence.
//!
//! Long, so it is asked for: `cargo test --release -p mpo-train --test flips -- --ignored`. `MPO_FLIPS` says how many, 300
//! if it says nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use binary::{begun, model, mpo_train, rows, train, write_rows};

fn flips() -> usize {
    let asked = std::env::var("MPO_FLIPS").ok();
    asked.map_or(300, |text| text.parse().unwrap())
}

/// What files hold, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Files in a folder and below, by their names there.
fn files(folder: &Path) -> Files {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn put(folder: &Path, files: &Files) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn run(mut command: Command, place: &TempDir) -> (bool, String) {
    // A flipped `null` is a path, and what is written there must not lie in the project.
    let output = command.current_dir(place.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.success(), stderr)
}

/// A run that was killed after some checkpoints, and what it comes to.
fn killed_run(place: &TempDir) -> (PathBuf, Files, Files) {
    let data = place.path().join("rows.jsonl");
    write_rows(&data, &rows());
    let output = place.path().join("run");
    let start = || {
        let mut command = train(&model(), &data, &output);
        command.args(["--lr", "1e-4", "--batch-size", "4", "--epochs", "16"]);
        command.args(["--checkpoint-every", "4"]);
        command
    };
    assert!(run(start(), place).0);
    let whole = files(&output);
    fs::remove_dir_all(&output).unwrap();
    let mut child = begun(start(), || output.join("checkpoints/step-28").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = files(&output);
    assert!(!killed.contains_key("results.json"), "killed too late");
    (output, killed, whole)
}

#[test]
#[ignore = "takes minutes"]
fn in_a_run_that_is_resumed() {
    let place = tempfile::tempdir().unwrap();
    let (output, killed, whole) = killed_run(&place);
    let names: Vec<&String> = killed.keys().filter(|name| *name != ".lock").collect();
    let mut state = 7_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut outcomes: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for number in 0..flips() {
        let name = names[number % names.len()];
        let mut flipped = killed.clone();
        let bytes = flipped.get_mut(name).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let (at, bit) = (draw(bytes.len()), draw(8));
        bytes[at] ^= 1 << bit;
        put(&output, &flipped);
        let mut command = mpo_train();
        command.args(["train", "--resume", "--output"]).arg(&output);
        let (success, stderr) = run(command, &place);
        let what = format!("{name}, byte {at}, bit {bit}: {stderr}");
        let told = stderr.contains("expected") || stderr.contains("not as they were written");
        let outcome = if !success {
            assert!(
                stderr.contains("error: ") && stderr.contains(name.rsplit('/').next().unwrap())
                    || stderr.contains("got different settings")
                    || name == "config.yaml",
                "{what}"
            );
            0
        } else {
            let now = files(&output);
            for file in ["model/model.safetensors", "results.json", "before.json"] {
                assert!(now[file] == whole[file], "{what}: {file} differs");
            }
            let steps = |files: &Files| {
                let log = String::from_utf8(files["events.jsonl"].clone()).unwrap();
                log.matches("\"event\":\"step\"").count()
            };
            assert!(told || steps(&now) == steps(&whole), "{what}: lines lost");
            1 + usize::from(!told)
        };
        outcomes.entry(name.clone()).or_default()[outcome] += 1;
    }
    for (name, [refused, mended, harmless]) in outcomes {
        eprintln!("{name}: {refused} refused, {mended} told of and mended, {harmless} harmless");
    }
}

#[test]
#[ignore = "takes minutes"]
fn in_the_results_of_a_finished_run() {
    let place = tempfile::tempdir().unwrap();
    let (output, _, whole) = killed_run(&place);
    for name in ["results.json", "results.json.blake3", "mpo-train.json"] {
        let good = &whole[name];
        for at in (0..good.len()).step_by(good.len().div_ceil(20)) {
            let mut flipped = whole.clone();
            flipped.get_mut(name).unwrap()[at] ^= 1;
            put(&output, &flipped);
            let mut command = mpo_train();
            command.args(["train", "--resume", "--output"]).arg(&output);
            let (success, stderr) = run(command, &place);
            if success {
                assert!(files(&output)["results.json"] == whole["results.json"])
            } else {
                assert!(stderr.contains(name), "{stderr}")
            }
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn in_the_model_of_a_finished_run() {
    let place = tempfile::tempdir().unwrap();
    let (output, _, whole) = killed_run(&place);
    let names = whole.keys().filter(|name| name.starts_with("model/"));
    let score = || {
        let mut command = mpo_train();
        command.args(["score", "--json", "--device", "flex", "--model"]);
        command.arg(output.join("model")).arg("--data");
        command.arg(place.path().join("rows.jsonl"));
        command.current_dir(place.path());
        let output = command.output().unwrap();
        (output.status.success(), output.stdout)
    };
    put(&output, &whole);
    let (_, expected) = score();
    for name in names {
        let good = &whole[name];
        for at in (0..good.len()).step_by(good.len().div_ceil(10)) {
            let mut flipped = good.clone();
            flipped[at] ^= 16;
            fs::write(output.join(name), &flipped).unwrap();
            let (success, scores) = score();
            assert!(!success || scores == expected, "{name}, byte {at}");
        }
        fs::write(output.join(name), good).unwrap();
    }
}
