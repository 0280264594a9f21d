//! A service that answers over HTTP, which is expected to be slow, busy and broken now and then: chat completions as OpenAI's,
//! or whatever else a [`Protocol`] speaks.

mod completions;
mod decoded;
mod protocol;
mod secrets;

use std::env;
use std::fmt;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use mpo_data::Message;
use reqwest::blocking::{Client, Response};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use crate::error::ChatError;
use crate::model::{ChatModel, Listener, Reply};
use completions::ChatCompletions;
pub use protocol::{KeyPlace, Protocol, RequestLimit};
use secrets::Secrets;

/// The longest wait before a request that no server asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that a server may ask for; beyond it the user decides.
const LONGEST_WAIT_ASKED: Duration = Duration::from_secs(600);

/// The wait for what is under way on a stop: replies that come are kept, for they are paid for.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Bytes of a reply at most: a thousand times what a judge writes.
const LONGEST_BODY: u64 = 8 << 20;

/// Times that a question is asked again whose reply is not what was asked for.
const AGAIN: usize = 3;

/// Questions in a row that every attempt fails for, until an endpoint is given up: each takes minutes.
const MOST_IN_A_ROW: usize = 20;

/// Characters of a server's own words that an error shows.
const SHOWN: usize = 200;

/// What begins the part of an address behind its path.
const QUERY: [char; 2] = ['?', '#'];

/// What the name of a secret in an address has in it: `key`, `api_key`, `access_token`.
const SECRET_NAMES: [&str; 6] = ["key", "token", "secret", "pass", "sig", "auth"];

/// A secret that is sent and never shown.
#[derive(Clone)]
pub struct ApiKey {
    header: HeaderValue,
    key: String,
}

impl ApiKey {
    /// The key in an environment variable.
    ///
    /// # Errors
    /// If there is none that could be sent.
    pub fn from_env(variable: &str) -> Result<Self, ChatError> {
        let key = env::var(variable).ok();
        let key = key.as_deref().map(str::trim).filter(|key| !key.is_empty());
        let header = key.and_then(|key| {
            let header = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
            Some((header, key.to_owned()))
        });
        let (mut header, key) = header.ok_or_else(|| ChatError::NoKey(variable.into()))?;
        header.set_sensitive(true);
        Ok(Self { header, key })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Where and how to ask.
#[derive(Clone)]
pub struct EndpointOptions {
    /// The address up to `/v1`, such as `http://localhost:8000/v1`. A name and a password before the host, and what
    /// stands behind a question mark, are sent, and never shown.
    pub base_url: String,
    /// The model's name there; empty where a service has only one.
    pub model: String,
    /// None for servers that want none.
    pub api_key: Option<ApiKey>,
    /// 0 for the most probable answer.
    pub temperature: f64,
    /// Tokens of an answer at most.
    pub max_tokens: usize,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Requests begun in a minute at most.
    pub requests_per_minute: Option<u32>,
    /// A request that takes longer has failed.
    pub timeout: Duration,
    /// Requests for one answer at most.
    pub attempts: usize,
    /// The wait before the second request; it doubles with each, and a random part is added.
    pub first_wait: Duration,
}

impl EndpointOptions {
    /// Greedy answers of up to 512 tokens, four at once, two minutes and six attempts for each.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            api_key: None,
            temperature: 0.0,
            max_tokens: 512,
            concurrency: 4,
            requests_per_minute: None,
            timeout: Duration::from_secs(120),
            attempts: 6,
            first_wait: Duration::from_secs(1),
        }
    }

    /// The address without a name, a password and what stands behind a question mark, also if it is no address.
    pub fn shown_url(&self) -> String {
        let (path, _) = self.parts();
        let shown = match path.rsplit_once('@') {
            None => path.to_owned(),
            Some((secret, host)) => {
                let mut schemes = ["https://", "http://"].into_iter();
                let scheme = schemes.find(|scheme| secret.starts_with(*scheme));
                format!("{}{host}", scheme.unwrap_or_default())
            }
        };
        let end = shown.find(QUERY).unwrap_or(shown.len());
        shown[..end].to_owned()
    }

    /// The address up to a question mark, and the rest. In what is no address, a question mark may be a password's.
    fn parts(&self) -> (&str, &str) {
        let end = self.base_url.find(QUERY);
        let end = end.filter(|_| Url::parse(&self.base_url).is_ok());
        self.base_url.split_at(end.unwrap_or(self.base_url.len()))
    }

    /// Whether the address is OpenAI's own, which alone is to be sent OpenAI's key unasked.
    pub fn is_openai(&self) -> bool {
        Url::parse(&self.base_url).is_ok_and(|url| url.scheme() == "https" && url.host_str() == Some("api.openai.com"))
    }
}

impl fmt::Debug for EndpointOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointOptions")
            .field("base_url", &self.shown_url())
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// A model, or another service, behind an endpoint.
pub struct Endpoint {
    options: EndpointOptions,
    protocol: Box<dyn Protocol>,
    url: Url,
    /// The address for messages and keys, without anything secret.
    shown_url: Url,
    secrets: Secrets,
    client: Client,
    /// Whether it has accepted a question, so that one it rejects is itself at fault.
    accepts: AtomicBool,
    /// Questions without a reply since the last that had one.
    failed_in_a_row: AtomicUsize,
    /// Requests that were sent.
    requests: AtomicUsize,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Prepares to ask by OpenAI's chat completions; nothing is sent yet.
    ///
    /// # Errors
    /// If the address is none.
    pub fn new(options: EndpointOptions) -> Result<Self, ChatError> {
        Self::speaking(ChatCompletions, options)
    }

    /// Prepares to ask by another protocol; nothing is sent yet.
    ///
    /// # Errors
    /// If the address is none.
    pub fn speaking(protocol: impl Protocol + 'static, options: EndpointOptions) -> Result<Self, ChatError> {
        let address = |problem: String| ChatError::Address { url: options.shown_url(), problem };
        let (path, query) = options.parts();
        let text = format!("{}{}{query}", path.trim_end_matches('/'), protocol.path());
        let mut url: Url = text.parse().map_err(|error| address(format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(address("neither http:// nor https://".into()));
        }
        let key = options.api_key.as_ref().map(|key| key.key.as_str());
        let mut secrets = Secrets::new(key, url.username(), url.password());
        for (name, value) in url.query_pairs() {
            let name = name.to_lowercase();
            if SECRET_NAMES.iter().any(|part| name.contains(part)) {
                secrets.and(&value);
            }
        }
        let mut shown_url = url.clone();
        // Fails only for addresses without a host, which those of these schemes have.
        _ = shown_url.set_username("");
        _ = shown_url.set_password(None);
        shown_url.set_query(None);
        shown_url.set_fragment(None);
        let mut headers = HeaderMap::new();
        match (&options.api_key, protocol.key_place()) {
            (Some(key), KeyPlace::Bearer) => _ = headers.insert(AUTHORIZATION, key.header.clone()),
            (Some(key), KeyPlace::Query(name)) => _ = url.query_pairs_mut().append_pair(name, &key.key),
            // Put into each body.
            (Some(_), KeyPlace::Field(_)) | (None, _) => {}
        }
        let client = Client::builder()
            .default_headers(headers)
            .timeout(options.timeout)
            // A request is for one address, and so is the key.
            .redirect(Policy::none())
            .build()
            .map_err(|error| address(described(error)))?;
        Ok(Self {
            options,
            protocol: Box::new(protocol),
            url,
            shown_url,
            secrets,
            client,
            accepts: AtomicBool::new(false),
            failed_in_a_row: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        })
    }

    /// Requests that were sent, those that failed among them.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Asks until there is a reply to each, an error that no further request will mend, or no attempt left.
    fn ask(&self, conversations: &[&[Message]], shared: &Shared) -> Result<Vec<Reply>, ChatError> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.options.first_wait)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(self.options.attempts.saturating_sub(1))
            .with_jitter();
        let mut waits = backoff.build();
        loop {
            if !shared.wait_for_turn(self.options.requests_per_minute) {
                return Err(ChatError::Stopped);
            }
            let failure = match self.request(conversations, shared) {
                Ok(replies) => {
                    shared.answered.store(true, Ordering::Relaxed);
                    self.accepts.store(true, Ordering::Relaxed);
                    self.failed_in_a_row.store(0, Ordering::Relaxed);
                    return Ok(replies);
                }
                // One of them is at fault, and the others need not be without a reply for it.
                Err(Attempt::Rejected) => {
                    let mut replies = vec![];
                    for conversation in conversations {
                        replies.extend(self.ask(&[*conversation], shared)?);
                    }
                    return Ok(replies);
                }
                Err(Attempt::Fatal(error)) => return Err(error),
                Err(Attempt::Failed(failure)) => failure,
            };
            if failure.reached {
                shared.answered.store(true, Ordering::Relaxed);
            }
            let Some(wait) = waits.next() else {
                let reply = self.without_reply(failure.problem, conversations.len(), shared)?;
                return Ok(vec![reply; conversations.len()]);
            };
            // The server speaks for all requests, not only for this one, which waits as long as it would have anyway.
            if let Some(asked) = failure.retry_after {
                if asked > LONGEST_WAIT_ASKED {
                    return Err(ChatError::Busy {
                        url: self.shown_url.to_string(),
                        seconds: asked.as_secs(),
                        longest: LONGEST_WAIT_ASKED.as_secs(),
                    });
                }
                shared.pause(asked);
            }
            shared.sleep(wait);
        }
    }

    /// What it means that every attempt failed for so many questions: their replies are missing, unless nobody is there or
    /// nothing works any more.
    fn without_reply(&self, problem: String, questions: usize, shared: &Shared) -> Result<Reply, ChatError> {
        let url = self.shown_url.to_string();
        if !shared.answered.load(Ordering::Relaxed) {
            return Err(ChatError::Unreachable { url, problem });
        }
        let count = self.failed_in_a_row.fetch_add(questions, Ordering::Relaxed) + questions;
        if count >= MOST_IN_A_ROW {
            return Err(ChatError::GivenUp { url, count, problem });
        }
        Ok(Reply::Missing { reason: problem })
    }

    fn request(&self, conversations: &[&[Message]], shared: &Shared) -> Result<Vec<Reply>, Attempt> {
        let mut body = self.protocol.body(&self.options, conversations);
        if let (Some(key), KeyPlace::Field(name)) = (&self.options.api_key, self.protocol.key_place()) {
            body[name] = json!(key.key);
        }
        let response =
            self.sent(body, shared)?.map_err(|problem| Attempt::failed(self.secrets.hide(problem), false))?;
        if !response.status.is_success() {
            return self.unsuccessful(response, conversations.len());
        }
        let text = response.text.map_err(|problem| Attempt::failed(self.secrets.hide(problem), true))?;
        let replies = self.protocol.replies(&text);
        let replies = replies.map_err(|problem| Attempt::failed(self.secrets.hide(problem), true))?;
        if replies.len() != conversations.len() {
            let (expected, got) = (conversations.len(), replies.len());
            return Err(Attempt::failed(format!("expected as many replies as questions, {expected}, got {got}"), true));
        }
        Ok(replies.into_iter().map(|reply| self.without_secrets(reply)).collect())
    }

    fn without_secrets(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Answer { text, complete, usage } => Reply::Answer { text: self.secrets.hide(text), complete, usage },
            missing @ Reply::Missing { .. } => missing,
        }
    }

    /// What comes back to a request, or why nothing does. On a stop the request is soon left to itself, for a server that
    /// says nothing would hold everything up.
    fn sent(&self, body: Value, shared: &Shared) -> Result<Result<Received, String>, Attempt> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let request = self.client.post(self.url.clone()).json(&body);
        let deadline = Instant::now() + self.options.timeout;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let received = request.send().map(|response| Received {
                status: response.status(),
                headers: response.headers().clone(),
                text: body_of(response, deadline),
            });
            // Nobody waits any more after a stop.
            _ = sender.send(received.map_err(described));
        });
        let mut stopped: Option<Instant> = None;
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(received) => return Ok(received),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Ok(Err("the request broke off".into()));
                }
            }
            if shared.abandon.load(Ordering::Relaxed) && stopped.get_or_insert_with(Instant::now).elapsed() > LAST_WAIT
            {
                return Err(Attempt::Fatal(ChatError::Stopped));
            }
        }
    }

    /// What a status that tells of no success means for so many questions.
    fn unsuccessful(&self, response: Received, questions: usize) -> Result<Vec<Reply>, Attempt> {
        let header = |name| response.headers.get(name)?.to_str().ok();
        let retry_after = header(RETRY_AFTER).and_then(wait);
        let location = header(LOCATION).map(str::to_owned);
        // An error without words is one all the same.
        let text = response.text.unwrap_or_default();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let error = &body["error"];
        // Some servers have numbers for codes, which say no more than the status; Google's have a list of reasons.
        let says = |kind: &str| error["code"] == kind || error["type"] == kind || error["errors"][0]["reason"] == kind;
        let missing = |reason: &str| Ok(vec![Reply::Missing { reason: reason.to_owned() }; questions]);
        if says("content_filter") && questions == 1 {
            return missing("the endpoint's content filter");
        }
        let message = error["message"].as_str().or(error.as_str()).unwrap_or(&text);
        let message = self.secrets.hide(message.trim().to_owned());
        let message: String = message.chars().take(SHOWN).collect();
        let url = self.shown_url.to_string();
        let status = response.status.as_u16();
        let problem = format!("status {status}: {message}");
        let is_limited = says("rateLimitExceeded") || says("userRateLimitExceeded");
        match status {
            429 if says("insufficient_quota") => Err(Attempt::Fatal(ChatError::NoQuota { url, message })),
            403 if says("dailyLimitExceeded") => Err(Attempt::Fatal(ChatError::NoQuota { url, message })),
            403 if is_limited => Err(Attempt::Failed(FailedAttempt { problem, reached: true, retry_after })),
            408 | 409 | 425 | 429 | 500..=599 => {
                Err(Attempt::Failed(FailedAttempt { problem, reached: true, retry_after }))
            }
            300..=399 => {
                Err(Attempt::Fatal(ChatError::Moved { url, to: self.secrets.hide(location.unwrap_or_default()) }))
            }
            // Too long, say: whoever has accepted another question has nothing against the model's name and settings.
            400 | 413 | 422 if questions > 1 => Err(Attempt::Rejected),
            400 | 413 | 422 if self.accepts.load(Ordering::Relaxed) => missing(&problem),
            _ => Err(Attempt::Fatal(ChatError::Refused { url, status, message })),
        }
    }
}

impl Endpoint {
    /// Asks the conversations of these numbers once each. Replies that the listener does not accept are not told it, unless
    /// they are the last; their numbers are returned.
    fn round(
        &self,
        conversations: &[Vec<Message>],
        numbers: &[usize],
        shared: Shared,
        is_last: bool,
        listener: &mut dyn Listener,
    ) -> Result<Vec<usize>, ChatError> {
        let batches = self.protocol.request_limit().batches(conversations, numbers);
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let workers = self.options.concurrency.clamp(1, batches.len().max(1));
            for _ in 0..workers {
                let (sender, shared, next, batches) = (sender.clone(), &shared, &next, &batches);
                scope.spawn(move || {
                    while !shared.stop.load(Ordering::Relaxed) {
                        let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            return;
                        };
                        let asked: Vec<&[Message]> = batch.iter().map(|&number| &*conversations[number]).collect();
                        let replies = self.ask(&asked, shared);
                        if replies.is_err() {
                            shared.stop.store(true, Ordering::Relaxed);
                        }
                        // A receiver that is gone has stopped everything.
                        if sender.send(replies.map(|replies| batch.iter().copied().zip(replies))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut result = Ok(());
            let mut again = vec![];
            loop {
                if listener.is_stopped() {
                    shared.stop.store(true, Ordering::Relaxed);
                    shared.abandon.store(true, Ordering::Relaxed);
                    result = result.and(Err(ChatError::Stopped));
                }
                match receiver.recv_timeout(Duration::from_millis(100)) {
                    Ok(Ok(replies)) => {
                        for (number, reply) in replies {
                            let is_answer = matches!(reply, Reply::Answer { .. });
                            if is_answer && !is_last && !listener.accepts(number, &reply) {
                                again.push(number);
                            } else {
                                listener.reply(number, &reply);
                            }
                        }
                    }
                    Ok(Err(ChatError::Stopped)) => {}
                    Ok(Err(error)) => result = result.and(Err(error)),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    // Every worker is done.
                    Err(mpsc::RecvTimeoutError::Disconnected) => return result.map(|()| again),
                }
            }
        })
    }
}

impl ChatModel for Endpoint {
    fn identity(&self) -> String {
        let url = self.shown_url.as_str();
        // The same with and without a slash at its end.
        let base_url = url.strip_suffix(self.protocol.path()).unwrap_or(url);
        format!("{base_url} {}", self.protocol.identity(&self.options))
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.options.first_wait)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(AGAIN)
            .with_jitter();
        let mut waits = backoff.build();
        let mut asked: Vec<usize> = (0..conversations.len()).collect();
        let mut is_first = true;
        loop {
            let wait = waits.next();
            let shared = Shared { answered: AtomicBool::new(!is_first), ..Shared::default() };
            asked = self.round(conversations, &asked, shared, wait.is_none(), listener)?;
            match wait {
                Some(wait) if !asked.is_empty() => sleep(wait, || listener.is_stopped()),
                _ => return Ok(()),
            }
            is_first = false;
        }
    }

    fn known_to_answer(&mut self) {
        *self.accepts.get_mut() = true;
    }
}

/// What workers have in common.
#[derive(Default)]
struct Shared {
    /// Whether no request is to begin.
    stop: AtomicBool,
    /// Whether those under way are not waited for long either.
    abandon: AtomicBool,
    /// Whether the endpoint has ever said anything.
    answered: AtomicBool,
    /// When the next request may begin.
    next_start: Mutex<Option<Instant>>,
}

impl Shared {
    /// Waits until a request may begin, and takes that moment; false if everything is to stop.
    fn wait_for_turn(&self, requests_per_minute: Option<u32>) -> bool {
        loop {
            let wait = {
                let mut next = self.next_start.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                match *next {
                    Some(start) if start > now => start - now,
                    _ => {
                        *next = requests_per_minute.map(|limit| now + Duration::from_secs(60) / limit.max(1));
                        Duration::ZERO
                    }
                }
            };
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            if wait.is_zero() {
                return true;
            }
            self.sleep(wait);
        }
    }

    /// No request begins for so long.
    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut next = self.next_start.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(Some(until));
    }

    /// Sleeps, but not past a stop.
    fn sleep(&self, wait: Duration) {
        sleep(wait, || self.stop.load(Ordering::Relaxed));
    }
}

/// Sleeps, but not past a stop.
fn sleep(wait: Duration, is_stopped: impl Fn() -> bool) {
    let until = Instant::now() + wait;
    while !is_stopped() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// The wait that a server asks for: seconds, or until a date.
fn wait(retry_after: &str) -> Option<Duration> {
    let text = retry_after.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            // A date that is past asks for no wait.
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

/// The text of a reply that is neither endless, nor longer in coming than a request may take, nor anything but text.
fn body_of(response: Response, deadline: Instant) -> Result<String, String> {
    let mut bytes = vec![];
    let mut body = response.take(LONGEST_BODY + 1);
    let mut piece = [0; 16 << 10];
    loop {
        match body.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => bytes.extend(&piece[..read]),
            Err(error) => return Err(with_causes(&error)),
        }
        if bytes.len() as u64 > LONGEST_BODY {
            return Err(format!("expected at most {} MiB, got more", LONGEST_BODY >> 20));
        }
        if Instant::now() > deadline {
            return Err("the reply took too long to come".into());
        }
    }
    String::from_utf8(bytes).map_err(|_| "expected text in UTF-8, got other bytes".into())
}

/// What a server sent.
struct Received {
    status: StatusCode,
    headers: HeaderMap,
    text: Result<String, String>,
}

/// A request that brought no reply.
enum Attempt {
    /// The service rejects what is asked in it together.
    Rejected,
    /// Another may.
    Failed(FailedAttempt),
    /// No other will.
    Fatal(ChatError),
}

struct FailedAttempt {
    problem: String,
    /// Whether somebody was there.
    reached: bool,
    retry_after: Option<Duration>,
}

impl Attempt {
    fn failed(problem: impl Into<String>, reached: bool) -> Self {
        Self::Failed(FailedAttempt { problem: problem.into(), reached, retry_after: None })
    }
}

/// An error and what caused it: reqwest's own text leaves the cause out. The address is left to the caller.
fn described(error: reqwest::Error) -> String {
    with_causes(&error.without_url())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
