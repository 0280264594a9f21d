//! `mpo-train serve`: a model, and adapters of it, behind OpenAI's protocol.

use std::env;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use mpo_chat::{ChatError, ModelFolder};
use mpo_models::{CausalLm, Checkpoint, ModelError};
use mpo_progress::Progress as _;
use mpo_serve::{Limits, LocalGenerator, LocalVoice, Served, ServerKey, Voice, serve};
use serde::Serialize;

use crate::arguments::{HarmArguments, ModelArguments, answer_length, bytes, positive};
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  mpo-train serve runs/qwen/model
  mpo-train serve Qwen/Qwen2.5-0.5B-Instruct --adapter safe=runs/lora/model --adapter other=owner/adapter --port 8080
  SERVE_KEY=… mpo-train serve runs/qwen/model --name qwen --host 0.0.0.0 --api-key SERVE_KEY
  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{\"model\": \"runs/qwen/model\", \"messages\": [{\"role\": \"user\", \"content\": \"How do I bake bread?\"}]}'";

/// Tokens of the cache that nobody asked for, if the longest request takes no more.
const CACHE_TOKENS: usize = 16_384;

/// Serve a model over HTTP, as OpenAI's API
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("model", |model| model.long(None::<&str>).index(1).value_name("MODEL")))]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Name by which requests ask for the model [default: as it is given]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    harm: HarmArguments,
    /// Adapter of the model, or of its base, and the name by which requests ask for it; may be given several times
    #[arg(long = "adapter", value_name = "NAME=DIR", conflicts_with = "harm_classifier")]
    adapters: Vec<NamedAdapter>,
    /// Address to listen on; one that other machines reach wants --api-key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 8000)]
    port: u16,
    /// Environment variable with a key that requests must carry (Authorization: Bearer KEY)
    #[arg(long, value_name = "VARIABLE")]
    api_key: Option<String>,
    /// Requests answered at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive)]
    batch_size: usize,
    /// Longest prompt, in tokens
    #[arg(long, value_name = "N", default_value = "4096", value_parser = answer_length)]
    max_prompt_tokens: usize,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value = "2048", value_parser = answer_length)]
    max_new_tokens: usize,
    /// Tokens of all prompts and answers at once [default: 16384, or as many as the longest request takes]
    #[arg(long, value_name = "N", value_parser = answer_length)]
    cache_tokens: Option<usize>,
    /// Requests that wait at most; others are refused with status 429
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive)]
    max_waiting: usize,
    /// Longest body of a request
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = bytes)]
    max_body: u64,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// A line on stderr for each request, also where that is no terminal
    #[arg(long)]
    verbose: bool,
    /// Print lines of JSON: {event: listening, url, models}, then {event: served, status, …} for each request
    #[arg(long)]
    json: bool,
}

/// An adapter and its name.
#[derive(Debug, Clone)]
struct NamedAdapter {
    name: String,
    folder: String,
}

impl FromStr for NamedAdapter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
                Ok(Self { name: name.into(), folder: crate::arguments::model(folder)? })
            }
            _ => Err(format!("expected NAME=DIR, got {text}")),
        }
    }
}

/// An address to listen on; only one name is known without asking anybody.
fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        text => text.parse().map_err(|_| format!("expected an address such as 127.0.0.1, ::1 or 0.0.0.0, got {text}")),
    }
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Listening { url: &'a str, models: &'a [&'a str] },
    Served(&'a Served),
}

pub(crate) fn run(arguments: &ServeArguments, quiet: bool) -> Result<(), Failure> {
    let key = key(arguments)?;
    // A port that is taken is heard of before minutes go into weights.
    let listener = listen(SocketAddr::new(arguments.host, arguments.port))?;
    let session = Session::new(arguments.model.device, quiet)?;
    let (voices, models) = load(arguments, &session)?;
    let limits = Limits {
        body_bytes: usize::try_from(arguments.max_body).unwrap_or(usize::MAX),
        prompt_tokens: arguments.max_prompt_tokens,
        new_tokens: arguments.max_new_tokens,
        waiting: arguments.max_waiting,
        time: Duration::from_secs(arguments.timeout),
    };
    let cache_tokens = cache_tokens(arguments, &voices)?;
    let generator = Box::new(LocalGenerator::new(models, arguments.batch_size, cache_tokens));
    session.catch_interrupts_with("finishing the answers under way")?;
    let address = listener.local_addr().map_err(|error| not_listening(&arguments.host, &error))?;
    let url = format!("http://{address}/v1");
    let names: Vec<&str> = voices.iter().map(|(name, _)| &**name).collect();
    session.note(&format_args!("listening on {url} for {}", names.join(", ")));
    if arguments.json {
        output::json_line(&Line::Listening { url: &url, models: &names })?;
    }
    let tells = arguments.verbose || io::stderr().is_terminal();
    let mut on_served = |served: &Served| {
        if arguments.json {
            // Whoever read the lines has had enough of them; clients are answered all the same.
            _ = output::json_line(&Line::Served(served));
        }
        if tells {
            session.note(&line(served));
        }
    };
    let served = serve(listener, voices, generator, limits, key, &session, &mut on_served);
    served.map_err(|error| Failure::new(error.to_string(), "start the server again"))?;
    Err(Failure::Stopped)
}

fn key(arguments: &ServeArguments) -> Result<Option<ServerKey>, Failure> {
    let Some(variable) = &arguments.api_key else {
        if arguments.host.is_loopback() {
            return Ok(None);
        }
        let message = format!("--host {}: expected a key for requests from other machines, got none", arguments.host);
        return Err(Failure::new(message, "put one into an environment variable and name it: --api-key VARIABLE"));
    };
    let key = env::var(variable).ok();
    let key = key.as_deref().map(str::trim).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| ChatError::NoKey(variable.clone()))?;
    Ok(Some(ServerKey::new(key)))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| not_listening(&address, &error))
}

fn not_listening(address: &dyn std::fmt::Display, error: &io::Error) -> Failure {
    Failure::new(
        format!("{address}: expected to listen there, got: {error}"),
        "name another --port, or 0 for a free one, and a --host of this machine",
    )
}

type Voices = Vec<(String, Arc<dyn Voice>)>;

/// The model and its adapters, as they speak and as they compute, in the same order.
fn load(arguments: &ServeArguments, session: &Session) -> Result<(Voices, Vec<CausalLm>), Failure> {
    let template = arguments.model.template_options();
    let open = |model: &str| ModelFolder::open_to_ask(model, &template, session);
    let folder = open(&arguments.model.model)?;
    let mut adapters = vec![];
    for NamedAdapter { name, folder: adapter } in &arguments.adapters {
        let adapter = open(adapter)?;
        check_base(name, &adapter, &folder)?;
        adapters.push((name, adapter));
    }
    let guard = arguments.harm.guard(&folder, None, session)?;
    let mut models = vec![arguments.model.load(&folder, session)?];
    let mut voices: Voices = vec![];
    let mut add = |name: &str, voice: LocalVoice| {
        if voices.iter().any(|(known, _)| known == name) {
            let message = format!("expected models of different names, got {name} twice");
            return Err(Failure::new(message, "--name and --adapter NAME=DIR name them"));
        }
        voices.push((name.to_owned(), Arc::new(voice)));
        Ok(())
    };
    let voice = LocalVoice::new(folder);
    let voice = match guard {
        None => voice,
        Some(guard) => voice.guarded(guard, models[0].clone()),
    };
    add(arguments.name.as_ref().unwrap_or(&arguments.model.model), voice)?;
    for (name, adapter) in adapters {
        models.extend(adapter.load_beside(&models[0], session)?);
        add(name, LocalVoice::new(adapter))?;
    }
    Ok((voices, models))
}

/// An adapter that is to stand beside another's base must be one of that base.
fn check_base(name: &str, adapter: &ModelFolder, model: &ModelFolder) -> Result<(), Failure> {
    if adapter.adapter.is_none() {
        let message = format!("--adapter {name}={}: expected an adapter, got a model", adapter.path.display());
        return Err(Failure::new(message, "serve it alone: mpo-train serve DIR"));
    }
    let [expected, got] = [model, adapter].map(ModelFolder::base_dir);
    let hash = |dir| Checkpoint::open(dir).and_then(|base| base.content_hash()).map_err(ModelError::from);
    // Copies of one model are one.
    if expected.canonicalize().ok() == got.canonicalize().ok() || hash(expected)? == hash(got)? {
        return Ok(());
    }
    let (expected, got) = (expected.display(), got.display());
    Err(Failure::new(
        format!("--adapter {name}: expected an adapter of {expected}, got one of {got}"),
        "serve it with its own base, on another --port",
    ))
}

/// Room for the longest request at least.
fn cache_tokens(arguments: &ServeArguments, voices: &Voices) -> Result<usize, Failure> {
    let limit = arguments.max_prompt_tokens + arguments.max_new_tokens;
    let lengths = voices.iter().map(|(_, voice)| voice.longest().map_or(limit, |longest| longest.min(limit)));
    let longest = lengths.max().unwrap_or(limit);
    match arguments.cache_tokens {
        None => Ok(longest.max(CACHE_TOKENS)),
        Some(tokens) if tokens >= longest => Ok(tokens),
        Some(tokens) => Err(Failure::new(
            format!("--cache-tokens: expected room for the longest request, {longest}, got {tokens}"),
            "lower --max-prompt-tokens or --max-new-tokens, or give more --cache-tokens",
        )),
    }
}

/// What is told of a request, in a line.
fn line(served: &Served) -> String {
    let Served { method, path, status, model, prompt_tokens, completion_tokens, seconds, problem } = served;
    let mut line = format!("{method} {path} ");
    match status {
        Some(status) => line += &status.to_string(),
        None => line += "left",
    }
    if let Some(model) = model {
        line += &format!(" {model} {prompt_tokens}+{completion_tokens} tokens");
    }
    line += &format!(" {seconds:.2} s");
    if let Some(problem) = problem {
        line += &format!(": {problem}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_line() {
        let served = Served {
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            status: Some(200),
            model: Some("qwen".into()),
            prompt_tokens: 12,
            completion_tokens: 34,
            seconds: 0.5,
            problem: None,
        };
        assert_eq!(line(&served), "POST /v1/chat/completions 200 qwen 12+34 tokens 0.50 s");
        let problem = Some("stop: expected a string".into());
        let refused = Served { status: Some(400), model: None, problem, ..served.clone() };
        assert_eq!(line(&refused), "POST /v1/chat/completions 400 0.50 s: stop: expected a string");
        assert_eq!(line(&Served { status: None, model: None, ..served }), "POST /v1/chat/completions left 0.50 s");
    }

    #[test]
    fn names_and_addresses() {
        let adapter: NamedAdapter = "safe=runs/a=b".parse().unwrap();
        assert_eq!((&*adapter.name, &*adapter.folder), ("safe", "runs/a=b"));
        for wrong in ["safe", "=runs", "safe="] {
            assert!(wrong.parse::<NamedAdapter>().unwrap_err().contains("NAME=DIR"), "{wrong}");
        }
        assert!(address("localhost").unwrap().is_loopback() && address("::1").unwrap().is_loopback());
        assert!(!address("0.0.0.0").unwrap().is_loopback());
        assert!(address("example.com").is_err());
    }
}
