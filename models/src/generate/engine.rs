//! The batch that is refilled while it generates: questions come and go between any two steps, each with settings and a model
//! of its own, and what is answered to one depends on no other.

use std::mem;

use rand_chacha::ChaCha8Rng;

use super::token::{self, Token};
use crate::batch::{Growing, Sequence};
use crate::decoder::CausalLm;
use crate::sampling::Sampling;

/// Tokens of prompts that begin in one step, unless one prompt alone has more.
const MAX_PROMPT_TOKENS: usize = 2048;

/// A prompt, and how it is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Which of the models answers it.
    pub model: usize,
    /// The prompt, of at least one token.
    pub ids: Vec<u32>,
    /// Tokens of the answer at most; at least one.
    pub max_new_tokens: usize,
    /// Tokens that end the answer; they are not part of it.
    pub stop_ids: Vec<u32>,
    /// How tokens are drawn; `None` takes the most probable one.
    pub sampling: Option<Sampling>,
    /// Whether each token comes with its log-probability, and with those of how many most probable ones.
    pub top_log_probs: Option<usize>,
}

/// What a step brought a question. But for [`Token`](Self::Token) it was the question's last.
#[derive(Debug, Clone, PartialEq)]
pub enum Stepped {
    /// A token more, and there will be others.
    Token(Token),
    /// A token more, after which the answer is cut.
    LastToken(Token),
    /// The model has ended the answer.
    Ended,
    /// There is no token to choose: a logit is NaN or infinite.
    Broken(f32),
}

/// Questions that are being answered.
#[derive(Debug)]
pub struct Engine {
    places: Growing,
    /// Questions at once.
    most: usize,
    active: Vec<Active>,
}

/// A question that is being answered.
#[derive(Debug)]
pub(super) struct Active {
    number: usize,
    pub(super) question: Question,
    /// Its place in the cache.
    sequence: Sequence,
    /// Its tokens that go in next: the prompt, then one token at a time.
    pending: Vec<u32>,
    pub(super) randomness: Option<(Sampling, ChaCha8Rng)>,
    /// Tokens of the answer so far.
    answered: usize,
}

/// Rows of the cache that a prompt and its answer take: the last token of an answer is never put in.
pub(super) fn room(prompt: usize, max_new_tokens: usize) -> usize {
    prompt + max_new_tokens - 1
}

impl Question {
    /// Tokens that it takes of an engine's.
    pub fn room(&self) -> usize {
        room(self.ids.len(), self.max_new_tokens)
    }
}

impl Engine {
    /// Answers at most `most` questions at once, whose prompts and answers have at most `tokens` together. Memory for them is
    /// taken when the first go in.
    pub fn new(most: usize, tokens: usize) -> Self {
        Self { places: Growing::new(tokens), most, active: vec![] }
    }

    /// Whether nothing is being answered.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Takes a question with the next step, known by its number; it comes back where there is no room for it yet.
    pub fn begin(&mut self, number: usize, mut question: Question) -> Option<Question> {
        // Tokens of the prompts that go in with the next step.
        let fresh: usize = self.active.iter().filter(|one| one.answered == 0).map(|one| one.pending.len()).sum();
        let is_too_much = fresh > 0 && fresh + question.ids.len() > MAX_PROMPT_TOKENS;
        if is_too_much || self.active.len() == self.most {
            return Some(question);
        }
        let Some(sequence) = self.places.begin(question.room()) else {
            return Some(question);
        };
        let randomness = question.sampling.map(|sampling| (sampling, sampling.randomness(&question.ids)));
        let pending = mem::take(&mut question.ids);
        self.active.push(Active { number, question, sequence, pending, randomness, answered: 0 });
        None
    }

    /// Nobody wants the question's answer any more.
    pub fn end(&mut self, number: usize) {
        self.leave(|one| one.number == number);
    }

    /// Puts what is pending through the models, by whose places in the list questions name them, and gives every question a
    /// token more. Those that have ended have left.
    pub fn step(&mut self, models: &[CausalLm]) -> Vec<(usize, Stepped)> {
        let mut told = vec![];
        for (number, model) in models.iter().enumerate() {
            let mut its: Vec<&mut Active> = self.active.iter_mut().filter(|one| one.question.model == number).collect();
            if its.is_empty() {
                continue;
            }
            let next = its.iter_mut().map(|one| (&mut one.sequence, mem::take(&mut one.pending)));
            let states = self.places.extend(model, next);
            let chosen = token::choose(model, states, &mut its);
            told.extend(its.into_iter().zip(chosen).map(|(one, chosen)| (one.number, one.stepped(chosen))));
        }
        // Only who goes on has something to put in next.
        self.leave(|one| one.pending.is_empty());
        told
    }

    fn leave(&mut self, leaves: impl Fn(&Active) -> bool) {
        for gone in self.active.extract_if(.., |one| leaves(one)) {
            self.places.end(gone.sequence);
        }
    }
}

impl Active {
    fn stepped(&mut self, chosen: Result<Token, f32>) -> Stepped {
        let token = match chosen {
            Ok(token) => token,
            Err(got) => return Stepped::Broken(got),
        };
        if self.question.stop_ids.contains(&token.id) {
            return Stepped::Ended;
        }
        self.answered += 1;
        if self.answered == self.question.max_new_tokens {
            return Stepped::LastToken(token);
        }
        self.pending = vec![token.id];
        Stepped::Token(token)
    }
}
