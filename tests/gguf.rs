//! The command line with GGUF: a model is converted, asked and trained on as its folder is.

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

use binary::{model, mpo_train, rows, train, write_rows};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        write_rows(&place.path("rows.jsonl"), &rows());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command whose cache is here.
    fn command(&self) -> Command {
        let mut command = mpo_train();
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    fn convert(&self, model: &Path, output: &str, more: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("convert").arg(model).args(["--to", "gguf", "--output"]).arg(self.path(output)).args(more);
        command
    }

    /// What a model answers to some prompts.
    fn answers(&self, model: &Path) -> String {
        let mut command = self.command();
        command.args(["generate", "--device", "flex", "--json", "--max-new-tokens", "24", "--model"]).arg(model);
        command.args(["How do I bake bread?", "Je, mkate huokwaje?", "How do I make poison?"]);
        let output = command.assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    }

    fn gaps(&self, model: &Path) -> Vec<f64> {
        let mut command = self.command();
        command.args(["score", "--device", "flex", "--json", "--model"]).arg(model);
        let output = command.arg("--data").arg(self.path("rows.jsonl")).assert().success();
        let value: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        let gaps = value["reward_gap"].get("before").unwrap_or(&value["reward_gap"]);
        gaps.as_array().unwrap().iter().map(|gap| gap["mean"].as_f64().unwrap()).collect()
    }
}

/// The miniature's model is stored in f16, so that nothing is rounded on the way.
#[test]
fn a_file_is_asked_and_scored_as_its_folder_is() {
    let place = Place::new();
    place.convert(&model(), "m.gguf", &[]).assert().success().stderr(contains("ollama create"));
    let file = place.path("m.gguf");
    assert_eq!(place.answers(&file), place.answers(&model()));
    assert_eq!(place.gaps(&file), place.gaps(&model()));
    // A folder with it is one too, and so is the folder that describes it.
    fs::create_dir(place.path("folder")).unwrap();
    fs::copy(&file, place.path("folder/m.gguf")).unwrap();
    assert_eq!(place.gaps(&place.path("folder")), place.gaps(&model()));
    fs::copy(&file, place.path("folder/n.gguf")).unwrap();
    let mut command = place.command();
    command.args(["generate", "x", "--model"]).arg(place.path("folder"));
    command.assert().failure().stderr(contains("expected one GGUF file, got m.gguf, n.gguf").and(contains("hint:")));
}

#[test]
fn eight_bits_say_about_the_same() {
    let place = Place::new();
    place.convert(&model(), "m.gguf", &["--dtype", "q8_0"]).assert().success();
    let (eight, sixteen) = (place.gaps(&place.path("m.gguf")), place.gaps(&model()));
    assert!(eight.iter().zip(&sixteen).all(|(a, b)| (a - b).abs() < 0.05), "{eight:?} {sixteen:?}");
    assert_ne!(eight, sixteen);
    let sizes = [place.path("m.gguf"), model().join("model.safetensors")].map(|path| fs::metadata(path).unwrap().len());
    assert!(sizes[0] < sizes[1] * 3 / 4, "{sizes:?}");
}

/// A file is a base to train on, and what is trained is converted again, an adapter merged into it.
#[test]
fn a_file_is_trained_on_and_an_adapter_is_merged_on_the_way_out() {
    let place = Place::new();
    place.convert(&model(), "base.gguf", &[]).assert().success();
    let steps = ["--lr", "1e-3", "--batch-size", "4", "--max-steps", "2"];
    let run = |name: &str, more: &[&str]| {
        let mut command = train(&place.path("base.gguf"), &place.path("rows.jsonl"), &place.path(name));
        command.env("XDG_CACHE_HOME", place.path("cache")).args(steps).args(more).assert().success();
        place.path(name).join("model")
    };
    let adapter = run("lora", &["--adapter", "lora", "--lora-rank", "4"]);
    let named: Value = serde_json::from_slice(&fs::read(adapter.join("adapter_config.json")).unwrap()).unwrap();
    let base = fs::canonicalize(place.path("base.gguf")).unwrap();
    assert_eq!(named["base_model_name_or_path"].as_str(), base.to_str());
    let whole = run("whole", &[]);
    assert!(whole.join("tokenizer.json").exists() && !whole.join("gguf.json").exists());

    let near = |one: Vec<f64>, other: Vec<f64>| {
        assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 2e-3), "{one:?} {other:?}");
    };
    for (folder, name) in [(&adapter, "adapter.gguf"), (&whole, "whole.gguf")] {
        place.convert(folder, name, &["--quiet"]).assert().success().stderr("");
        near(place.gaps(&place.path(name)), place.gaps(folder));
    }
    assert_ne!(place.gaps(&place.path("adapter.gguf")), place.gaps(&model()));
}

#[test]
fn the_modelfile_says_what_the_chat_template_says() {
    let place = Place::new();
    place.convert(&model(), "m.gguf", &[]).assert().success();
    let text = fs::read_to_string(place.path("m.Modelfile")).unwrap();
    let expected = "FROM ./m.gguf\n\
        PARAMETER stop \"<|end|>\"\n\
        TEMPLATE \"\"\"{{ if .System }}<|system|>{{ .System }}{{ end }}{{ range .Messages }}\
        {{ if eq .Role \"user\" }}<|user|>{{ .Content }}{{ else if eq .Role \
        \"assistant\" }}<|assistant|>{{ .Content }}<|end|>{{ end }}{{ end }}<|assistant|>\"\"\"\n";
    assert_eq!(text, expected);
}

#[test]
fn nothing_is_replaced() {
    let place = Place::new();
    for name in ["m.gguf", "m.Modelfile"] {
        fs::write(place.path(name), "mine").unwrap();
        place.convert(&model(), "m.gguf", &[]).assert().failure().stderr(contains("one that is there"));
        assert_eq!(fs::read_to_string(place.path(name)).unwrap(), "mine");
        fs::remove_file(place.path(name)).unwrap();
    }
}

#[test]
fn a_damaged_file_is_named() {
    let place = Place::new();
    place.convert(&model(), "m.gguf", &[]).assert().success();
    let whole = fs::read(place.path("m.gguf")).unwrap();
    for (length, expected) in [
        (0, "got an empty file"),
        (10, "a.gguf: expected"),
        (whole.len() / 2, "bytes of data that there are, got more"),
    ] {
        fs::write(place.path("a.gguf"), &whole[..length]).unwrap();
        let mut command = place.command();
        command.args(["generate", "--device", "flex", "x", "--model"]).arg(place.path("a.gguf"));
        command.assert().failure().stderr(contains(expected).and(contains("hint:")));
    }
}
