//! `push` against a hub on loopback: one commit of the model's files and no others, and every failure told with what to do.

#![allow(clippy::unwrap_used, missing_docs)]

mod binary;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use assert_cmd::prelude::*;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::{Value, json};
use tempfile::TempDir;

use binary::{mpo_train, rows, train, write_rows};

const TOKEN: &str = "hf_of_nobody";
/// One number, as a file.
const WEIGHTS: &[u8] =
    b"\x36\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}\0\0\x80\x3F";
/// What `sha256sum` says of it.
const SHA256: &str = "79704046079abf4a598ac667f78c51c2adcf0b1f08a718c3468a07b9941cb658";

/// A request.
#[derive(Debug, Clone)]
struct Asked {
    /// Its method and its path.
    what: String,
    /// What it shows to be let in.
    token: String,
    body: Vec<u8>,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The lines of a commit.
    fn lines(&self) -> Vec<Value> {
        let text = str::from_utf8(&self.body).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A status, headers and a body.
type Answer = (u16, &'static str, String);

/// A hub that takes every model of `me`, and has none yet but where it is told otherwise.
struct Hub {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Hub {
    /// One that answers as usual.
    fn new() -> Self {
        Self::but(|_| None)
    }

    /// One that answers as `otherwise` says, or else as usual.
    fn but(otherwise: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hub = Self { url: url.clone(), asked: Arc::default() };
        let (all, otherwise) = (Arc::clone(&hub.asked), Arc::new(otherwise));
        spawn(move || {
            for stream in listener.incoming() {
                let (all, otherwise, url) = (Arc::clone(&all), Arc::clone(&otherwise), url.clone());
                spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(asked) = request(&stream) else { return };
                    all.lock().unwrap().push(asked.clone());
                    let (status, headers, body) = otherwise(&asked).unwrap_or_else(|| usual(&asked, &url));
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
                    );
                    // A client that has given up reads nothing.
                    _ = stream.write_all(format!("{head}{body}").as_bytes());
                });
            }
        });
        hub
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The only request whose method and path begin so.
    fn one(&self, what: &str) -> Asked {
        let mut found: Vec<Asked> = self.asked().into_iter().filter(|asked| asked.what.starts_with(what)).collect();
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        found.remove(0)
    }
}

fn request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut what, mut token, mut length) = (String::new(), String::new(), String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if what.is_empty() {
            what = line.rsplit_once(' ')?.0.to_owned();
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if lower.starts_with("authorization:") {
            token = line.split_once(' ')?.1.trim().to_owned();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { what, token, body })
}

/// What the hub and its storage say.
fn usual(asked: &Asked, url: &str) -> Answer {
    let good = |body: Value| (200, "", body.to_string());
    let what = &*asked.what;
    if what == "POST /api/repos/create" {
        good(json!({ "url": format!("{url}/me/mine") }))
    } else if what.starts_with("POST /api/models/me/mine/preupload/") {
        let file = |file: &Value| {
            let is_large = file["path"].as_str().unwrap().ends_with(".safetensors");
            json!({ "path": file["path"], "uploadMode": if is_large { "lfs" } else { "regular" }, "shouldIgnore": false })
        };
        let files: Vec<Value> = asked.json()["files"].as_array().unwrap().iter().map(file).collect();
        good(json!({ "files": files }))
    } else if what == "POST /me/mine.git/info/lfs/objects/batch" {
        good(json!({ "transfer": "xet", "objects": [] }))
    } else if what.starts_with("GET /api/models/me/mine/xet-write-token/") {
        good(json!({ "casUrl": format!("{url}/storage"), "accessToken": "of-storage", "exp": 4_000_000_000_u64 }))
    } else if what.starts_with("POST /storage/v1/xorbs/") {
        good(json!({ "was_inserted": true }))
    } else if what.starts_with("POST /storage/v1/shards") {
        good(json!({ "result": 1 }))
    } else if what.starts_with("POST /api/models/me/mine/commit/") {
        good(json!({ "success": true, "commitOid": "1", "commitUrl": format!("{url}/me/mine/commit/1") }))
    } else if what.starts_with("POST /api/models/me/mine/branch/") {
        good(json!({}))
    } else {
        (404, "", json!({ "error": "there is none" }).to_string())
    }
}

/// A hub that has the repository already.
fn held(is_private: bool, files: &'static [&'static str]) -> Hub {
    Hub::but(move |asked| {
        let siblings: Vec<Value> = files.iter().map(|name| json!({ "rfilename": name })).collect();
        let info = json!({ "id": "me/mine", "private": is_private, "siblings": siblings });
        let is_asked = ["GET /api/models/me/mine", "GET /api/models/me/mine/revision/main"].contains(&&*asked.what);
        is_asked.then(|| (200, "", info.to_string()))
    })
}

/// A folder for models, and the user's home.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A model in the folder `name`, and much else that lies there.
    fn model(&self, name: &str) -> PathBuf {
        for (file, bytes) in [
            ("model.safetensors", WEIGHTS),
            ("config.json", b"{}"),
            ("tokenizer.json", b"{}"),
            ("README.md", b"# Mine\n"),
            ("LICENSE", b"free\n"),
            ("optimizer.safetensors", WEIGHTS),
            ("rows.jsonl", b"{}\n"),
            ("events.jsonl", b"{}\n"),
            ("checkpoints/step-1/model.safetensors", WEIGHTS),
            (".env", b"HF_TOKEN=1\n"),
        ] {
            self.write(&format!("{name}/{file}"), bytes);
        }
        self.path(name)
    }

    /// `push` to `me/mine` on this hub.
    fn push(&self, from: &Path, url: &str, arguments: &[&str]) -> Command {
        let mut command = mpo_train();
        command.arg("push").arg(from).arg("me/mine").args(arguments);
        command.env("HF_ENDPOINT", url).env("HF_TOKEN", TOKEN).env("HF_HOME", self.path("home"));
        command.env("NO_PROXY", "127.0.0.1").env_remove("HF_TOKEN_PATH").stdin(Stdio::null());
        command
    }
}

const MODEL_FILES: [&str; 5] = ["LICENSE", "README.md", "config.json", "model.safetensors", "tokenizer.json"];

/// The names of the files in a commit.
fn names(commit: &Asked) -> Vec<String> {
    let paths = commit.lines().into_iter().filter_map(|line| Some(line["value"]["path"].as_str()?.to_owned()));
    paths.collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What the user reads of a failure, in which no token stands.
fn failure(output: &Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    assert!(!said.contains(TOKEN), "{said}");
    said
}

#[test]
fn a_model_becomes_one_commit_of_a_new_repository() {
    let (place, hub) = (Place::new(), Hub::new());
    let model = place.model("model");
    let mut push = place.push(&model, &format!("{}/", hub.url), &["--yes", "--private"]);
    push.assert()
        .success()
        .stdout(format!("{}/me/mine\n", hub.url))
        .stderr(contains("not uploaded: .env, checkpoints/"));
    let made = hub.one("POST /api/repos/create");
    assert_eq!(made.json(), json!({ "name": "mine", "organization": "me", "private": true, "type": "model" }));
    assert_eq!(made.token, format!("Bearer {TOKEN}"));
    let commit = hub.one("POST /api/models/me/mine/commit/main");
    assert_eq!(names(&commit), MODEL_FILES);
    let lines = commit.lines();
    assert_eq!((&lines[0]["key"], lines.len()), (&json!("header"), 6));
    // By `base64`.
    let card = json!({ "path": "README.md", "encoding": "base64", "content": "IyBNaW5lCg==" });
    assert_eq!((&lines[2]["key"], &lines[2]["value"]), (&json!("file"), &card));
    let weights = json!({ "path": "model.safetensors", "algo": "sha256", "oid": SHA256, "size": WEIGHTS.len() });
    assert_eq!((&lines[4]["key"], &lines[4]["value"]), (&json!("lfsFile"), &weights));
    // The bytes themselves went to the storage, with its own token, before the commit.
    let stored = hub.one("POST /storage/v1/xorbs/");
    assert_eq!(stored.token, "Bearer of-storage");
    assert!(stored.body.windows(WEIGHTS.len()).any(|bytes| bytes == WEIGHTS));
    assert!(hub.asked().last().unwrap().what.contains("/commit/"));
}

#[test]
fn a_branch_is_made_and_what_it_holds_is_told() {
    let (place, hub) = (Place::new(), held(false, &["config.json", "model-00001-of-00002.safetensors"]));
    let model = place.model("model");
    place
        .push(&model, &hub.url, &["--yes"])
        .assert()
        .success()
        .stderr(contains("warning: me/mine holds other weights too").and(contains("model-00001-of-00002.safetensors")));
    let (place, hub) = (
        Place::new(),
        Hub::but(|asked| {
            let is_asked = asked.what == "GET /api/models/me/mine";
            is_asked.then(|| (200, "", json!({ "id": "me/mine", "private": false }).to_string()))
        }),
    );
    let model = place.model("model");
    // The branch is made, and then looked at: this hub does not find it.
    let refused = place.push(&model, &hub.url, &["--yes", "--revision", "second"]).output().unwrap();
    assert!(failure(&refused).contains("hint: check owner and name, and --revision"));
    hub.one("POST /api/models/me/mine/branch/second");
    // A new repository has nothing to look at.
    let hub = Hub::new();
    let address = format!("{}/me/mine/tree/second\n", hub.url);
    place.push(&model, &hub.url, &["--yes", "--revision", "second"]).assert().success().stdout(address);
    hub.one("POST /api/models/me/mine/commit/second");
}

#[test]
fn what_should_be_private_never_goes_where_everyone_reads() {
    let place = Place::new();
    let model = place.model("model");
    let hub = held(false, &[]);
    let refused = place.push(&model, &hub.url, &["--yes", "--private"]).output().unwrap();
    assert!(failure(&refused).contains("me/mine: expected a private repository, got one that is public"));
    assert!(hub.asked().iter().all(|asked| asked.what.starts_with("GET")), "{:?}", hub.asked());
    let hub = held(true, &[]);
    place.push(&model, &hub.url, &["--yes", "--private"]).assert().success();
}

#[test]
fn a_dry_run_prints_what_would_go_and_asks_nobody() {
    let (place, hub) = (Place::new(), Hub::new());
    let model = place.model("model");
    let mut push = place.push(&model, &hub.url, &["--dry-run"]);
    let output = push.env_remove("HF_TOKEN").output().unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let listed: Vec<&str> = printed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed[2..7], MODEL_FILES, "{printed}");
    assert!(printed.lines().any(|line| line.starts_with(" model.safetensors") && line.ends_with(" 66 B")), "{printed}");
    let others = "not uploaded: .env, checkpoints/, events.jsonl, optimizer.safetensors, rows.jsonl";
    assert_eq!(printed.lines().last(), Some(others));
    assert!(hub.asked().is_empty());
}

#[test]
fn without_a_yes_or_a_token_nothing_is_sent() {
    let (place, hub) = (Place::new(), Hub::new());
    let model = place.model("model");
    let refused = failure(&place.push(&model, &hub.url, &[]).output().unwrap());
    assert!(refused.contains("expected --yes") && refused.contains("hint: look at what --dry-run prints"), "{refused}");
    let refused = place.push(&model, &hub.url, &["--yes"]).env_remove("HF_TOKEN").output().unwrap();
    let refused = failure(&refused);
    assert!(refused.contains("expected a token that may write, got none"), "{refused}");
    assert!(refused.contains("hint: make one with write access at http://127.0.0.1"), "{refused}");
    assert!(hub.asked().is_empty());
    // That of a login will do, and what stands in the variable is before it.
    place.write("home/token", "hf_of_a_login\n");
    place.push(&model, &hub.url, &["--yes"]).env("HF_TOKEN", "").assert().success();
    assert!(hub.asked().iter().any(|asked| asked.token == "Bearer hf_of_a_login"));
}

#[test]
fn every_refusal_of_the_hub_says_what_to_do() {
    let place = Place::new();
    let model = place.model("model");
    let (info, create) = ("GET /api/models/me/mine", "POST /api/repos/create");
    let (ahead, commit) = ("POST /api/models/me/mine/preupload/main", "POST /api/models/me/mine/commit/main");
    for (at, status, headers, hint) in [
        (info, 401, "", "the token is not known there"),
        (create, 403, "", "the token may not write there"),
        (create, 404, "", "check HF_ENDPOINT, and that the owner is there"),
        (ahead, 404, "", "check owner and name"),
        (commit, 409, "", "somebody else changed the repository meanwhile"),
        (commit, 413, "", "the server takes no files as large as these"),
        (commit, 429, "Retry-After: 7\r\n", "give the same command again in 7 s"),
        (commit, 503, "", "that is the server's fault"),
    ] {
        let hub =
            Hub::but(move |asked| (asked.what == at).then(|| (status, headers, json!({ "error": "no" }).to_string())));
        let said = failure(&place.push(&model, &hub.url, &["--yes"]).output().unwrap());
        let expected = format!("error: me/mine: expected {} to take the model, got: ", hub.url);
        assert!(said.contains(&expected), "{at} {status}: {said}");
        assert!(said.contains(&format!("hint: {hint}")), "{at} {status}: {said}");
    }
}

#[test]
fn a_network_that_is_down_is_told() {
    let place = Place::new();
    let model = place.model("model");
    // Nobody listens where somebody did.
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let said = failure(&place.push(&model, &url, &["--yes"]).output().unwrap());
    assert!(said.contains("hint: check the network and HF_ENDPOINT"), "{said}");
    let said = failure(&place.push(&model, "no address", &["--yes"]).output().unwrap());
    assert!(said.contains("hint: check"), "{said}");
    // The storage of large files is another server.
    let hub = Hub::but(|asked| asked.what.starts_with("POST /storage/").then(|| (403, "", String::new())));
    let said = failure(&place.push(&model, &hub.url, &["--yes"]).output().unwrap());
    assert!(said.contains("hint: check the network") && said.contains("not sent a second time"), "{said}");
    assert!(!hub.asked().iter().any(|asked| asked.what.contains("/commit/")));
}

#[test]
fn a_folder_that_is_no_model_stays_here() {
    let (place, hub) = (Place::new(), Hub::new());
    let refused = |from: &Path| failure(&place.push(from, &hub.url, &["--yes"]).output().unwrap());
    place.write("run/config.yaml", "a: 1\n");
    assert!(refused(&place.path("run")).contains("expected a model or an adapter, got a folder without config.json"));
    assert!(refused(&place.path("nowhere")).contains("hint: check the path"));
    let both = place.model("both");
    place.write("both/adapter_config.json", "{}");
    assert!(refused(&both).contains("expected a model or an adapter, got both"));
    let half = place.model("half");
    fs::write(half.join("model.safetensors"), &WEIGHTS[..WEIGHTS.len() - 1]).unwrap();
    assert!(refused(&half).contains("model.safetensors"));
    let mut push = mpo_train();
    let said = push.arg("push").arg(&half).args(["mine", "--yes"]).output().unwrap();
    assert!(failure(&said).contains("error: mine: expected the owner/name of a repository"));
    assert!(hub.asked().is_empty());
}

#[test]
fn of_a_run_its_model_goes_and_of_an_adapter_what_is_its_own() {
    let (place, hub) = (Place::new(), Hub::new());
    write_rows(&place.path("rows.jsonl"), &rows());
    let run = place.path("run");
    let mut whole = train(&binary::model(), &place.path("rows.jsonl"), &run);
    whole.args(["--epochs", "1", "--adapter", "lora"]).assert().success();
    let base = "warning: adapter_config.json names its base by a folder of this machine";
    place.push(&run, &hub.url, &["--yes"]).assert().success().stderr(contains(base));
    let sent = names(&hub.one("POST /api/models/me/mine/commit/main"));
    assert!(sent.contains(&"adapter_model.safetensors".into()) && sent.contains(&"README.md".into()), "{sent:?}");
    let strange = sent.iter().find(|name| name.ends_with(".jsonl") || name.contains('/') || name.contains("optimizer"));
    assert_eq!(strange, None);
    // One byte of the weights is another.
    let weights = run.join("model/adapter_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let hub = Hub::new();
    let said = failure(&place.push(&run, &hub.url, &["--yes"]).output().unwrap());
    assert!(said.contains("adapter_model.safetensors"), "{said}");
    assert!(hub.asked().is_empty());
}
