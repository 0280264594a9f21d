//! The server over HTTP, with a parrot in place of a model.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mpo_progress::{Progress, Silent, Stage};
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use crate::testing::{Echo, Parrot};
use crate::{Limits, ServeError, Served, ServerKey, serve};

struct Stop(Arc<AtomicBool>);

impl Progress for Stop {
    fn note(&self, _text: &dyn std::fmt::Display) {}

    fn begin(&self, what: &str, length: Option<usize>) -> Box<dyn Stage + '_> {
        Silent.begin(what, length)
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    served: Arc<Mutex<Vec<Served>>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    client: Client,
}

fn limits() -> Limits {
    Limits { body_bytes: 2000, prompt_tokens: 50, new_tokens: 60, waiting: 3, time: Duration::from_secs(20) }
}

impl Server {
    fn start(pause: Duration, limits: Limits, key: Option<ServerKey>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, served): (Arc<AtomicBool>, Arc<Mutex<Vec<_>>>) = Default::default();
        let (stops, all) = (Stop(Arc::clone(&stop)), Arc::clone(&served));
        let thread = thread::spawn(move || {
            let generator = Box::new(Parrot::new(pause));
            let voices =
                vec![("parrot".to_owned(), Arc::new(Echo) as _), ("other/parrot".to_owned(), Arc::new(Echo) as _)];
            let mut on_served = |one: &Served| all.lock().unwrap().push(one.clone());
            serve(listener, voices, generator, limits, key, &stops, &mut on_served)
        });
        let client = Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Self { address, stop, served, thread: Some(thread), client }
    }

    fn fast() -> Self {
        Self::start(Duration::ZERO, limits(), None)
    }

    fn slow() -> Self {
        Self::start(Duration::from_millis(50), limits(), None)
    }

    fn post(&self, path: &str, body: impl Into<reqwest::blocking::Body>) -> Response {
        let request = self.client.post(format!("http://{}{path}", self.address));
        request.header("Content-Type", "application/json").body(body).send().unwrap()
    }

    fn chat(&self, body: &Value) -> Response {
        self.post("/v1/chat/completions", body.to_string())
    }

    fn get(&self, path: &str) -> Response {
        self.client.get(format!("http://{}{path}", self.address)).send().unwrap()
    }

    /// A connection on which a question has been asked that takes seconds.
    fn ask_and_go_on(&self, streams: bool) -> TcpStream {
        let mut question = asking(&"a".repeat(40));
        question["stream"] = streams.into();
        let body = question.to_string();
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: \
             {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        stream
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&[Served]) -> bool) {
        let began = Instant::now();
        while !is_so(&self.served.lock().unwrap()) {
            assert!(began.elapsed() < Duration::from_secs(30), "{what}: {:?}", self.served.lock().unwrap());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

fn asking(text: &str) -> Value {
    json!({"model": "parrot", "temperature": 0, "messages": [{"role": "user", "content": text}]})
}

fn with(mut question: Value, more: Value) -> Value {
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    question
}

fn json_of(response: Response) -> Value {
    serde_json::from_str(&response.text().unwrap()).unwrap()
}

/// The events of a stream, and whether it says that it is done.
fn events(response: Response) -> (Vec<Value>, bool) {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().unwrap();
    let mut data: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    let done = data.pop_if(|last| *last == "[DONE]").is_some();
    (data.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect(), done)
}

#[track_caller]
fn refused(response: Response, status: u16, message: &str) -> Value {
    let got = response.status();
    let body = json_of(response);
    assert_eq!(got, status, "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains(message), "{body} {message}");
    assert!(body["error"]["type"].is_string() && body["error"].get("param").is_some(), "{body}");
    body
}

#[test]
fn a_whole_answer() {
    let server = Server::fast();
    let reply = json_of(server.chat(&asking("Habari?".trim_end_matches('?'))));
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["model"], "parrot");
    let choice = &reply["choices"][0];
    assert_eq!(choice["message"], json!({"role": "assistant", "content": "Habari", "refusal": null}));
    assert_eq!((&choice["finish_reason"], &choice["logprobs"]), (&json!("stop"), &Value::Null));
    assert_eq!(reply["usage"], json!({"prompt_tokens": 6, "completion_tokens": 6, "total_tokens": 12}));
    let cut = json_of(server.chat(&with(asking("Habari"), json!({"max_tokens": 3}))));
    assert_eq!(cut["choices"][0]["message"]["content"], "Hab");
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    let both = json!({"max_tokens": 5, "max_completion_tokens": 2});
    assert_eq!(json_of(server.chat(&with(asking("Habari"), both)))["choices"][0]["message"]["content"], "Ha");
    for stop in [json!("ri"), json!(["x", "ri"])] {
        let stopped = json_of(server.chat(&with(asking("Habari"), json!({"stop": stop}))));
        assert_eq!(stopped["choices"][0]["message"]["content"], "Haba");
        assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    }
    let parts = json!({"messages": [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]});
    assert_eq!(json_of(server.chat(&with(asking(""), parts)))["choices"][0]["message"]["content"], "ab");
    server.wait_until("accounts", |served| served.len() == 6);
    let served = server.served.lock().unwrap();
    assert!(served.iter().all(|one| one.status == Some(200) && one.problem.is_none()), "{served:?}");
    assert_eq!((served[0].prompt_tokens, served[0].completion_tokens), (6, 6));
}

#[test]
fn a_stream_says_the_same_piece_by_piece() {
    let server = Server::fast();
    let question = with(asking("Habari"), json!({"stream": true, "stream_options": {"include_usage": true}}));
    let (events, done) = events(server.chat(&question));
    assert!(done);
    let (usage, events) = events.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["total_tokens"], 12);
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk" && event["usage"].is_null()));
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "Habari");
    assert_eq!(events.len(), 8);
    let last = &events[7]["choices"][0];
    assert_eq!((&last["delta"], &last["finish_reason"]), (&json!({}), &json!("stop")));
    let (plain, done) = self::events(server.chat(&with(asking("ab"), json!({"stream": true, "stop": "b"}))));
    assert!(done && plain.iter().all(|event| event.get("usage").is_none()));
    assert_eq!(plain.len(), 3);
}

#[test]
fn log_probabilities_whole_and_in_pieces() {
    let server = Server::fast();
    let question = with(asking("あb"), json!({"logprobs": true, "top_logprobs": 2}));
    let reply = json_of(server.chat(&question));
    let content = &reply["choices"][0]["logprobs"]["content"];
    let top = json!([
        {"token": "あ", "logprob": -0.5, "bytes": [0xE3, 0x81, 0x82]},
        {"token": "x", "logprob": -1.5, "bytes": [0x78]},
    ]);
    let first = json!({"token": "あ", "logprob": -0.5, "bytes": [0xE3, 0x81, 0x82], "top_logprobs": top});
    assert_eq!(content[0], first);
    assert_eq!(content.as_array().unwrap().len(), 2);
    let (events, _) = events(server.chat(&with(question, json!({"stream": true}))));
    assert_eq!(events[1]["choices"][0]["logprobs"]["content"], json!([first]));
    let none = json_of(server.chat(&with(asking("a"), json!({"logprobs": true}))));
    assert_eq!(none["choices"][0]["logprobs"]["content"][0]["top_logprobs"], json!([]));
}

#[test]
fn plain_completions() {
    let server = Server::fast();
    let question = json!({"model": "other/parrot", "prompt": ["abcdefghijklmnopqrstuvwxyz"], "temperature": 0});
    let reply = json_of(server.post("/v1/completions", question.to_string()));
    assert_eq!(reply["object"], "text_completion");
    assert_eq!(reply["choices"][0]["text"], "abcdefghijklmnop");
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    let question = with(question, json!({"stream": true, "max_tokens": 2}));
    let (events, done) = events(server.post("/v1/completions", question.to_string()));
    let texts: Vec<&str> = events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!((&*texts, done), (&["a", "b", ""][..], true));
}

#[test]
fn models_and_health() {
    let server = Server::fast();
    let models = json_of(server.get("/v1/models"));
    assert_eq!(models["object"], "list");
    let names: Vec<&Value> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(names, ["parrot", "other/parrot"]);
    assert_eq!(json_of(server.get("/v1/models/other/parrot"))["id"], "other/parrot");
    refused(server.get("/v1/models/none"), 404, "parrot");
    assert_eq!(json_of(server.get("/health")), json!({"status": "ok"}));
    let unknown = refused(server.chat(&with(asking("a"), json!({"model": "gpt"}))), 404, "parrot, other/parrot");
    assert_eq!(unknown["error"]["code"], "model_not_found");
    refused(server.get("/v2"), 404, "/v1/chat/completions");
    refused(server.get("/v1/chat/completions"), 405, "POST");
}

#[test]
fn bad_requests_are_refused_by_what_is_wrong_with_them() {
    let server = Server::fast();
    let message = |message: Value| json!({"messages": [message]});
    for (more, status, expected) in [
        (json!({"messages": []}), 400, "messages: expected a list of at least one message"),
        (json!({"messages": "hi"}), 400, "messages: expected a list"),
        (json!({"messages": null}), 400, "messages: expected a value, got none"),
        (message(json!("hi")), 400, "messages[0]: expected an object"),
        (message(json!({"role": "tool", "content": "a"})), 400, "messages[0].role: expected system, developer, user"),
        (message(json!({"role": 1, "content": "a"})), 400, "messages[0].role"),
        (message(json!({"role": "user"})), 400, "messages[0].content: expected a string"),
        (message(json!({"role": "user", "content": [{"type": "image_url"}]})), 400, "messages[0].content"),
        // What the chat template refuses.
        (message(json!({"role": "user", "content": ""})), 400, "nothing to say again"),
        (json!({"model": 1}), 400, "model: expected a string, got 1"),
        (json!({"model": null}), 400, "model: expected a value"),
        (json!({"temperature": "hot"}), 400, "temperature: expected a number"),
        (json!({"temperature": -1}), 400, "temperature: expected a number of at least 0, got -1"),
        (json!({"temperature": 0, "top_p": 0}), 400, "top_p: expected a number above 0 and up to 1"),
        (json!({"top_p": 2}), 400, "top_p: expected a number above 0 and up to 1"),
        (json!({"max_tokens": 0}), 400, "max_tokens: expected a whole number from 1 to 60, got 0"),
        (json!({"max_tokens": 61}), 400, "from 1 to 60, got 61"),
        (json!({"max_tokens": 1e300}), 400, "max_tokens"),
        (json!({"max_tokens": u64::MAX}), 400, "max_tokens"),
        (json!({"max_completion_tokens": 1.5}), 400, "max_completion_tokens"),
        (json!({"seed": 1e30}), 400, "seed"),
        (json!({"stop": [""]}), 400, "stop: expected a string"),
        (json!({"stop": [1]}), 400, "stop"),
        (json!({"stop": vec!["a"; 17]}), 400, "stop"),
        (json!({"stream": "yes"}), 400, "stream: expected true or false"),
        (json!({"stream_options": 1}), 400, "stream_options"),
        (json!({"stream_options": {"include_usage": 1}}), 400, "stream_options.include_usage"),
        (json!({"logprobs": 2}), 400, "logprobs"),
        (json!({"top_logprobs": 2}), 400, "top_logprobs: expected logprobs"),
        (json!({"logprobs": true, "top_logprobs": 21}), 400, "top_logprobs"),
        (json!({"n": 2}), 400, "n: expected none"),
        (json!({"tools": [{}]}), 400, "tools"),
        (json!({"response_format": {"type": "json_object"}}), 400, "response_format"),
        (json!({"frequency_penalty": 0.5}), 400, "frequency_penalty"),
        (json!({"presence_penalty": 0.5}), 400, "presence_penalty: expected none"),
        (json!({"logit_bias": {"50256": -100}}), 400, "logit_bias: expected none"),
        (json!({"repetition_penalty": 1.1}), 400, "repetition_penalty: expected none"),
        (json!({"min_p": 0.1}), 400, "min_p: expected none"),
        (json!({"guided_json": {"type": "object"}}), 400, "guided_json: expected none"),
        (json!({"chat_template_kwargs": {"enable_thinking": false}}), 400, "chat_template_kwargs: expected none"),
        (json!({"reasoning_effort": "low"}), 400, "reasoning_effort: expected none"),
        (json!({"tool_choice": "required"}), 400, "tool_choice: expected none"),
        (message(json!({"role": "user", "content": "a".repeat(51)})), 400, "at most 50 tokens, got 51"),
        (message(json!({"role": "user", "content": "a".repeat(3000)})), 413, "at most 2000 bytes"),
    ] {
        refused(server.chat(&with(asking("a"), more)), status, expected);
    }
    // The prompt would fit, so it is not to blame.
    for name in ["max_tokens", "max_completion_tokens"] {
        let long = with(asking(&"a".repeat(45)), json!({name: 56}));
        let error = refused(server.chat(&long), 400, "at most 100 tokens together")["error"].take();
        assert_eq!((&error["code"], &error["param"]), (&"context_length_exceeded".into(), &name.into()));
    }
    let prompt = with(asking("a"), message(json!({"role": "user", "content": "a".repeat(51)})));
    assert_eq!(refused(server.chat(&prompt), 400, "at most 50 tokens")["error"]["param"], "messages");
    // What changes nothing, and what nobody knows.
    let idle = json!({
        "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "repetition_penalty": 1.0, "min_p": 0, "n": 1,
        "tools": [], "tool_choice": "auto", "ignore_eos": false, "stop_token_ids": [], "guided_json": null,
        "user": "me", "metadata": {"a": "b"}, "store": false, "something_else": 1,
    });
    let [plain, idle] = [json!({}), idle].map(|more| json_of(server.chat(&with(asking("Habari"), more))));
    assert_eq!(plain["choices"], idle["choices"]);
    for body in
        ["", "{", "[]", "1", "nothing", r#"{"temperature": NaN}"#, r#"{"temperature": 1e999}"#, "{\"a\": \"\u{1}\"}"]
    {
        refused(server.post("/v1/chat/completions", body), 400, "expected a body with an object in JSON");
    }
    refused(server.post("/v1/chat/completions", vec![0xFF; 10]), 400, "JSON");
    refused(server.post("/v1/chat/completions", "[".repeat(1900)), 400, "JSON");
    let completion = |more: Value| {
        let question = with(json!({"model": "parrot", "prompt": "a"}), more);
        server.post("/v1/completions", question.to_string())
    };
    refused(completion(json!({"prompt": ["a", "b"]})), 400, "prompt: expected one string");
    refused(completion(json!({"prompt": [1, 2]})), 400, "prompt");
    refused(completion(json!({"echo": true})), 400, "echo");
    refused(completion(json!({"logprobs": 1})), 400, "logprobs");
    // What asks for nothing else than is done is no reason to refuse.
    let idle = json!({"n": 1, "tools": [], "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "user": "me",
        "response_format": {"type": "text"}, "stop": null, "top_logprobs": null, "seed": -1});
    assert_eq!(server.chat(&with(asking("a"), idle)).status(), StatusCode::OK);
}

#[test]
fn requests_need_the_key_where_there_is_one() {
    let server = Server::start(Duration::ZERO, limits(), Some(ServerKey::new("sk-1")));
    let ask = |key: Option<&str>| {
        let request = server.client.get(format!("http://{}/v1/models", server.address)).header("Host", "example.com");
        key.into_iter().fold(request, |request, key| request.bearer_auth(key)).send().unwrap()
    };
    let wrong = refused(ask(None), 401, "Authorization: Bearer");
    assert_eq!(wrong["error"]["code"], "invalid_api_key");
    refused(ask(Some("sk-2")), 401, "Authorization: Bearer");
    assert_eq!(ask(Some("sk-1")).status(), StatusCode::OK);
    refused(server.chat(&asking("a")), 401, "Authorization: Bearer");
    assert_eq!(server.get("/health").status(), StatusCode::OK);
}

#[test]
fn pages_of_other_hosts_cannot_ask_without_a_key() {
    let server = Server::fast();
    let url = format!("http://{}/v1/chat/completions", server.address);
    let body = asking("a").to_string();
    let elsewhere = server.client.post(&url).header("Host", "example.com").header("Content-Type", "application/json");
    refused(elsewhere.body(body.clone()).send().unwrap(), 403, "Host");
    let form = server.client.post(&url).header("Content-Type", "text/plain").body(body);
    refused(form.send().unwrap(), 415, "Content-Type: application/json");
}

#[test]
fn a_panic_of_the_model_fails_what_runs_and_nothing_else() {
    let server = Server::slow();
    let other = thread::scope(|scope| {
        let other = scope.spawn(|| server.chat(&asking(&"a".repeat(40))));
        thread::sleep(Duration::from_millis(300));
        refused(server.chat(&asking("a!")), 500, "the model failed: an exclamation mark");
        other.join().unwrap()
    });
    refused(other, 500, "the model failed");
    refused(server.chat(&asking("a?")), 500, "expected finite logits, got NaN");
    let (failed, done) = events(server.chat(&with(asking("ab!"), json!({"stream": true}))));
    assert!(!done);
    assert!(failed.last().unwrap()["error"]["message"].as_str().unwrap().contains("the model failed"));
    assert_eq!(json_of(server.chat(&asking("ab")))["choices"][0]["message"]["content"], "ab");
}

#[test]
fn a_thread_that_generates_no_more_ends_the_server_and_no_client_waits() {
    let mut server = Server::slow();
    thread::scope(|scope| {
        let asked = ["aaaaa#", "aaaaaaaaaaaa", "aaaaaaaaaaaaa"].map(|text| {
            let asked = scope.spawn(|| server.chat(&asking(text)));
            thread::sleep(Duration::from_millis(20));
            asked
        });
        // Two that run and one that waits.
        asked.into_iter().for_each(|asked| _ = refused(asked.join().unwrap(), 500, ""));
    });
    let ended = server.thread.take().unwrap().join().unwrap();
    assert!(matches!(ended, Err(ServeError::WorkerEnded)));
}

#[test]
fn clients_that_go_away_free_their_places() {
    let server = Server::slow();
    for streams in [false, true] {
        let before = server.served.lock().unwrap().len();
        // Two are answered and three wait, which is all that may.
        let connections: Vec<TcpStream> = (0..5)
            .map(|number| {
                let connection = server.ask_and_go_on(streams);
                thread::sleep(Duration::from_millis(if number == 1 { 300 } else { 20 }));
                connection
            })
            .collect();
        let full = server.chat(&asking("a"));
        assert_eq!(full.headers()["retry-after"], "1");
        assert_eq!(refused(full, 429, "3 requests are waiting already")["error"]["type"], "rate_limit_error");
        drop(connections);
        let began = Instant::now();
        server.wait_until("gone", |served| served.len() == before + 6);
        // That they are gone is noticed with the next step.
        let mut reply = server.chat(&asking("ab"));
        while reply.status() == StatusCode::TOO_MANY_REQUESTS && began.elapsed() < Duration::from_secs(1) {
            reply = server.chat(&asking("ab"));
        }
        assert_eq!(json_of(reply)["choices"][0]["message"]["content"], "ab");
        let left = |one: &Served| match one.status {
            None => !streams,
            Some(200) => streams && one.problem.as_deref() == Some("the client has left"),
            Some(status) => status == 429,
        };
        assert_eq!(server.served.lock().unwrap()[before..before + 6].iter().filter(|one| left(one)).count(), 6);
        // The five would have taken six seconds.
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[test]
fn a_request_has_its_time() {
    let limits = Limits { time: Duration::from_secs(1), ..limits() };
    let server = Server::start(Duration::from_millis(100), limits, None);
    let question = asking(&"a".repeat(40));
    let late = refused(server.chat(&question), 504, "longer than the 1 seconds");
    assert_eq!(late["error"]["code"], "timeout");
    let (late, done) = events(server.chat(&with(question, json!({"stream": true}))));
    assert!(!done && late.len() > 3);
    assert_eq!(late.last().unwrap()["error"]["code"], "timeout");
    // A body that does not come.
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
        .unwrap();
    let mut reply = String::new();
    slow.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 504"), "{reply}");
}

#[test]
fn a_stop_finishes_what_runs_and_refuses_what_waits() {
    let server = Server::slow();
    let replies: Vec<(StatusCode, Value)> = thread::scope(|scope| {
        let ask = || {
            let response = server.chat(&asking(&"a".repeat(20)));
            (response.status(), json_of(response))
        };
        let asked: Vec<_> = (0..3)
            .map(|_| {
                let asked = scope.spawn(ask);
                thread::sleep(Duration::from_millis(100));
                asked
            })
            .collect();
        server.stop.store(true, Ordering::Relaxed);
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let statuses: Vec<u16> = replies.iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 503]);
    assert_eq!(replies[0].1["choices"][0]["message"]["content"], "a".repeat(20));
    assert_eq!(replies[2].1["error"]["code"], "shutting_down");
    assert!(TcpStream::connect(server.address).is_err());
}
