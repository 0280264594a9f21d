//! A model of ours as one that answers conversations: the one evaluated, or a judge.

use std::cell::Cell;

use indicatif::ProgressBar;
use mpo_data::Message;
use mpo_eval::{ChatError, ChatModel, Listener, Progress, Reply, Usage};
use mpo_models::{CausalLm, GenerateOptions, Generated, generate};

use crate::failure::Failure;
use crate::generate::SHORTER;
use crate::model_folder::ModelFolder;
use crate::session::Session;

/// A loaded model.
pub(crate) struct LocalChat<'a> {
    pub(crate) folder: &'a ModelFolder,
    pub(crate) model: &'a CausalLm,
    /// Everything about the model that enters its answers.
    pub(crate) hash: &'a str,
    pub(crate) options: GenerateOptions,
    /// Whether the model is given the bare text, without its chat template.
    pub(crate) raw: bool,
    pub(crate) session: &'a Session,
    /// Whether the user was told of prompts that are too long.
    pub(crate) told: Cell<bool>,
}

impl LocalChat<'_> {
    fn encode(&self, conversation: &[Message]) -> Result<Vec<u32>, Failure> {
        match (self.raw, conversation) {
            (true, [message]) => self.folder.encode_text(&message.content),
            _ => self.folder.encode_prompt(conversation),
        }
    }
}

impl ChatModel for LocalChat<'_> {
    fn identity(&self) -> String {
        let GenerateOptions { max_new_tokens, stop_ids, sampling, batch_size: _ } = &self.options;
        let template = self.folder.template();
        format!(
            "{} {template} raw {} max_new_tokens {max_new_tokens} stop {stop_ids:?} {sampling:?}",
            self.hash, self.raw
        )
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        let said = |failure: Failure| ChatError::Model(failure.to_string());
        let mut prompts = vec![];
        // Which conversation each prompt is of.
        let mut numbers = vec![];
        for (number, conversation) in conversations.iter().enumerate() {
            match self.encode(conversation).map_err(said)? {
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
        // Said once: it is so in every language.
        if !self.told.get() {
            let lengths = prompts.iter().map(|prompt| prompt.len() + self.options.max_new_tokens);
            let fit = self.folder.check_positions(lengths, SHORTER, self.session);
            self.told.set(!fit.map_err(said)?);
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
                    Err(error) => decoded = Err(said(error)),
                }
            }
            decoded.is_ok() && listener.go_on()
        })
        .map_err(|error| said(error.into()))?;
        decoded?;
        match listener.go_on() {
            true => Ok(()),
            false => Err(ChatError::Stopped),
        }
    }
}

/// A bar, and the user who may press Ctrl-C.
pub(crate) struct Bar<'a> {
    bar: ProgressBar,
    session: &'a Session,
}

impl<'a> Bar<'a> {
    pub(crate) fn new(session: &'a Session, what: &'static str, length: usize) -> Self {
        Self { bar: session.bar(what, length), session }
    }
}

impl Progress for Bar<'_> {
    fn done(&self) {
        self.bar.inc(1);
    }

    fn add(&self, more: usize) {
        self.bar.inc_length(more as u64);
    }

    fn go_on(&self) -> bool {
        !self.session.stopped()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use std::fs;

    use mpo_data::TemplateChoice;
    use mpo_trainer::DeviceChoice;

    use super::*;

    #[test]
    fn a_template_in_a_file_is_known_by_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chat.jinja");
        let session = Session::new(DeviceChoice::Flex, true).unwrap();
        let miniature = concat!(env!("CARGO_MANIFEST_DIR"), "/miniature/model");
        let template = |end: &str| {
            let text = "{% for message in messages %}{{ message.content }}{% endfor %}";
            fs::write(&file, format!("{text}{end}")).unwrap();
            let choice = TemplateChoice::File(file.clone());
            let folder = ModelFolder::open(miniature, &choice.into(), &session).unwrap();
            folder.template()
        };
        let first = template("");
        assert_ne!(template("!"), first);
        assert_eq!(template(""), first);
    }
}
