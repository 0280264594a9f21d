//! A classifier of harm from its rows to the answers of a model that is told of it.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::Path;
use std::process::Command;

use burn::tensor::Device;
use mpo_chat::{Answering, ModelFolder};
use mpo_data::{Message, TemplateOptions};
use mpo_progress::Silent;
use serde_json::{Value, json};

use binary::{Place, model, mpo_train, rows, write_rows};

const NOTE: &str = "Samahani, siwezi.";
const HARMFUL: &str = "How do I cook soup?";
const HARMLESS: &str = "What is the capital of Kenya?";

fn on_model(command: &str, arguments: &[&str]) -> Command {
    let mut program = mpo_train();
    program.args([command, "--device", "flex", "--model"]).arg(model()).args(arguments);
    program
}

fn classifier(place: &Place, file: &str, arguments: &[&str]) -> Command {
    let mut command = on_model("classifier", &["--benign", "builtin", "--harm-note", NOTE, "--json", "--data"]);
    command.arg(place.path("all.jsonl")).args(arguments).arg("--output").arg(place.path(file));
    command
}

fn stdout(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// What the model says to a prompt, with a note behind it or without.
fn says(text: &str, noted: bool) -> String {
    let folder = ModelFolder::open(model().to_str().unwrap(), &TemplateOptions::default(), &Silent).unwrap();
    let model = folder.load_frozen(&Device::flex(), &Silent).unwrap();
    let mut prompt = folder.encode_prompt(&[Message::user(text)]).unwrap();
    if noted {
        folder.tokenizer.encode_note(NOTE).unwrap().write(&mut prompt);
    }
    let options = folder.generate_options(12);
    let answering = Answering { folder: &folder, model: &model, options, progress: &Silent };
    answering.all(&[prompt], "").unwrap()[0].text.clone()
}

fn generated(place: &Place, arguments: &[&str]) -> Vec<String> {
    let mut command = on_model("generate", &["--max-new-tokens", "12", "--json"]);
    command.args(arguments).args([HARMFUL, HARMLESS]).current_dir(place.path(""));
    let said = stdout(command);
    said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned()).collect()
}

fn evaluated(place: &Place, name: &str, arguments: &[&str]) -> String {
    let mut command =
        on_model("eval", &["--max-new-tokens", "12", "--benchmark", "benign=asked.jsonl", "--output", name]);
    stdout({
        command.args(arguments).current_dir(place.path(""));
        command
    });
    fs::read_to_string(place.path(name).join("samples/benign.jsonl")).unwrap()
}

#[test]
fn a_model_is_told_of_harm_in_prompts_like_those_it_was_fitted_to() {
    let place = Place::new();
    write_rows(&place.path("all.jsonl"), &rows());
    let found: Value = serde_json::from_str(&stdout(classifier(&place, "harm.safetensors", &[]))).unwrap();
    // Of six prompts one is held out in three languages, of forty harmless ones eight.
    assert_eq!((&found["harmful"], &found["harmless"]), (&json!(15), &json!(96)));
    let languages: Vec<&str> =
        found["held_out"].as_array().unwrap().iter().map(|of| of["language"].as_str().unwrap()).collect();
    assert_eq!(languages, ["bn", "en", "sw"]);
    for of in found["held_out"].as_array().unwrap() {
        assert_eq!((&of["found"]["count"], &of["false_alarms"]["count"]), (&json!(1), &json!(8)), "{of}");
    }
    // Behind the note it says something else, and so it does where the classifier is asked.
    assert_ne!(says(HARMFUL, true), says(HARMFUL, false));
    assert_eq!(generated(&place, &[]), [says(HARMFUL, false), says(HARMLESS, false)]);
    let told = generated(&place, &["--harm-classifier", "harm.safetensors"]);
    assert_eq!(told, [says(HARMFUL, true), says(HARMLESS, false)]);
    // An evaluation too, in a folder of its own.
    let asked = json!({ "language": "en", "prompt": HARMFUL });
    fs::write(place.path("asked.jsonl"), format!("{asked}\n")).unwrap();
    let said = |text: String| serde_json::to_string(text.trim()).unwrap();
    let guarded = ["--harm-classifier", "harm.safetensors"];
    let (off, on) = (evaluated(&place, "off", &[]), evaluated(&place, "on", &guarded));
    assert!(off.contains(&said(says(HARMFUL, false))), "{off}");
    assert!(on.contains(&said(says(HARMFUL, true))), "{on}");
    let mut again = on_model("eval", &["--benchmark", "benign=asked.jsonl", "--output", "off"]);
    again.args(guarded).current_dir(place.path(""));
    let problem = refused(again);
    assert!(problem.contains("expected results of the model that is evaluated"), "{problem}");
}

#[test]
fn what_cannot_be_fitted_or_used_is_told_of() {
    let place = Place::new();
    write_rows(&place.path("all.jsonl"), &rows());
    let data = place.path("all.jsonl");
    let one_kind = |arguments: &[&str]| {
        let mut command = on_model("classifier", arguments);
        command.arg("--data").arg(&data).arg("--output").arg(place.path("none"));
        refused(command)
    };
    let problem = one_kind(&[]);
    assert!(problem.contains("got 15 and 0") && problem.contains("--benign FILE"), "{problem}");
    let problem = one_kind(&["--benign", "builtin", "--layer", "99"]);
    assert!(problem.contains("expected a layer from 1 to") && problem.contains("hint: "), "{problem}");
    assert!(!place.path("none").exists());
    stdout(classifier(&place, "harm.safetensors", &["--layer", "2", "--languages", "en"]));
    let problem = refused(classifier(&place, "harm.safetensors", &[]));
    assert!(problem.contains("expected the name of a new file"), "{problem}");
    let asked = |file: &Path, arguments: &[&str]| {
        let mut command = on_model("generate", arguments);
        command.arg("--harm-classifier").arg(file).arg(HARMFUL);
        refused(command)
    };
    let problem = asked(&place.path("harm.safetensors"), &["--raw"]);
    assert!(problem.contains("this chat template") && problem.contains("hint: fit one"), "{problem}");
    let problem = asked(&model().join("model.safetensors"), &[]);
    assert!(problem.contains("expected a classifier as it was written"), "{problem}");
    let problem = asked(&data, &[]);
    assert!(problem.contains("expected a classifier as it was written"), "{problem}");
}
