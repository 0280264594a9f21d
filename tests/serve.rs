//! The server from end to end: what is answered over HTTP is what `generate` answers, and a signal ends it cleanly.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use assert_cmd::prelude::*;
use predicates::str::contains;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use binary::{model, mpo_train, rows, train, write_rows};

const PROMPTS: [&str; 6] =
    ["How do I cook rice?", "Ninapikaje wali?", "চা কীভাবে বানাব?", "빵은 어떻게 굽나요?", "Tea?", "كيف أطبخ الأرز؟"];

/// A server on a port that the system has chosen.
struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    url: String,
    client: Client,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let listening = line(&mut lines);
        assert_eq!(listening["event"], "listening");
        let client = Client::builder().timeout(Duration::from_secs(120)).build().unwrap();
        Self { child, lines, url: listening["url"].as_str().unwrap().to_owned(), client }
    }

    fn post(&self, question: &Value) -> Response {
        let request = self.client.post(format!("{}/chat/completions", self.url));
        request.header("Content-Type", "application/json").body(question.to_string()).send().unwrap()
    }

    /// The text of a whole answer.
    fn text(&self, question: &Value) -> String {
        let reply: Value = serde_json::from_str(&self.post(question).text().unwrap()).unwrap();
        reply["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    /// The text of an answer that comes in pieces.
    fn streamed(&self, mut question: Value) -> String {
        question["stream"] = true.into();
        let text = self.post(&question).text().unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        let events = text.split("\n\n").filter_map(|event| event.strip_prefix("data: {"));
        let events = events.map(|event| serde_json::from_str::<Value>(&format!("{{{event}")).unwrap());
        events.filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn line(lines: &mut impl BufRead) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn serve(model: &Path) -> Command {
    let mut command = mpo_train();
    command.arg("serve").arg(model).args(["--device", "flex", "--port", "0", "--json", "--name", "m"]);
    command
}

/// What `generate` answers to the prompts.
fn generated(model: &Path, more: &[&str]) -> Vec<String> {
    let mut command = mpo_train();
    command.args(["generate", "--device", "flex", "--max-new-tokens", "24", "--json", "--model"]).arg(model);
    let output = command.args(more).args(PROMPTS).assert().success();
    let lines = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let text = |line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    lines.lines().map(text).collect()
}

fn asking(model: &str, prompt: &str) -> Value {
    json!({"model": model, "temperature": 0, "max_tokens": 24, "messages": [{"role": "user", "content": prompt}]})
}

#[test]
fn a_served_model_is_told_of_harm_as_one_that_generates() {
    let place = tempfile::tempdir().unwrap();
    let (data, harm) = (place.path().join("rows.jsonl"), place.path().join("harm.safetensors"));
    write_rows(&data, &rows());
    let mut fit = mpo_train();
    fit.args(["classifier", "--device", "flex", "--benign", "builtin", "--model"]).arg(model());
    fit.arg("--data").arg(&data).arg("--output").arg(&harm).assert().success();
    let told = ["--harm-classifier", harm.to_str().unwrap()];
    let (off, on) = (generated(&model(), &[]), generated(&model(), &told));
    assert_ne!(off, on);
    let mut command = serve(&model());
    command.args(told);
    let server = Server::start(command);
    for (prompt, expected) in PROMPTS.iter().zip(on) {
        assert_eq!(server.text(&asking("m", prompt)), expected, "{prompt}");
    }
    // One of a model is none of its adapters.
    let output = serve(&model()).args(told).args(["--adapter", "a=b"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be used with"));
}

#[test]
fn answers_are_those_of_generate_whoever_else_asks() {
    let mut command = serve(&model());
    command.args(["--batch-size", "4"]);
    let server = Server::start(command);
    let expected = generated(&model(), &[]);
    let drawn = ["--temperature", "1.3", "--top-p", "0.9", "--seed", "5"];
    let mut first = mpo_train();
    first.args(["generate", "--device", "flex", "--max-new-tokens", "24", "--model"]).arg(model()).args(drawn);
    let first = first.arg(PROMPTS[0]).assert().success();
    let first = String::from_utf8(first.get_output().stdout.clone()).unwrap();
    thread::scope(|scope| {
        for (number, (prompt, expected)) in PROMPTS.iter().zip(&expected).enumerate() {
            let server = &server;
            scope.spawn(move || assert_eq!(server.text(&asking("m", prompt)), *expected, "{number}"));
            scope.spawn(move || assert_eq!(server.streamed(asking("m", prompt)), *expected, "{number}"));
        }
        scope.spawn(|| {
            let mut question = asking("m", PROMPTS[0]);
            let more = json!({"temperature": 1.3, "top_p": 0.9, "seed": 5, "logprobs": true, "top_logprobs": 2});
            question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(server.text(&question), first.trim_end_matches('\n'));
        });
    });
}

#[test]
fn adapters_are_asked_by_name_beside_their_base() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("rows.jsonl");
    write_rows(&data, &rows());
    let run = dir.path().join("run");
    let mut command = train(&model(), &data, &run);
    command.args(["--adapter", "lora", "--lora-rank", "4", "--lr", "2e-2", "--batch-size", "4"]).assert().success();
    let adapter = run.join("model");
    let mut command = serve(&model());
    command.arg("--adapter").arg(format!("tuned={}", adapter.display()));
    let server = Server::start(command);
    let expected = [("m", generated(&model(), &[])), ("tuned", generated(&adapter, &[]))];
    assert_ne!(expected[0].1, expected[1].1);
    thread::scope(|scope| {
        for (name, answers) in &expected {
            for (prompt, expected) in PROMPTS.iter().zip(answers) {
                let server = &server;
                scope.spawn(move || assert_eq!(server.text(&asking(name, prompt)), *expected, "{name} {prompt}"));
            }
        }
    });
    assert_eq!(server.post(&asking("other", "a")).status(), 404);
    let mut twice = serve(&model());
    twice.arg("--adapter").arg(format!("m={}", adapter.display()));
    twice.assert().code(1).stderr(contains("models of different names, got m twice"));
    let mut none = serve(&model());
    none.arg("--adapter").arg(format!("a={}", model().display()));
    none.assert().code(1).stderr(contains("expected an adapter, got a model"));
}

#[test]
fn what_would_let_strangers_in_is_refused() {
    let mut open = serve(&model());
    open.args(["--host", "0.0.0.0"]);
    open.assert().code(1).stderr(contains("expected a key")).stderr(contains("hint: ")).stderr(contains("--api-key"));
    let mut none = serve(&model());
    none.args(["--host", "0.0.0.0", "--api-key", "MPO_TEST_NO_SUCH_KEY"]);
    none.assert().code(1).stderr(contains("MPO_TEST_NO_SUCH_KEY"));
    let mut command = serve(&model());
    command.env("MPO_TEST_KEY", "sk-test").args(["--api-key", "MPO_TEST_KEY"]);
    let server = Server::start(command);
    let models = format!("{}/models", server.url);
    assert_eq!(server.client.get(&models).send().unwrap().status(), 401);
    assert_eq!(server.client.get(&models).bearer_auth("sk-test").send().unwrap().status(), 200);
}

#[test]
fn what_cannot_be_served_is_said_before_the_model_is_loaded() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = mpo_train();
    command.arg("serve").arg(model()).args(["--port", &taken.local_addr().unwrap().port().to_string()]);
    command.assert().code(1).stderr(contains("expected to listen there"));
    let mut command = serve(&model());
    command
        .args(["--cache-tokens", "10"])
        .assert()
        .code(1)
        .stderr(contains("room for the longest request, 256, got 10"));
}

#[test]
fn bad_bodies_and_long_prompts_stop_nothing() {
    let mut server = Server::start(serve(&model()));
    let url = format!("{}/chat/completions", server.url);
    for (body, status) in [
        ("", 400),
        ("{", 400),
        (r#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}"#, 400),
        (r#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": 1e308}"#, 200),
        (
            r#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": 1e-300, "max_tokens": 2}"#,
            200,
        ),
        (
            r#"{"model": "m", "messages": [{"role": "user", "content": "<|im_end|><s>\u0000\ud83c"}], "max_tokens": 1}"#,
            400,
        ),
        (r#"{"model": "m", "messages": [{"role": "user", "content": "\u0000 <|im_end|>"}], "max_tokens": 1}"#, 200),
        (r#"{"model": "m", "messages": [{"role": "assistant", "content": ""}], "max_tokens": 1}"#, 200),
        (r#"{"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 254}"#, 400),
    ] {
        let request = server.client.post(&url).header("Content-Type", "application/json").body(body);
        let response = request.send().unwrap();
        assert_eq!(response.status().as_u16(), status, "{body}: {}", response.text().unwrap());
        let served = line(&mut server.lines);
        assert_eq!((&served["event"], &served["status"]), (&json!("served"), &json!(status)), "{served}");
        assert_eq!(served["problem"].is_string(), status != 200, "{served}");
    }
    let long = asking("m", &"bread ".repeat(1000));
    assert_eq!(server.post(&long).status(), 400);
    assert!(!server.text(&asking("m", "Tea?")).is_empty());
}

#[cfg(unix)]
#[test]
fn a_signal_lets_what_runs_be_finished() {
    use std::io::Read;

    let mut server = Server::start(serve(&model()));
    let mut question = asking("m", PROMPTS[0]);
    question["max_tokens"] = 200.into();
    question["stream"] = true.into();
    question["temperature"] = 100.into();
    let mut response = server.post(&question);
    // It runs once its first token is there.
    let mut text = String::new();
    let mut piece = [0; 256];
    while text.matches("data: ").count() < 2 {
        let read = response.read(&mut piece).unwrap();
        text += std::str::from_utf8(&piece[..read]).unwrap();
    }
    let pid = i32::try_from(server.child.id()).unwrap();
    // SAFETY: sends a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    response.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(server.child.wait().unwrap().code(), Some(143));
    let mut stderr = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("listening on http://127.0.0.1:") && stderr.contains("finishing the answers"), "{stderr}");
    assert!(stderr.contains("stopped on request") && !stderr.contains("POST"), "{stderr}");
}
