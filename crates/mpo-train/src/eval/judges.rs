//! Who judges: the refusal heuristic, an endpoint, or a model of ours; the latter two with a cache.

use std::cell::Cell;
use std::time::Duration;

use mpo_data::{Message, TemplateOptions};
use mpo_eval::{
    ApiKey, CachedChat, ChatError, ChatJudge, ChatModel, Endpoint, EndpointOptions, EvalError, Judge, Listener,
    RefusalJudge, Usage,
};
use mpo_models::CausalLm;
use mpo_trainer::RunFolder;

use super::subject::LocalChat;
use crate::cli::{EvalArguments, JudgeChoice};
use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::session::Session;

/// Tokens of a judge's reply: room for a translation, or for reasons and a grade.
const REPLY: usize = 512;

/// A judge before it is asked anything.
pub(crate) enum Judges {
    Refusal,
    Endpoint(EndpointOptions),
    Local(Box<LocalJudge>),
}

/// A model of ours that judges.
pub(crate) struct LocalJudge {
    name: String,
    folder: ModelFolder,
    model: CausalLm,
    hash: String,
}

impl Judges {
    /// What the command line asks for; a key that is missing is heard of now.
    pub(crate) fn new(arguments: &EvalArguments, session: &Session) -> Result<Self, Failure> {
        Ok(match &arguments.judge {
            JudgeChoice::Refusal => Self::Refusal,
            JudgeChoice::Endpoint(url) => Self::Endpoint(endpoint(url, arguments)?),
            JudgeChoice::Model(name) => {
                // --template is for the model evaluated. What is judged never becomes control tokens.
                let folder = ModelFolder::open(name, &TemplateOptions::default(), session)?;
                let hash = folder.content_hash(session)?;
                let model = folder.load_frozen(session)?;
                Self::Local(Box::new(LocalJudge { name: name.clone(), folder, model, hash }))
            }
        })
    }

    /// Who judges and how, as far as verdicts depend on it.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Refusal => "refusal".into(),
            Self::Endpoint(options) => format!("{} at {}", options.model, options.shown_url()),
            Self::Local(local) => format!("{} ({})", local.name, &local.hash[..local.hash.len().min(16)]),
        }
    }

    /// The judge at work, whose replies are kept in a folder of ours.
    pub(crate) fn open<'a>(&'a self, held: &RunFolder, session: &'a Session) -> Result<OpenJudge<'a>, Failure> {
        let chat = match self {
            Self::Refusal => return Ok(OpenJudge { chat: None }),
            Self::Endpoint(options) => {
                let endpoint = Endpoint::new(options.clone()).map_err(EvalError::from)?;
                (options.model.clone(), Chat::Endpoint(Box::new(endpoint)))
            }
            Self::Local(local) => {
                let chat = LocalChat {
                    folder: &local.folder,
                    model: &local.model,
                    hash: &local.hash,
                    options: local.folder.generate_options(REPLY),
                    raw: false,
                    session,
                    told: Cell::new(false),
                };
                (local.name.clone(), Chat::Local(chat))
            }
        };
        let (name, chat) = chat;
        let cache = held.path().join("judge.jsonl");
        held.claim(&cache)?;
        let chat = CachedChat::open(chat, &cache).map_err(EvalError::from)?;
        Ok(OpenJudge { chat: Some((name, chat)) })
    }
}

/// The endpoint that the command line names.
fn endpoint(url: &str, arguments: &EvalArguments) -> Result<EndpointOptions, Failure> {
    let mut options = EndpointOptions {
        max_tokens: REPLY,
        concurrency: arguments.judge_concurrency,
        requests_per_minute: arguments.judge_requests_per_minute,
        timeout: Duration::from_secs(arguments.judge_timeout),
        ..EndpointOptions::new(url, arguments.judge_model.clone().unwrap_or_default())
    };
    if options.model.is_empty() {
        return Err(Failure::new(
            format!("{}: expected the judge's name there, got none", options.shown_url()),
            "name it with --judge-model",
        ));
    }
    options.api_key = match &arguments.judge_key {
        Some(variable) => Some(ApiKey::from_env(variable).map_err(EvalError::from)?),
        // A secret goes to nobody that it was not meant for.
        None if options.is_openai() => ApiKey::from_env("OPENAI_API_KEY").ok(),
        None => None,
    };
    // An address that is none is heard of now as well.
    Endpoint::new(options.clone()).map_err(EvalError::from)?;
    Ok(options)
}

/// A judge at work.
pub(crate) struct OpenJudge<'a> {
    /// None: the refusal heuristic.
    chat: Option<(String, CachedChat<Chat<'a>>)>,
}

impl OpenJudge<'_> {
    /// Calls `f` with the judge.
    pub(crate) fn with<T>(&mut self, f: impl FnOnce(&mut dyn Judge) -> T) -> T {
        match &mut self.chat {
            None => f(&mut RefusalJudge),
            Some((name, chat)) => f(&mut ChatJudge::new(chat, name.clone())),
        }
    }

    /// The chat model that judges, with its name; none for the heuristic.
    pub(crate) fn chat(&mut self) -> Option<(&str, &mut dyn ChatModel)> {
        let (name, chat) = self.chat.as_mut()?;
        Some((name, chat))
    }

    /// Damaged lines of the file of its replies.
    pub(crate) fn damaged(&self) -> &[usize] {
        self.chat.as_ref().map_or(&[], |(_, chat)| chat.damaged())
    }

    /// How many lines of the file of its replies another program wrote.
    pub(crate) fn rewritten(&self) -> usize {
        self.chat.as_ref().map_or(0, |(_, chat)| chat.rewritten())
    }

    /// What the judge's replies have taken, whenever they were paid for.
    pub(crate) fn paid(&self) -> Usage {
        self.chat.as_ref().map_or(Usage::default(), |(_, chat)| chat.usage())
    }
}

/// Either kind of chat model.
enum Chat<'a> {
    Endpoint(Box<Endpoint>),
    Local(LocalChat<'a>),
}

impl ChatModel for Chat<'_> {
    fn identity(&self) -> String {
        match self {
            Self::Endpoint(chat) => chat.identity(),
            Self::Local(chat) => chat.identity(),
        }
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        match self {
            Self::Endpoint(chat) => chat.answer(conversations, listener),
            Self::Local(chat) => chat.answer(conversations, listener),
        }
    }

    fn known_to_answer(&mut self) {
        match self {
            Self::Endpoint(chat) => chat.known_to_answer(),
            Self::Local(chat) => chat.known_to_answer(),
        }
    }
}
