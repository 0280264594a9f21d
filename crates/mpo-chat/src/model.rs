//! What everybody who answers conversations has in common.

use std::ops::AddAssign;

use mpo_data::Message;
use mpo_progress::Stage;
use serde::{Deserialize, Serialize};

use crate::error::ChatError;

/// Tokens that answers took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens written.
    #[serde(default)]
    pub completion_tokens: u64,
}

impl Usage {
    /// What was taken since it was `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens - earlier.prompt_tokens,
            completion_tokens: self.completion_tokens - earlier.completion_tokens,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
    }
}

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// What was said.
    Answer {
        /// The text.
        text: String,
        /// Whether the model ended it; otherwise it was cut at the limit.
        complete: bool,
        /// What it took.
        usage: Usage,
    },
    /// Nothing was said, however often it was asked for.
    Missing {
        /// Why not.
        reason: String,
    },
}

impl Reply {
    /// What was said, if anything was.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Answer { text, .. } => Some(text),
            Self::Missing { .. } => None,
        }
    }
}

/// Who is told of replies while they come.
pub trait Listener {
    /// A conversation, by its number, has its one reply. They come in any order.
    fn reply(&mut self, number: usize, reply: &Reply);

    /// Whether a reply is what was asked for. One that is not is worth neither keeping nor, where another may come out
    /// otherwise, more than another try.
    fn accepts(&self, _number: usize, _reply: &Reply) -> bool {
        true
    }

    /// Whether to stop; asked often.
    fn is_stopped(&self) -> bool;
}

/// Whoever answers conversations.
pub trait ChatModel {
    /// Identifies who answers and every setting that changes the answers: what a cache is keyed by.
    fn identity(&self) -> String;

    /// Answers conversations, each once; what came before `listener` stopped it has been told.
    ///
    /// # Errors
    /// If no answer can be expected any more; [`ChatError::Stopped`] if `listener` stopped it.
    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError>;

    /// Told that answers of this identity are kept from earlier: a question that is rejected from now on is itself at
    /// fault, not the settings.
    fn known_to_answer(&mut self) {}

    /// What its replies have taken, whenever they were paid for; nothing where nobody counts.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

impl<M: ChatModel + ?Sized> ChatModel for &mut M {
    fn identity(&self) -> String {
        (**self).identity()
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        (**self).answer(conversations, listener)
    }

    fn known_to_answer(&mut self) {
        (**self).known_to_answer();
    }

    fn usage(&self) -> Usage {
        (**self).usage()
    }
}

/// The replies to conversations, in their order, whatever they say; each is a part of `stage`.
///
/// # Errors
/// Those of `model`.
pub fn ask(
    model: &mut dyn ChatModel,
    conversations: &[Vec<Message>],
    stage: &dyn Stage,
) -> Result<Vec<Reply>, ChatError> {
    ask_for(model, conversations, &|_| true, stage)
}

/// The replies to conversations, in their order. What is not `wanted` is asked for again, by a model that may say something
/// else, and never kept.
///
/// # Errors
/// Those of `model`.
pub fn ask_for(
    model: &mut dyn ChatModel,
    conversations: &[Vec<Message>],
    wanted: &dyn Fn(&Reply) -> bool,
    stage: &dyn Stage,
) -> Result<Vec<Reply>, ChatError> {
    let mut collected = Collected { replies: vec![None; conversations.len()], wanted, stage };
    model.answer(conversations, &mut collected)?;
    let reply = |reply: Option<Reply>| reply.unwrap_or_else(|| Reply::Missing { reason: "it was never told".into() });
    Ok(collected.replies.into_iter().map(reply).collect())
}

struct Collected<'a> {
    replies: Vec<Option<Reply>>,
    wanted: &'a dyn Fn(&Reply) -> bool,
    stage: &'a dyn Stage,
}

impl Listener for Collected<'_> {
    fn reply(&mut self, number: usize, reply: &Reply) {
        self.replies[number] = Some(reply.clone());
        self.stage.advance(1);
    }

    fn accepts(&self, _number: usize, reply: &Reply) -> bool {
        (self.wanted)(reply)
    }

    fn is_stopped(&self) -> bool {
        self.stage.is_stopped()
    }
}
