//! Who judges: what may be asked for, and the judge at work, which keeps its replies.

use std::time::Duration;

use clap::Args;
use mpo_chat::{CachedChat, ChatModel, Endpoint, LocalChat, ModelFolder};
use mpo_data::TemplateOptions;
use mpo_eval::{ChatJudge, JUDGES, Judge, JudgeDefinition, JudgeSettings, Means, REPLY, note_not_as_written};
use mpo_models::CausalLm;
use mpo_trainer::RunFolder;

use crate::arguments::{model, positive};
use crate::failure::Failure;
use crate::session::Session;

/// Who judges unless somebody else is named.
const DEFAULT: &str = "refusal";

/// Who judges and how.
#[derive(Debug, Args)]
pub(in crate::commands) struct JudgeArguments {
    #[arg(long, value_name = "JUDGE", default_value = DEFAULT, value_parser = model, help = judge_help())]
    judge: String,
    /// The judge's name at its endpoint
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    /// Environment variable with the endpoint's API key [default: OPENAI_API_KEY, if it is set, for https://api.openai.com alone]
    #[arg(long, value_name = "VARIABLE")]
    judge_key: Option<String>,
    /// Requests to the endpoint at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = positive)]
    judge_concurrency: usize,
    /// Requests to the endpoint in a minute at most
    #[arg(long, value_name = "N")]
    judge_requests_per_minute: Option<u32>,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    judge_timeout: u64,
}

fn judge_help() -> String {
    let (last, others) = JUDGES.split_last().expect("there are judges");
    let others: Vec<&str> = others.iter().map(|judge| judge.help).collect();
    format!("Who judges: {}, or {}", others.join(", "), last.help)
}

impl JudgeArguments {
    /// The kind of judge that is asked for.
    pub(in crate::commands) fn definition(&self) -> &'static JudgeDefinition {
        JudgeDefinition::of(&self.judge)
    }

    /// Whether another judge is named than the one that always judges.
    pub(in crate::commands) fn is_named(&self) -> bool {
        self.judge != DEFAULT || self.judge_model.is_some() || self.judge_key.is_some()
    }

    fn settings(&self) -> JudgeSettings {
        JudgeSettings {
            asked: self.judge.clone(),
            model: self.judge_model.clone(),
            key_variable: self.judge_key.clone(),
            concurrency: self.judge_concurrency,
            requests_per_minute: self.judge_requests_per_minute,
            timeout: Duration::from_secs(self.judge_timeout),
        }
    }
}

/// A judge that is ready to be asked.
pub(in crate::commands) struct Ready(Means<Box<LocalJudge>>);

/// A model on this machine that judges.
struct LocalJudge {
    name: String,
    folder: ModelFolder,
    model: CausalLm,
    hash: String,
}

impl LocalJudge {
    fn load(name: String, session: &Session) -> Result<Self, Failure> {
        // --template is for the model evaluated. What is judged never becomes control tokens.
        let folder = ModelFolder::open(&name, &TemplateOptions::default(), session)?;
        let hash = folder.content_hash(session)?;
        let model = folder.load_frozen(&session.device, session)?;
        Ok(Self { name, folder, model, hash })
    }
}

impl Ready {
    /// What the command line asks for; a key that is missing is heard of now.
    pub(in crate::commands) fn new(arguments: &JudgeArguments, session: &Session) -> Result<Self, Failure> {
        Ok(Self(match arguments.definition().ready(&arguments.settings())? {
            Means::Phrases(judge) => Means::Phrases(judge),
            Means::Endpoint(options) => Means::Endpoint(options),
            Means::Local(name) => Means::Local(Box::new(LocalJudge::load(name, session)?)),
        }))
    }

    /// Who judges and how, as far as verdicts depend on it.
    pub(in crate::commands) fn identity(&self) -> String {
        match &self.0 {
            Means::Phrases(judge) => judge.asked.into(),
            Means::Endpoint(options) => format!("{} at {}", options.model, options.shown_url()),
            Means::Local(local) => format!("{} ({})", local.name, &local.hash[..local.hash.len().min(16)]),
        }
    }

    /// The judge at work, whose replies are kept in a folder of ours.
    pub(in crate::commands) fn open<'a>(
        &'a self,
        held: &RunFolder,
        session: &'a Session,
    ) -> Result<Box<dyn Judge + 'a>, Failure> {
        match &self.0 {
            Means::Phrases(judge) => Ok(Box::new(*judge)),
            Means::Endpoint(options) => {
                let endpoint = Endpoint::new(options.clone())?;
                asking(endpoint, &options.model, held, session)
            }
            Means::Local(local) => {
                let options = local.folder.generate_options(REPLY);
                let chat = LocalChat::new(&local.folder, &local.model, &local.hash, options, session);
                asking(chat, &local.name, held, session)
            }
        }
    }
}

/// A judge that asks `chat`.
fn asking<'a>(
    chat: impl ChatModel + 'a,
    name: &str,
    held: &RunFolder,
    session: &Session,
) -> Result<Box<dyn Judge + 'a>, Failure> {
    let file = "judge.jsonl";
    let cache = held.path().join(file);
    held.claim(&cache)?;
    let chat = CachedChat::open(chat, &cache)?;
    note_not_as_written(file, &chat, session);
    Ok(Box::new(ChatJudge::new(chat, name)))
}
