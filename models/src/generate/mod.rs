//! Answers to prompts of unequal length, without padding: a few are worked on at once, and where one is finished the next
//! takes its place.

mod beam;
mod engine;
mod token;
mod translate;

use std::slice;

use burn::module::Module;

use crate::decoder::CausalLm;
use crate::sampling::{Sampling, SamplingError};
pub use engine::{Engine, Question, Stepped};
pub use token::{LogProbs, Token};
pub use translate::{TranslateOptions, translate};

/// How to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Tokens that end an answer; they are not part of it.
    pub stop_ids: Vec<u32>,
    /// How tokens are drawn; `None` takes the most probable one.
    pub sampling: Option<Sampling>,
    /// Prompts worked on at once.
    pub batch_size: usize,
}

/// An answer's tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The tokens, without the one that ended it.
    pub ids: Vec<u32>,
    /// Whether the model ended it; otherwise it was cut.
    pub complete: bool,
}

/// What is told while it happens; prompts are known by their number.
#[derive(Debug, Clone, Copy)]
pub enum Generated<'a> {
    /// An answer has a token more.
    Token {
        /// Whose.
        prompt: usize,
        /// The token.
        id: u32,
    },
    /// An answer is finished.
    Answer {
        /// Whose.
        prompt: usize,
        /// The answer.
        answer: &'a Answer,
    },
}

/// Answers every prompt (each of at least one token). `on_event` says whether to go on; where it does not, answers are as
/// far as they have come.
///
/// # Errors
/// If logits are NaN or infinite, so that there is no token to choose.
pub fn generate(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    mut on_event: impl FnMut(Generated<'_>) -> bool,
) -> Result<Vec<Answer>, SamplingError> {
    let model = model.valid();
    let mut answers = vec![Answer::default(); prompts.len()];
    if options.max_new_tokens == 0 {
        return Ok(answers);
    }
    let questions = prompts.iter().enumerate().map(|(prompt, ids)| {
        let question = Question {
            model: 0,
            ids: ids.clone(),
            max_new_tokens: options.max_new_tokens,
            stop_ids: options.stop_ids.clone(),
            sampling: options.sampling.map(|sampling| sampling.at_place(prompt)),
            top_log_probs: None,
        };
        (prompt, question)
    });
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let lanes = options.batch_size.clamp(1, prompts.len().max(1));
    let mut engine = Engine::new(lanes, lanes * engine::room(longest, options.max_new_tokens));
    let mut waiting = questions;
    let mut refused = None;
    loop {
        for (prompt, question) in refused.take().into_iter().chain(waiting.by_ref()) {
            if let Some(question) = engine.begin(prompt, question) {
                refused = Some((prompt, question));
                break;
            }
        }
        if engine.is_idle() {
            return Ok(answers);
        }
        let stepped = engine.step(slice::from_ref(&model));
        for (prompt, stepped) in &stepped {
            if let &Stepped::Broken(got) = stepped {
                return Err(SamplingError::NotFinite { prompt: *prompt, got });
            }
        }
        let mut go_on = true;
        for (prompt, stepped) in stepped {
            let answer = &mut answers[prompt];
            if let Stepped::Token(token) | Stepped::LastToken(token) = &stepped {
                answer.ids.push(token.id);
                go_on &= on_event(Generated::Token { prompt, id: token.id });
            }
            answer.complete = matches!(stepped, Stepped::Ended);
            if !matches!(stepped, Stepped::Token(_)) {
                go_on &= on_event(Generated::Answer { prompt, answer });
            }
        }
        if !go_on {
            return Ok(answers);
        }
    }
}
