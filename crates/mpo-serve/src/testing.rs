//! Whoever generates, in tests: tokens are letters, and an answer is the prompt again.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use mpo_data::Message;
use mpo_models::{LogProbs, Question, Stepped, Token};

use crate::generator::{Generator, Voice};

/// A token that ends an answer.
const END: u32 = 0;

/// Writes prompts and reads answers.
pub(crate) struct Echo;

impl Voice for Echo {
    fn prompt(&self, conversation: &[Message]) -> Result<Vec<u32>, String> {
        self.text_prompt(&conversation.last().unwrap().content)
    }

    fn text_prompt(&self, text: &str) -> Result<Vec<u32>, String> {
        if text.is_empty() {
            return Err("nothing to say again".into());
        }
        Ok(text.chars().map(u32::from).collect())
    }

    fn text(&self, ids: &[u32]) -> Result<String, String> {
        ids.iter().map(|&id| char::from_u32(id).ok_or_else(|| format!("{id} is no letter"))).collect()
    }

    fn token_text(&self, id: u32) -> Result<String, String> {
        self.text(&[id])
    }

    fn stop_ids(&self) -> Vec<u32> {
        vec![END]
    }

    fn longest(&self) -> Option<usize> {
        Some(100)
    }
}

/// Says prompts again, a letter a step, two at once. At `!` it panics, at `#` for good, and at `?` it has
/// no token to choose.
pub(crate) struct Parrot {
    /// Questions, and how much of each has been said.
    running: HashMap<usize, (Question, usize)>,
    /// How long a step takes.
    pause: Duration,
    is_dead: bool,
}

impl Parrot {
    pub(crate) fn new(pause: Duration) -> Self {
        Self { running: HashMap::new(), pause, is_dead: false }
    }
}

impl Generator for Parrot {
    fn begin(&mut self, number: usize, question: Question) -> Option<Question> {
        if self.running.len() == 2 {
            return Some(question);
        }
        self.running.insert(number, (question, 0));
        None
    }

    fn end(&mut self, number: usize) {
        self.running.remove(&number);
    }

    fn step(&mut self) -> Vec<(usize, Stepped)> {
        thread::sleep(self.pause);
        let mut told = vec![];
        for (&number, (question, said)) in &mut self.running {
            let id = question.ids.get(*said).copied().unwrap_or(END);
            *said += 1;
            self.is_dead = id == u32::from('#');
            assert!(id != u32::from('!') && !self.is_dead, "an exclamation mark");
            let log_probs =
                |top| LogProbs { chosen: -0.5, top: vec![(id, -0.5), (u32::from('x'), -1.5)][..top].into() };
            let token = Token { id, log_probs: question.top_log_probs.map(|top| log_probs(top.min(2))) };
            told.push((
                number,
                match () {
                    () if id == END => Stepped::Ended,
                    () if id == u32::from('?') => Stepped::Broken(f32::NAN),
                    () if *said == question.max_new_tokens => Stepped::LastToken(token),
                    () => Stepped::Token(token),
                },
            ));
        }
        for (number, stepped) in &told {
            if !matches!(stepped, Stepped::Token(_)) {
                self.running.remove(number);
            }
        }
        told
    }

    fn restart(&mut self) {
        assert!(!self.is_dead, "dead");
        self.running.clear();
    }
}
