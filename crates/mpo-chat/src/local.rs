//! A model of ours as one that answers conversations: the one evaluated, or a judge.

use std::cell::Cell;

use mpo_data::Message;
use mpo_models::{CausalLm, GenerateOptions, Generated, generate};
use mpo_progress::Progress;

use crate::error::ChatError;
use crate::folder::ModelFolder;
use crate::harm::HarmGuard;
use crate::model::{ChatModel, Listener, Reply, Usage};

/// What makes a prompt and its answer fit.
pub const SHORTER: &str = "shorten the prompt, or lower --max-new-tokens";

/// A loaded model.
pub struct LocalChat<'a> {
    folder: &'a ModelFolder,
    model: &'a CausalLm,
    hash: &'a str,
    options: GenerateOptions,
    is_raw: bool,
    guard: Option<&'a HarmGuard>,
    progress: &'a dyn Progress,
    /// Whether the user was told of prompts that are too long.
    told: Cell<bool>,
}

impl<'a> LocalChat<'a> {
    /// A model whose content hash is `hash`. `progress` is told of prompts that are too long.
    pub fn new(
        folder: &'a ModelFolder,
        model: &'a CausalLm,
        hash: &'a str,
        options: GenerateOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { folder, model, hash, options, is_raw: false, guard: None, progress, told: Cell::new(false) }
    }

    /// The same where, if `is_raw`, the model is given the bare text of a single message, without its chat template.
    #[must_use]
    pub fn raw(self, is_raw: bool) -> Self {
        Self { is_raw, ..self }
    }

    /// The same with a note behind the prompts in which `guard` finds harm; raw texts are none of its.
    #[must_use]
    pub fn guarded(self, guard: Option<&'a HarmGuard>) -> Self {
        Self { guard, ..self }
    }

    /// Who looks for harm in what the model is asked.
    fn guard(&self) -> Option<&'a HarmGuard> {
        self.guard.filter(|_| !self.is_raw)
    }

    fn encode(&self, conversation: &[Message]) -> Result<Vec<u32>, ChatError> {
        match conversation {
            [message] if self.is_raw => self.folder.encode_text(&message.content),
            _ => self.folder.encode_prompt(conversation),
        }
    }
}

impl ChatModel for LocalChat<'_> {
    fn identity(&self) -> String {
        let GenerateOptions { max_new_tokens, stop_ids, sampling, batch_size: _ } = &self.options;
        let template = self.folder.template();
        let guard = self.guard().map(|guard| format!(" {}", guard.identity())).unwrap_or_default();
        format!(
            "{} {template} raw {} max_new_tokens {max_new_tokens} stop {stop_ids:?} {sampling:?}{guard}",
            self.hash, self.is_raw
        )
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        let mut prompts = vec![];
        // Which conversation each prompt is of.
        let mut numbers = vec![];
        for (number, conversation) in conversations.iter().enumerate() {
            match self.encode(conversation)? {
                prompt if self.folder.is_in_reach(prompt.len()) => {
                    prompts.push(prompt);
                    numbers.push(number);
                }
                prompt => {
                    let reason =
                        format!("a prompt of {} tokens is far beyond what the model was made for", prompt.len());
                    listener.reply(number, &Reply::Missing { reason });
                }
            }
        }
        if let Some(guard) = self.guard() {
            guard.note(self.model, &mut prompts, &|| listener.is_stopped())?;
        }
        // Said once: it is so in every language.
        if !self.told.get() {
            let lengths = prompts.iter().map(|prompt| prompt.len() + self.options.max_new_tokens);
            self.told.set(!self.folder.check_positions(lengths, SHORTER, self.progress)?);
        }
        let mut decoded = Ok(());
        generate(self.model, &prompts, &self.options, |event| {
            if let Generated::Answer { prompt, answer } = event {
                match self.folder.answer_text(&prompts[prompt], &answer.ids) {
                    Ok(Ok(text)) => {
                        let reply = Reply::Answer {
                            text,
                            complete: answer.complete,
                            usage: Usage {
                                prompt_tokens: prompts[prompt].len() as u64,
                                completion_tokens: answer.ids.len() as u64,
                            },
                        };
                        listener.reply(numbers[prompt], &reply);
                    }
                    Ok(Err(reason)) => {
                        let reason = reason.into();
                        listener.reply(numbers[prompt], &Reply::Missing { reason });
                    }
                    Err(error) => decoded = Err(error),
                }
            }
            decoded.is_ok() && !listener.is_stopped()
        })?;
        decoded?;
        if listener.is_stopped() {
            return Err(ChatError::Stopped);
        }
        Ok(())
    }
}
