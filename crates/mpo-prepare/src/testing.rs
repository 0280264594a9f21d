//! A model that is told what to say, and a folder to work in.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mpo_chat::{ChatError, ChatModel, Listener, Reply, Usage};
use mpo_data::Message;
use mpo_models::Sampling;
use mpo_trainer::{Identity, Kind, RunFolder};
use tempfile::TempDir;

use crate::subject::Subject;

/// Says to a prompt what it is told to, or "Boil it."; stops after so many answers.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) says: BTreeMap<&'static str, &'static str>,
    /// Every prompt that it was asked.
    pub(crate) asked: RefCell<Vec<String>>,
    pub(crate) stop_after: Option<usize>,
}

impl Subject for Scripted {
    fn chat(&self, max_new_tokens: usize, sampling: Option<Sampling>) -> Box<dyn ChatModel + '_> {
        Box::new(Script { of: self, identity: format!("{max_new_tokens} {sampling:?}") })
    }
}

struct Script<'a> {
    of: &'a Scripted,
    identity: String,
}

impl ChatModel for Script<'_> {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        for (number, conversation) in conversations.iter().enumerate() {
            if self.of.stop_after.is_some_and(|most| self.of.asked.borrow().len() >= most) {
                return Err(ChatError::Stopped);
            }
            let asked = &conversation[conversation.len() - 1].content;
            self.of.asked.borrow_mut().push(asked.clone());
            // A request for a translation ends with the text.
            let said = self.of.says.iter().find(|(prompt, _)| asked.ends_with(*prompt));
            let text = said.map_or("Boil it.", |(_, says)| says).to_owned();
            let usage = Usage { prompt_tokens: 3, completion_tokens: 2 };
            listener.reply(number, &Reply::Answer { text, complete: true, usage });
        }
        Ok(())
    }
}

/// A folder of ours, for as long as the first is kept.
pub(crate) fn held() -> (TempDir, RunFolder) {
    let dir = tempfile::tempdir().unwrap();
    let held = RunFolder::enter(&dir.path().join("rows"), Kind::Preparation, Identity::default()).unwrap();
    held.keep();
    (dir, held)
}
