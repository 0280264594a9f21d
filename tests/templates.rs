//! Chat templates from end to end: rows that one refuses, what it is told, and what a saved model keeps of it.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::{Value, json};
use tempfile::TempDir;

use binary::{model, mpo_train, rows, train, write_rows};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of pairs with these prompts.
    fn pairs(&self, prompts: &[Value]) -> PathBuf {
        let rows: Vec<Value> = prompts
            .iter()
            .map(|prompt| {
                json!({ "language": "en", "prompt": prompt, "chosen": "Boil water.", "rejected": "I cannot help." })
            })
            .collect();
        let path = self.path("pairs.jsonl");
        write_rows(&path, &rows);
        path
    }

    fn template(&self, text: &str) -> PathBuf {
        let path = self.path("chat.jinja");
        fs::write(&path, text).unwrap();
        path
    }
}

fn score(data: &Path, template: &Path) -> Command {
    let mut command = mpo_train();
    command.args(["score", "--device", "flex", "--json", "--model"]);
    command.arg(model()).arg("--data").arg(data);
    command.arg("--template").arg(template);
    command
}

fn output(command: &mut Command) -> Value {
    serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap()
}

#[test]
fn a_row_that_the_template_refuses_is_named_and_can_be_merged_or_left_out() {
    let place = Place::new();
    let system = json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "Hello" }]);
    let data = place.pairs(&["Hello".into(), system, "Hello again".into()]);
    let template = place.template(
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no \u{1b}[2J system role') }}{% endif %}\
         <|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>",
    );
    score(&data, &template).assert().code(1).stderr(
        contains("pairs.jsonl, line 2: the chat template refuses the system message: no \\u{1b}[2J system role")
            .and(contains("--system-message merge"))
            .and(contains("--skip-bad-rows"))
            .and(contains('\u{1b}').not()),
    );
    let skipped = output(score(&data, &template).arg("--skip-bad-rows"));
    assert_eq!(skipped["reward_gap"][0]["rows"], 2);
    assert_eq!(skipped["truncation"]["dropped"][0]["origin"]["line"], 2);
    let merged = output(score(&data, &template).args(["--system-message", "merge"]));
    assert_eq!(merged["reward_gap"][0]["rows"], 3);
    let longest = merged["truncation"]["longest"].as_u64();
    assert!(longest > skipped["truncation"]["longest"].as_u64());
}

#[test]
fn a_template_is_told_what_the_command_line_says() {
    let place = Place::new();
    let data = place.pairs(&["Hello".into()]);
    let template = place.template(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content * (times or 1) }}{% endfor %}<|assistant|>",
    );
    let longest = |arguments: &[&str]| {
        output(score(&data, &template).args(arguments))["truncation"]["longest"].as_u64()
    };
    assert!(longest(&["--template-arg", "times=9"]) > longest(&[]));
    score(&data, &template)
        .args(["--template-arg", "messages=[]"])
        .assert()
        .code(2)
        .stderr(contains("NAME=VALUE"));
    // Whoever lets a model answer hears that it may think first.
    let template = place.template(
        "{% for m in messages %}{{ m.content if enable_thinking else m.content }}{% endfor %}",
    );
    let generate = |arguments: &[&str]| {
        let mut command = mpo_train();
        command.args([
            "generate",
            "--device",
            "flex",
            "--max-new-tokens",
            "1",
            "--model",
        ]);
        command.arg(model()).arg("--template").arg(&template);
        command.args(arguments).arg("Hello").assert().success()
    };
    generate(&[]).stderr(contains("--template-arg enable_thinking=false"));
    generate(&["--template-arg", "enable_thinking=false"])
        .stderr(contains("enable_thinking").not());
}

#[test]
fn control_tokens_come_from_texts_only_where_that_is_asked_for() {
    let place = Place::new();
    let data = place.pairs(&["Hello <|end|><|assistant|> there".into()]);
    let longest = |arguments: &[&str]| {
        let mut command = mpo_train();
        command.args(["score", "--device", "flex", "--json", "--model"]);
        command
            .arg(model())
            .arg("--data")
            .arg(&data)
            .args(arguments);
        output(&mut command)["truncation"]["longest"].as_u64()
    };
    assert!(longest(&[]) > longest(&["--special-tokens-in-text"]));
}

#[test]
fn the_template_that_a_model_was_trained_with_is_saved_with_it() {
    let place = Place::new();
    let data = place.path("rows.jsonl");
    write_rows(&data, &rows());
    let run = place.path("run");
    train(&model(), &data, &run)
        .args([
            "--template",
            "plain",
            "--max-steps",
            "1",
            "--eval-rows",
            "4",
            "--eval-data",
        ])
        .arg(&data)
        .assert()
        .success();
    let saved = run.join("model");
    assert!(saved.join("chat_template.jinja").is_file());
    let config: Value =
        serde_json::from_slice(&fs::read(saved.join("tokenizer_config.json")).unwrap()).unwrap();
    assert!(config.get("chat_template").is_none());
    // It is asked as it was trained, without being told how.
    let gaps = |arguments: &[&str]| {
        let mut command = mpo_train();
        command.args(["score", "--device", "flex", "--json", "--model"]);
        command.arg(&saved).arg("--data").arg(&data).args(arguments);
        output(&mut command)["reward_gap"].clone()
    };
    assert_eq!(gaps(&[]), gaps(&["--template", "plain"]));
}

#[test]
fn a_template_that_cannot_be_used_is_told_by_file_and_line() {
    let place = Place::new();
    let data = place.pairs(&["Hello".into()]);
    for (text, expected) in [
        (
            "a\n{{ 'x'.encode('utf-8') }}",
            "chat.jinja): line 2: unknown method: string has no method named encode",
        ),
        (
            "{% for a in [1] %}{{ loop.cycle() }}{% endfor %}",
            "chat.jinja): the engine fails on it",
        ),
        (
            "{{ '{:>2000000000}'.format('x') }}",
            "expected a width of at most",
        ),
    ] {
        score(&data, &place.template(text)).assert().code(1).stderr(
            contains(expected)
                .and(contains("hint: name a template with --template"))
                .and(contains("panicked").not()),
        );
    }
}
