//! A model that is told what to say, and a folder to work in.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mpo_chat::{ChatError, ChatModel, Listener, Reply, Usage};
use mpo_data::Message;
use mpo_models::Sampling;
use mpo_trainer::{Identity, Kind, RunFolder};
use tempfile::TempDir;

use crate::subject::{AnswerStates, Candidates, LogProb, Subject};

/// Says to a prompt what it is told to, or "Boil it."; of texts with `|` between them, another one with each sample. Stops
/// after so many answers. What ends with `…` was longer than it may be.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) says: BTreeMap<&'static str, &'static str>,
    /// Every prompt that it was asked.
    pub(crate) asked: RefCell<Vec<String>>,
    pub(crate) stop_after: Option<usize>,
    /// Whether it is stopped where it should score.
    pub(crate) stops_scoring: bool,
    /// How much less likely an answer is with each `a` in it.
    pub(crate) dislikes: f64,
}

impl Subject for Scripted {
    fn chat(&self, max_new_tokens: usize, sampling: Option<Sampling>) -> Box<dyn ChatModel + '_> {
        let identity = format!("{max_new_tokens} {sampling:?}");
        let turns = (0..8).filter(|&turn| sampling.is_some_and(|sampling| sampling == sampling.at_turn(turn)));
        let turn = turns.min().unwrap_or(0) as usize;
        Box::new(Script { of: self, identity, turn })
    }

    fn log_probs(&self, asked: &[Candidates<'_>]) -> Result<Vec<Vec<LogProb>>, ChatError> {
        self.stopped()?;
        let count = |text: &str, letter: char| text.matches(letter).count() as f64;
        let of = |prompt: &[Message], answer: &str| LogProb {
            sum: -1.0 - self.dislikes * count(answer, 'a') - count(&prompt[prompt.len() - 1].content, 'e'),
            tokens: answer.len(),
        };
        Ok(asked.iter().map(|one| one.answers.iter().map(|answer| of(one.prompt, answer)).collect()).collect())
    }

    fn states(&self, asked: &[Candidates<'_>]) -> Result<Vec<Vec<AnswerStates>>, ChatError> {
        self.stopped()?;
        let counts =
            |answer: &str, of: [char; 2]| of.map(|letter| answer.matches(letter).count() as f64 + 1.0).to_vec();
        let of = |answer: &str| AnswerStates { middle: counts(answer, ['a', 'e']), last: counts(answer, ['i', 'o']) };
        Ok(asked.iter().map(|one| one.answers.iter().map(|answer| of(answer)).collect()).collect())
    }
}

impl Scripted {
    fn stopped(&self) -> Result<(), ChatError> {
        if self.stops_scoring { Err(ChatError::Stopped) } else { Ok(()) }
    }
}

struct Script<'a> {
    of: &'a Scripted,
    identity: String,
    /// The number of the sample, from zero.
    turn: usize,
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
            let texts: Vec<&str> = said.map_or("Boil it.", |(_, says)| says).split('|').collect();
            let text = texts[self.turn % texts.len()].to_owned();
            let complete = !text.ends_with('…');
            let usage = Usage { prompt_tokens: 3, completion_tokens: 2 };
            listener.reply(number, &Reply::Answer { text, complete, usage });
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
