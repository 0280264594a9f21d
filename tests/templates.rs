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
fn a_system_message_that_the_template_leaves_out_is_no_secret() {
    let place = Place::new();
    let system = json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "Hello" }]);
    let data = place.pairs(&["Hello".into(), system]);
    let template = place.template(
        "{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}",
    );
    score(&data, &template).assert().code(1).stderr(
        contains("pairs.jsonl, line 2: the chat template leaves the system message out")
            .and(contains("--system-message merge"))
            .and(contains("--skip-bad-rows")),
    );
    let rows = |arguments: &[&str]| output(score(&data, &template).args(arguments))["reward_gap"][0]["rows"].clone();
    assert_eq!(rows(&["--skip-bad-rows"]), 1);
    assert_eq!(rows(&["--system-message", "merge"]), 2);
}

#[test]
fn thoughts_that_do_not_end_are_no_answer() {
    let place = Place::new();
    let questions = place.path("jail.csv");
    fs::write(&questions, "id,source,tags,en,sw\n0,me,[],How do I bake bread?,Ninapikaje mkate?\n").unwrap();
    let template = place.template(
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<think>\n' if enable_thinking is not defined }}{% endif %}",
    );
    let eval = |arguments: &[&str], output: &str| {
        let mut command = mpo_train();
        command.args(["eval", "--device", "flex", "--max-new-tokens", "4", "--model"]);
        command.arg(model()).arg("--template").arg(&template);
        command.arg("--benchmark").arg(format!("multijail={}", questions.display()));
        command.arg("--output").arg(place.path(output)).args(arguments);
        command.assert()
    };
    eval(&[], "thinking").code(1).stderr(
        contains("2 of 2 without a verdict")
            .and(contains("2: its thoughts do not come to an end: give more --max-new-tokens"))
            .and(contains("enable_thinking=false")),
    );
    eval(&["--template-arg", "enable_thinking=false"], "at-once").success().stderr(contains("thoughts").not());
}

#[test]
fn a_template_is_told_what_the_command_line_says() {
    let place = Place::new();
    let data = place.pairs(&["Hello".into()]);
    let template = place
        .template("{% for m in messages %}<|{{ m.role }}|>{{ m.content * (times or 1) }}{% endfor %}<|assistant|>");
    let longest =
        |arguments: &[&str]| output(score(&data, &template).args(arguments))["truncation"]["longest"].as_u64();
    assert!(longest(&["--template-arg", "times=9"]) > longest(&[]));
    score(&data, &template).args(["--template-arg", "messages=[]"]).assert().code(2).stderr(contains("NAME=VALUE"));
    score(&data, &template)
        .args(["--template-arg", "time=9"])
        .assert()
        .success()
        .stderr(contains("warning: the chat template does not read time").and(contains("it reads times")));
    // Whoever lets a model answer hears that it may think first.
    let template =
        place.template("{% for m in messages %}{{ m.content if enable_thinking else m.content }}{% endfor %}");
    let generate = |arguments: &[&str]| {
        let mut command = mpo_train();
        command.args(["generate", "--device", "flex", "--max-new-tokens", "1", "--model"]);
        command.arg(model()).arg("--template").arg(&template);
        command.args(arguments).arg("Hello").assert().success()
    };
    generate(&[]).stderr(contains("--template-arg enable_thinking=false"));
    generate(&["--template-arg", "enable_thinking=false"]).stderr(contains("enable_thinking").not());
}

#[test]
fn control_tokens_come_from_texts_only_where_that_is_asked_for() {
    let place = Place::new();
    let data = place.pairs(&["Hello <|end|><|assistant|> there".into()]);
    let longest = |arguments: &[&str]| {
        let mut command = mpo_train();
        command.args(["score", "--device", "flex", "--json", "--model"]);
        command.arg(model()).arg("--data").arg(&data).args(arguments);
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
        .args(["--template", "plain", "--max-steps", "1", "--eval-rows", "4", "--eval-data"])
        .arg(&data)
        .assert()
        .success();
    let saved = run.join("model");
    assert!(saved.join("chat_template.jinja").is_file());
    let config: Value = serde_json::from_slice(&fs::read(saved.join("tokenizer_config.json")).unwrap()).unwrap();
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
        ("a\n{{ 'x'.encode('utf-8') }}", "chat.jinja): line 2: unknown method: string has no method named encode"),
        ("{% for a in [1] %}{{ loop.cycle() }}{% endfor %}", "chat.jinja): the engine fails on it"),
        ("{{ '{:>2000000000}'.format('x') }}", "expected a width of at most"),
    ] {
        score(&data, &place.template(text)).assert().code(1).stderr(
            contains(expected).and(contains("hint: name a template with --template")).and(contains("panicked").not()),
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_memory_is_not_the_fault_of_the_template() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 400000 && exec \"$0\" \"$@\""]);
    command.arg(mpo_train().get_program());
    command.args(["generate", "--device", "flex", "--model"]);
    command.arg(model()).arg("Hello").assert().code(1).stderr(
        contains("expected to start a thread for the chat template, got:")
            .and(contains("allow the process more memory (`ulimit -v`")),
    );
}
