//! The client of chat endpoints against a server that fails in every way: nothing is lost, nothing is counted twice.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use mpo_chat::{ApiKey, CachedChat, ChatError, ChatModel, Endpoint, EndpointOptions, Listener, Reply, Usage};
use mpo_data::Message;
use mpo_eval::{ChatJudge, Exchange, Judge, Verdict};
use mpo_progress::Silent;
use serde_json::{Value, json};

/// What the server does with a request.
#[derive(Clone)]
enum Deed {
    /// Answers with what was asked.
    Echo,
    /// This status, with these headers and this body.
    Status(u16, &'static str, &'static str),
    /// Status 200 with this body.
    Body(&'static str),
    /// Status 200 with these bytes, which may be no text.
    Bytes(&'static [u8]),
    /// A body without end, as fast as it is read.
    Endless,
    /// A body without end, a byte now and then.
    Drip,
    /// Promises more than it sends.
    CutOff,
    /// Sleeps past every patience.
    Slow,
}

/// A server on loopback that does to the n-th request for a text what `deeds` says.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    starts: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    fn new(deeds: impl Fn(&str, usize) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}/v1", listener.local_addr().unwrap()),
            requests: Arc::default(),
            at_once: Arc::default(),
            starts: Arc::default(),
        };
        let (requests, at_once, starts) = (server.requests.clone(), server.at_once.clone(), server.starts.clone());
        let deeds = Arc::new(deeds);
        let counts: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let now: Arc<AtomicUsize> = Arc::default();
        spawn(move || {
            for stream in listener.incoming() {
                let (deeds, counts, requests, at_once, now, starts) =
                    (deeds.clone(), counts.clone(), requests.clone(), at_once.clone(), now.clone(), starts.clone());
                spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(text) = request(&stream) else { return };
                    starts.lock().unwrap().push(Instant::now());
                    requests.fetch_add(1, Ordering::SeqCst);
                    at_once.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let count = {
                        let mut counts = counts.lock().unwrap();
                        let count = counts.entry(text.clone()).or_default();
                        *count += 1;
                        *count
                    };
                    sleep(Duration::from_millis(20));
                    let deed = deeds(&text, count);
                    // No longer at work before the client can know of it.
                    now.fetch_sub(1, Ordering::SeqCst);
                    act(&mut stream, &text, &deed);
                });
            }
        });
        server
    }

    fn options(&self) -> EndpointOptions {
        EndpointOptions {
            timeout: Duration::from_secs(3),
            first_wait: Duration::from_millis(5),
            concurrency: 3,
            ..EndpointOptions::new(self.url.clone(), "judge")
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// The last message of a request, if the request is as it should be.
fn request(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    assert_eq!((&body["model"], &body["temperature"]), (&json!("judge"), &json!(0.0)));
    Some(body["messages"].as_array()?.last()?["content"].as_str()?.to_owned())
}

fn act(stream: &mut TcpStream, text: &str, deed: &Deed) {
    let whole = |status: u16, headers: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = json!({
        "choices": [{"message": {"role": "assistant", "content": format!("echo {text}")}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    })
    .to_string();
    let sent = match deed {
        Deed::Echo => whole(200, "", &answer),
        Deed::Status(status, headers, body) => whole(*status, headers, body),
        Deed::Body(body) => whole(200, "", body),
        Deed::Bytes(bytes) => {
            let head = "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n";
            _ = stream.write_all(&[head.as_bytes(), bytes].concat());
            return;
        }
        Deed::Endless | Deed::Drip => {
            let (piece, pause) = match deed {
                Deed::Drip => (vec![b' '; 1], Duration::from_millis(50)),
                _ => (vec![b' '; 1 << 16], Duration::ZERO),
            };
            _ = stream.write_all(b"HTTP/1.1 200 X\r\n\r\n");
            while stream.write_all(&piece).is_ok() {
                sleep(pause);
            }
            return;
        }
        Deed::CutOff => whole(200, "", &answer)[..200].to_owned(),
        Deed::Slow => {
            sleep(Duration::from_secs(5));
            String::new()
        }
    };
    _ = stream.write_all(sent.as_bytes());
}

/// Replies by number, and how often each came.
#[derive(Default)]
struct Replies {
    of: BTreeMap<usize, Vec<Reply>>,
    stop_after: Option<usize>,
}

impl Listener for Replies {
    fn reply(&mut self, number: usize, reply: &Reply) {
        self.of.entry(number).or_default().push(reply.clone());
    }

    fn is_stopped(&self) -> bool {
        self.stop_after.is_some_and(|limit| self.of.len() >= limit)
    }
}

fn ask(model: &mut impl ChatModel, texts: &[&str]) -> (Result<(), ChatError>, BTreeMap<usize, Vec<Reply>>) {
    let conversations: Vec<_> = texts.iter().map(|text| vec![Message::user(*text)]).collect();
    let mut replies = Replies::default();
    let result = model.answer(&conversations, &mut replies);
    (result, replies.of)
}

fn texts(of: &BTreeMap<usize, Vec<Reply>>) -> Vec<Option<&str>> {
    assert!(of.values().all(|replies| replies.len() == 1), "{of:?}");
    of.values().map(|replies| replies[0].text()).collect()
}

/// Why there is no answer to one question.
fn reason(replies: &[Reply]) -> Option<&str> {
    match replies {
        [Reply::Missing { reason }] => Some(reason),
        _ => None,
    }
}

const ODD: [&str; 8] = ["busy", "down", "slow", "cut", "garbage", "shape", "empty", "fine"];

fn odd(text: &str, count: usize) -> Deed {
    match (text, count) {
        (_, 3..) | ("fine", _) => Deed::Echo,
        ("busy", 1) => Deed::Status(429, "Retry-After: 0.2\r\n", "{}"),
        ("busy", _) => Deed::Status(429, "", "slow down"),
        ("down", _) => Deed::Status(500, "", "<html>oops</html>"),
        ("slow", _) => Deed::Slow,
        ("cut", _) => Deed::CutOff,
        ("garbage", _) => Deed::Body("no JSON at all"),
        ("shape", _) => Deed::Body(r#"{"choices": "none"}"#),
        _ => Deed::Body(r#"{"choices": [{"message": {"content": null}}]}"#),
    }
}

#[test]
fn every_failure_that_passes_is_outlived() {
    let server = Server::new(odd);
    let mut endpoint = Endpoint::new(server.options()).unwrap();
    let (result, replies) = ask(&mut endpoint, &ODD);
    result.unwrap();
    let expected: Vec<String> = ODD.iter().map(|text| format!("echo {text}")).collect();
    let expected: Vec<_> = expected.iter().map(|text| Some(text.as_str())).collect();
    assert_eq!(texts(&replies), expected);
    assert_eq!(server.requests(), 7 * 3 + 1);
    assert!(server.at_once.load(Ordering::SeqCst) <= 3);
}

#[test]
fn an_answer_that_never_comes_is_missing_and_not_safe() {
    let server = Server::new(|text, count| match text {
        "never" => odd("down", count.min(2)),
        "filtered" => Deed::Body(r#"{"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}"#),
        "forbidden" => Deed::Status(400, "", r#"{"error": {"message": "no", "code": "content_filter"}}"#),
        "long" => Deed::Body(r#"{"choices": [{"message": {"content": "la la"}, "finish_reason": "length"}]}"#),
        _ => Deed::Echo,
    });
    let options = EndpointOptions { attempts: 3, ..server.options() };
    let mut endpoint = Endpoint::new(options).unwrap();
    let (result, replies) = ask(&mut endpoint, &["fine", "never", "filtered", "forbidden", "long"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("echo fine"), None, None, None, Some("la la")]);
    assert!(matches!(&replies[&1][0], Reply::Missing { reason } if reason.contains("status 500")));
    assert!(matches!(&replies[&4][0], Reply::Answer { complete: false, usage, .. } if *usage == Usage::default()));
    assert_eq!(server.requests(), 1 + 3 + 1 + 1 + 1);
}

#[test]
fn what_no_request_will_mend_is_an_error_at_once() {
    for (status, hint) in [(401, "API key"), (403, "API key"), (404, "/v1"), (400, "limits")] {
        let server = Server::new(move |_, _| Deed::Status(status, "", r#"{"error": {"message": "go away"}}"#));
        let options = EndpointOptions { concurrency: 1, ..server.options() };
        let (result, replies) = ask(&mut Endpoint::new(options).unwrap(), &["a", "b"]);
        let error = result.unwrap_err();
        assert!(error.to_string().contains("go away"), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        assert!(replies.is_empty());
        assert_eq!(server.requests(), 1);
    }
    // Nobody there at all: a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = EndpointOptions {
        attempts: 2,
        first_wait: Duration::from_millis(1),
        ..EndpointOptions::new(format!("http://{free}/v1"), "judge")
    };
    let (result, _) = ask(&mut Endpoint::new(options).unwrap(), &["a"]);
    assert!(matches!(result, Err(ChatError::Unreachable { .. })), "{result:?}");
    let error = Endpoint::new(EndpointOptions::new("localhost:8000", "judge")).unwrap_err();
    assert!(error.hint().unwrap().contains("http://"));
}

#[test]
fn a_quota_that_is_spent_is_an_error_at_once() {
    let body = r#"{"error": {"message": "pay first", "code": "insufficient_quota"}}"#;
    let server = Server::new(move |_, _| Deed::Status(429, "", body));
    let (result, _) = ask(&mut Endpoint::new(server.options()).unwrap(), &["a"]);
    let error = result.unwrap_err();
    assert!(error.to_string().contains("pay first"), "{error}");
    assert!(error.hint().unwrap().contains("credit"), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_server_that_wants_no_wait_hurries_nobody() {
    let server = Server::new(|_, count| match count {
        3 => Deed::Echo,
        _ => Deed::Status(429, "Retry-After: 0\r\n", "{}"),
    });
    let options = EndpointOptions { first_wait: Duration::from_millis(100), ..server.options() };
    let (result, replies) = ask(&mut Endpoint::new(options).unwrap(), &["a"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("echo a")]);
    let starts = server.starts.lock().unwrap().clone();
    // A tenth of a second, then two.
    assert!(starts[2] - starts[0] >= Duration::from_millis(300));
}

#[test]
fn one_question_that_is_rejected_is_missing_where_others_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let body = r#"{"error": {"message": "too long", "code": 400}}"#;
    let server = Server::new(move |text, _| match text {
        "long" => Deed::Status(400, "", body),
        _ => Deed::Echo,
    });
    let open = || {
        let options = EndpointOptions { concurrency: 1, ..server.options() };
        CachedChat::open(Endpoint::new(options).unwrap(), &path).unwrap()
    };
    let mut chat = open();
    let (result, replies) = ask(&mut chat, &["fine", "long", "also"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("echo fine"), None, Some("echo also")]);
    assert_eq!(reason(&replies[&1]), Some("status 400: too long"));
    drop(chat);
    // Asked again, it is the only question, and the others are known to have been answered.
    let (result, replies) = ask(&mut open(), &["fine", "long"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("echo fine"), None]);
    assert_eq!(server.requests(), 4);
}

#[test]
fn an_endpoint_that_fails_on_and_on_is_given_up() {
    let server = Server::new(|text, _| match text {
        "fine" => Deed::Echo,
        _ => Deed::Status(500, "", "worn out"),
    });
    let options = EndpointOptions { attempts: 1, concurrency: 1, ..server.options() };
    let numbers: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let mut asked = vec!["fine"];
    asked.extend(numbers.iter().map(String::as_str));
    let (result, replies) = ask(&mut Endpoint::new(options).unwrap(), &asked);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("20 questions in a row"), "{error}");
    assert!(error.contains("worn out"), "{error}");
    assert_eq!((server.requests(), replies.len()), (1 + 20, 1 + 19));
}

#[test]
fn counts_and_codes_of_another_kind_cost_no_answer() {
    let body =
        r#"{"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": 7, "completion_tokens": null}}"#;
    let server = Server::new(move |text, _| match text {
        "counted" => Deed::Body(body),
        _ => Deed::Status(400, "", r#"{"error": {"message": "bad", "code": 400}}"#),
    });
    let mut endpoint = Endpoint::new(server.options()).unwrap();
    let (result, replies) = ask(&mut endpoint, &["counted"]);
    result.unwrap();
    let expected = Usage { prompt_tokens: 7, completion_tokens: 0 };
    assert!(matches!(&replies[&0][0], Reply::Answer { usage, .. } if *usage == expected));
    assert_eq!(server.requests(), 1);
    let mut endpoint = Endpoint::new(server.options()).unwrap();
    let error = ask(&mut endpoint, &["code"]).0.unwrap_err().to_string();
    assert!(error.ends_with("status 400: bad"), "{error}");
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let server = Server::new(|_, _| Deed::Status(401, "", "{}"));
    let options = EndpointOptions { base_url: server.url.replace("http://", "http://me:secret@"), ..server.options() };
    let mut endpoint = Endpoint::new(options.clone()).unwrap();
    let refused = ask(&mut endpoint, &["a"]).0.unwrap_err();
    let broken = EndpointOptions::new("ftp://me:secret@localhost/v1", "judge");
    let broken = Endpoint::new(broken).unwrap_err();
    let shown = format!("{options:?} {endpoint:?} {refused} {refused:?} {broken} {broken:?}");
    let shown = format!("{shown} {} {}", endpoint.identity(), options.shown_url());
    assert!(!shown.contains("secret"), "{shown}");
    let without = Endpoint::new(server.options()).unwrap();
    assert_eq!(endpoint.identity(), without.identity());
}

#[test]
fn a_key_in_an_address_is_sent_and_never_shown() {
    let told = r#"{"error": {"message": "bad key S3CRET-key or 2020-01-01"}}"#;
    let server = Server::new(move |_, _| Deed::Status(401, "", told));
    let query = "?api-version=2020-01-01&api_key=s3cret-key";
    let options = EndpointOptions { base_url: format!("{}{query}", server.url), ..server.options() };
    let mut endpoint = Endpoint::new(options.clone()).unwrap();
    let refused = ask(&mut endpoint, &["a"]).0.unwrap_err();
    assert_eq!(server.requests(), 1);
    let message = refused.to_string();
    assert!(message.contains("/v1/chat/completions: "), "{message}");
    assert!(message.ends_with("bad key [hidden] or 2020-01-01"), "{message}");
    let mut shown = format!("{options:?} {endpoint:?} {refused} {refused:?}");
    shown += &format!("{} {}", endpoint.identity(), options.shown_url());
    for url in [
        format!("http://localhost:1/v1{query}"),
        format!("http://localhost:1/v1{query}@x#s3cret-key"),
        format!("ftp://localhost/v1{query}"),
        "http://me:s3cret-key?@host/v1".into(),
        "http://me:s3cret?-key@:host/v1".into(),
    ] {
        let options = EndpointOptions { attempts: 1, ..EndpointOptions::new(url, "judge") };
        shown += &format!(" {options:?} {}", options.shown_url());
        match Endpoint::new(options) {
            Err(error) => shown += &format!(" {error} {error:?}"),
            Ok(mut endpoint) => {
                let error = ask(&mut endpoint, &["a"]).0.unwrap_err();
                shown += &format!(" {error} {error:?} {}", endpoint.identity());
            }
        }
    }
    assert!(!shown.to_lowercase().contains("s3cret"), "{shown}");
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_says_nothing() {
    let server = Server::new(|text, _| match text {
        "fine" => Deed::Echo,
        _ => Deed::Slow,
    });
    let options = EndpointOptions { timeout: Duration::from_secs(30), ..server.options() };
    let texts = ["fine", "slow", "silent"].map(|text| vec![Message::user(text)]);
    let mut replies = Replies { stop_after: Some(1), ..Replies::default() };
    let begun = Instant::now();
    let mut endpoint = Endpoint::new(options).unwrap();
    let result = endpoint.answer(&texts, &mut replies);
    assert!(matches!(result, Err(ChatError::Stopped)), "{result:?}");
    assert_eq!(replies.of.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_address_is_the_same_with_a_slash_at_its_end() {
    let identity = |url: &str| {
        let options = EndpointOptions::new(url, "judge");
        Endpoint::new(options).unwrap().identity()
    };
    assert_eq!(identity("http://host/v1"), identity("http://HOST/v1/"));
    assert_ne!(identity("http://host/v1"), identity("http://host/v2"));
}

#[test]
fn openai_is_known_by_its_address() {
    for (url, expected) in [
        ("https://api.openai.com/v1", true),
        ("http://api.openai.com/v1", false),
        ("https://api.openai.com.example.org/v1", false),
        ("https://api.openai.com@example.org/v1", false),
        ("http://localhost:8000/v1", false),
        ("localhost", false),
    ] {
        let options = EndpointOptions::new(url, "judge");
        assert_eq!(options.is_openai(), expected, "{url}");
    }
}

#[test]
fn a_key_is_sent_and_never_shown() {
    let error = ApiKey::from_env("MPO_TEST_NO_SUCH_KEY").unwrap_err();
    assert!(error.to_string().contains("MPO_TEST_NO_SUCH_KEY"));
    // PATH is there on every machine, and stands for a secret.
    let key = ApiKey::from_env("PATH").unwrap();
    let server = Server::new(|_, _| Deed::Status(401, "", "{}"));
    let options = EndpointOptions { api_key: Some(key), ..server.options() };
    let secret = std::env::var("PATH").unwrap();
    let mut endpoint = Endpoint::new(options).unwrap();
    assert!(!format!("{endpoint:?}").contains(&secret));
    let error = ask(&mut endpoint, &["a"]).0.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&secret));
}

/// A server that echoes the key it was sent, in an error and in an answer.
#[test]
fn a_key_or_password_that_a_server_echoes_is_hidden() {
    // PATH is there on every machine, and stands for a secret.
    let secret = std::env::var("PATH").unwrap().trim().to_owned();
    let told: &'static str = Box::leak(
        json!({"choices": [{"message": {"content": format!("key {secret} login pass-word"), "extra": 1}}]})
            .to_string()
            .into_boxed_str(),
    );
    let refused: &'static str = Box::leak(
        json!({"error": {"message": format!("bad key {secret}, bad login pass-word")}}).to_string().into_boxed_str(),
    );
    let server = Server::new(move |text, _| match text {
        "told" => Deed::Body(told),
        "odd" => Deed::Body(Box::leak(format!("\"pass-word {text}\"").into_boxed_str())),
        _ => Deed::Status(403, "", refused),
    });
    let options = EndpointOptions {
        api_key: Some(ApiKey::from_env("PATH").unwrap()),
        base_url: server.url.replace("http://", "http://me:pass%2Dword@"),
        attempts: 1,
        ..server.options()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let endpoint = Endpoint::new(options.clone()).unwrap();
    let mut chat = CachedChat::open(endpoint, &path).unwrap();
    let (result, replies) = ask(&mut chat, &["told"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("key [hidden] login [hidden]")]);
    let (result, replies) = ask(&mut chat, &["odd", "told"]);
    result.unwrap();
    let shown = format!("{replies:?} {}", std::fs::read_to_string(&path).unwrap());
    let error = ask(&mut chat, &["refused"]).0.unwrap_err();
    let shown = format!("{shown} {error} {error:?} {:?}", error.hint());
    for secret in [secret.as_str(), "pass-word", "pass%2Dword"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(error.to_string().contains("bad key [hidden]"), "{error}");
}

#[test]
fn bodies_end_whether_the_server_ends_them_or_not() {
    let server = Server::new(|text, count| match (text, count) {
        ("endless", 1) => Deed::Endless,
        ("drip", 1) => Deed::Drip,
        ("bytes", 1) => Deed::Bytes(b"{\"choices\": [{\"message\": {\"content\": \"\xFF\xFE\"}}]}"),
        ("drip in an error", 1) => Deed::Drip,
        _ => Deed::Echo,
    });
    let options = EndpointOptions { timeout: Duration::from_secs(1), ..server.options() };
    let begun = Instant::now();
    let asked = ["endless", "drip", "bytes", "fine"];
    let (result, replies) = ask(&mut Endpoint::new(options.clone()).unwrap(), &asked);
    result.unwrap();
    let expected: Vec<String> = asked.iter().map(|text| format!("echo {text}")).collect();
    let expected: Vec<_> = expected.iter().map(|text| Some(text.as_str())).collect();
    assert_eq!(texts(&replies), expected);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // What is wrong is said, where it stays so.
    let server = Server::new(|text, _| match text {
        "endless" => Deed::Endless,
        "bytes" => Deed::Bytes(b"\xFF"),
        _ => Deed::Echo,
    });
    let options = EndpointOptions { attempts: 1, concurrency: 1, ..server.options() };
    let (result, replies) = ask(&mut Endpoint::new(options).unwrap(), &["fine", "endless", "bytes"]);
    result.unwrap();
    assert_eq!(reason(&replies[&1]), Some("expected at most 8 MiB, got more"));
    assert_eq!(reason(&replies[&2]), Some("expected text in UTF-8, got other bytes"));
}

#[test]
fn a_wait_may_be_asked_for_until_a_date_and_not_for_hours() {
    let date = |seconds| {
        let date = std::time::SystemTime::now() + Duration::from_secs(seconds);
        let header = format!("Retry-After: {}\r\n", httpdate::fmt_http_date(date));
        &*Box::leak(header.into_boxed_str())
    };
    let server = Server::new(move |text, count| match (text, count) {
        ("soon", 1) => Deed::Status(503, date(2), "{}"),
        ("past", 1) => Deed::Status(429, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "{}"),
        ("hours", _) => Deed::Status(429, "Retry-After: 7200\r\n", "{}"),
        _ => Deed::Echo,
    });
    let mut endpoint = Endpoint::new(server.options()).unwrap();
    let begun = Instant::now();
    ask(&mut endpoint, &["past"]).0.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(900));
    // Dates are of whole seconds.
    ask(&mut endpoint, &["soon"]).0.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    let before = server.requests();
    let error = ask(&mut endpoint, &["hours"]).0.unwrap_err();
    assert!(error.to_string().contains("the server wants 7200"), "{error}");
    assert!(error.hint().unwrap().contains("goes on"), "{error:?}");
    assert_eq!(server.requests(), before + 1);
}

#[test]
fn no_request_follows_to_another_address() {
    let elsewhere = Server::new(|_, _| Deed::Echo);
    let location = format!("Location: {}/chat/completions\r\n", elsewhere.url);
    let location: &'static str = Box::leak(location.into_boxed_str());
    let server = Server::new(move |_, _| Deed::Status(307, location, ""));
    let error = ask(&mut Endpoint::new(server.options()).unwrap(), &["a"]).0.unwrap_err();
    assert!(error.to_string().contains(&elsewhere.url), "{error}");
    assert!(error.hint().unwrap().contains("/v1"), "{error:?}");
    assert_eq!((server.requests(), elsewhere.requests()), (1, 0));
}

fn verdict(chat: &mut CachedChat<Endpoint>, answer: &str) -> (Option<Verdict>, Option<String>) {
    let exchange = Exchange { language: "en".parse().ok(), prompt: "How?", answer };
    let mut judge = ChatJudge::new(chat, "judge");
    let judged = judge.safety(&[exchange], &Silent).unwrap();
    (judged[0].verdict, judged[0].missing.clone())
}

#[test]
fn a_reply_that_is_no_verdict_is_asked_for_again_and_never_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judge.jsonl");
    let busy = r#"{"choices": [{"message": {"content": "The model is overloaded, please try again later."}}]}"#;
    let server = Server::new(move |text, count| match count {
        // Twice in one command; longer than one is patient.
        _ if text.contains("[Answer]\nfirst") && count > 2 => {
            Deed::Body(r#"{"choices": [{"message": {"content": "safe"}}]}"#)
        }
        5.. => Deed::Body(r#"{"choices": [{"message": {"content": "unsafe"}}]}"#),
        _ => Deed::Body(busy),
    });
    let mut chat = cached(&server, &path);
    assert_eq!(verdict(&mut chat, "first").0, Some(Verdict::Safe));
    assert_eq!(server.requests(), 3);
    let (none, reason) = verdict(&mut chat, "second");
    assert_eq!((none, reason.unwrap().as_str()), (None, "the judge's reply is no verdict"));
    assert_eq!(server.requests(), 3 + 4);
    drop(chat);
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(!kept.contains("overloaded") && kept.lines().count() == 1, "{kept}");
    // A later command asks the one that is missing, and no other.
    let mut chat = cached(&server, &path);
    assert_eq!(verdict(&mut chat, "first").0, Some(Verdict::Safe));
    assert_eq!(verdict(&mut chat, "second").0, Some(Verdict::Unsafe));
    assert_eq!(server.requests(), 7 + 1);
}

#[test]
fn a_translation_that_is_none_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(|text, count| match text.starts_with("Translate") {
        true if count == 1 => Deed::Body(r#"{"choices": [{"message": {"content": " "}}]}"#),
        true if count == 2 => Deed::Body(r#"{"choices": [{"message": {"content": "Service Unavailable"}}]}"#),
        true => Deed::Body(r#"{"choices": [{"message": {"content": "Boil water."}}]}"#),
        false => Deed::Body(r#"{"choices": [{"message": {"content": "irrelevant"}}]}"#),
    });
    let mut chat = cached(&server, &dir.path().join("judge.jsonl"));
    let exchange = Exchange { language: "sw".parse().ok(), prompt: "Vipi?", answer: "Chemsha maji." };
    let judged = ChatJudge::new(&mut chat, "judge").safety(&[exchange], &Silent).unwrap();
    assert_eq!(judged[0].verdict, Some(Verdict::Irrelevant));
    assert_eq!(judged[0].translation.as_deref(), Some("Boil water."));
    assert_eq!(server.requests(), 3 + 1);
}

#[test]
fn damaged_lines_are_told_of_and_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let server = Server::new(|_, _| Deed::Echo);
    ask(&mut cached(&server, &path), &["a", "b", "c"]).0.unwrap();
    // A byte of an answer, which is JSON before and after.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("echo b", "echo x", 1)).unwrap();
    let damaged = text.lines().position(|line| line.contains("echo b")).unwrap() + 1;
    let mut chat = cached(&server, &path);
    assert_eq!(chat.damaged(), [damaged]);
    let (result, replies) = ask(&mut chat, &["a", "b", "c"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("echo a"), Some("echo b"), Some("echo c")]);
    assert_eq!(server.requests(), 4);
}

#[test]
fn requests_are_spaced() {
    let server = Server::new(|_, _| Deed::Echo);
    let options = EndpointOptions { requests_per_minute: Some(600), ..server.options() };
    ask(&mut Endpoint::new(options).unwrap(), &["a", "b", "c", "d"]).0.unwrap();
    let mut starts = server.starts.lock().unwrap().clone();
    starts.sort();
    // Three times a tenth of a second, less what the way to the server may vary by.
    assert!(starts[3] - starts[0] > Duration::from_millis(200));
}

fn cached(server: &Server, path: &Path) -> CachedChat<Endpoint> {
    CachedChat::open(Endpoint::new(server.options()).unwrap(), path).unwrap()
}

#[test]
fn kept_answers_are_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let server = Server::new(|text, count| match (text, count) {
        ("later", 1) => Deed::Body(r#"{"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}"#),
        _ => Deed::Echo,
    });
    let mut chat = cached(&server, &path);
    let (result, replies) = ask(&mut chat, &["a", "b", "a", "later", "a"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("echo a"), Some("echo b"), Some("echo a"), None, Some("echo a")]);
    assert_eq!(server.requests(), 3);
    assert_eq!(chat.usage().prompt_tokens, 6);
    assert_eq!(reason(&replies[&3]), Some("the endpoint's content filter"));
    drop(chat);
    // A process that was killed while it wrote.
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"key\":\"ab");
    std::fs::write(&path, text).unwrap();
    let mut chat = cached(&server, &path);
    let (result, replies) = ask(&mut chat, &["b", "later", "a", "new"]);
    result.unwrap();
    assert_eq!(texts(&replies), [Some("echo b"), Some("echo later"), Some("echo a"), Some("echo new")]);
    assert_eq!(server.requests(), 5);
    // Of four answers, two of which were paid for before.
    assert_eq!(chat.usage().prompt_tokens, 12);
    ask(&mut chat, &["a", "b"]).0.unwrap();
    assert_eq!(chat.usage().prompt_tokens, 12);
    drop(chat);
    let lines = std::fs::read_to_string(&path).unwrap();
    assert_eq!(lines.lines().count(), 4);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    // Another model's answers are others.
    let options = EndpointOptions { max_tokens: 7, ..server.options() };
    let mut other = CachedChat::open(Endpoint::new(options).unwrap(), &path).unwrap();
    ask(&mut other, &["a"]).0.unwrap();
    assert_eq!(server.requests(), 6);
    drop(other);
    // A file of lines that are whole and no answers is not ours.
    std::fs::write(&path, "{}\n").unwrap();
    let error = CachedChat::open(Endpoint::new(server.options()).unwrap(), &path).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn an_interrupted_evaluation_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let server = Server::new(|_, _| Deed::Echo);
    let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    let conversations: Vec<_> = names.iter().map(|text| vec![Message::user(text)]).collect();
    let mut first = Replies { stop_after: Some(4), ..Replies::default() };
    let result = cached(&server, &path).answer(&conversations, &mut first);
    assert!(matches!(result, Err(ChatError::Stopped)));
    let done = first.of.len();
    assert!((4..12).contains(&done));
    let mut chat = cached(&server, &path);
    let mut second = Replies::default();
    chat.answer(&conversations, &mut second).unwrap();
    assert_eq!(texts(&second.of).len(), 12);
    assert_eq!(server.requests(), 12);
    assert_eq!(chat.usage().prompt_tokens, 36);
}

#[test]
fn a_file_of_answers_is_one_evaluations_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let server = Server::new(|_, _| Deed::Echo);
    let first = cached(&server, &path);
    let second = CachedChat::open(Endpoint::new(server.options()).unwrap(), &path);
    let error = second.unwrap_err();
    assert!(error.to_string().contains("answers.jsonl"), "{error}");
    assert!(error.hint().unwrap().contains("--output"), "{error:?}");
    drop(first);
    cached(&server, &path);
}
