//! The model's own answers, each ended where a sentence does.

use mpo_chat::{CachedChat, ChatModel as _, Reply, ask};
use mpo_data::Message;
use mpo_eval::note_not_as_written;
use mpo_models::Sampling;
use serde::Serialize;

use crate::check::Failed;
use crate::dropped::Reason;
use crate::error::PrepareError;
use crate::making::Maker;
use crate::translate::Means;

/// The file that keeps the model's answers.
const ANSWERS_FILE: &str = "answers.jsonl";

/// How the model is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Answers to a prompt at most: no more are asked for once one is a refusal.
    pub samples: usize,
    /// How tokens are drawn; none for the most probable ones, of which there is one answer.
    pub sampling: Option<Sampling>,
}

/// An answer of the model's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// The number of the sample, from one.
    pub(crate) sample: usize,
    /// Whether it was longer than it may be and lost what follows its last whole sentence.
    pub(crate) is_cut: bool,
}

/// What became of the prompts' answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// Prompts that were asked.
    pub prompts: usize,
    /// Answers to them.
    pub answers: usize,
    /// Prompts with an answer that is a refusal, where a judge says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<usize>,
    /// Tokens that the model wrote.
    pub tokens: u64,
}

impl Answers {
    pub(crate) fn add(&mut self, said: &Said) {
        self.answers += said.replies;
        self.tokens += said.tokens;
    }
}

/// An answer, or why there is none that is wanted and what was said in its place.
pub(crate) type Answered = Result<Answer, Failed>;

/// What the model said to prompts.
pub(crate) struct Said {
    /// An answer to each, or why there is none.
    pub(crate) answers: Vec<Answered>,
    /// Replies that came, whatever became of them.
    pub(crate) replies: usize,
    /// Tokens of these.
    pub(crate) tokens: u64,
}

impl Maker<'_> {
    /// Asks the model every prompt, as the sample of this number, or takes what it has said before.
    pub(crate) fn said(
        &mut self,
        prompts: &[Vec<Message>],
        sample: usize,
        sampling: Option<Sampling>,
    ) -> Result<Said, PrepareError> {
        let Means { subject, held, progress, .. } = self.means;
        let cache = held.path().join(ANSWERS_FILE);
        held.claim(&cache)?;
        let mut chat = subject.chat(self.asking.max_new_tokens, sampling);
        let mut chat = CachedChat::open(&mut *chat, &cache)?;
        // The file is opened for each sample and language, and what is wrong with it is told once.
        if !std::mem::replace(&mut self.answers_noted, true) {
            note_not_as_written(ANSWERS_FILE, &chat, progress);
        }
        let stage = progress.begin("answering", Some(prompts.len()));
        let replies = ask(&mut chat, prompts, &*stage)?;
        Ok(Said {
            answers: replies.iter().map(|reply| whole(reply, sample)).collect(),
            replies: replies.iter().filter(|reply| reply.text().is_some()).count(),
            tokens: chat.usage().completion_tokens,
        })
    }
}

/// An answer that ends where a sentence does.
fn whole(reply: &Reply, sample: usize) -> Answered {
    match reply {
        Reply::Missing { reason } => Err(((Reason::NoAnswer, reason.clone()), None)),
        Reply::Answer { text, .. } if text.trim().is_empty() => Err(((Reason::NoAnswer, "an empty one".into()), None)),
        Reply::Answer { text, complete: true, .. } => {
            Ok(Answer { text: text.trim().to_owned(), sample, is_cut: false })
        }
        Reply::Answer { text, complete: false, .. } => match sentences(text.trim()) {
            Some(text) => Ok(Answer { text: text.to_owned(), sample, is_cut: true }),
            None => Err(((Reason::NoSentence, String::new()), Some(text.clone()))),
        },
    }
}

/// A text up to the end of its last whole sentence; none if it has none.
fn sentences(text: &str) -> Option<&str> {
    const ENDS: [char; 8] = ['.', '!', '?', '。', '！', '？', '।', '؟'];
    let mut ends = text.char_indices().filter(|(at, sign)| {
        // A point within a number, or of `1.` before an item, ends none.
        let before = text[..*at].chars().next_back();
        let behind = text[at + sign.len_utf8()..].chars().next();
        ENDS.contains(sign)
            && (!sign.is_ascii() || behind.is_none_or(char::is_whitespace))
            && before.is_some_and(|before| !before.is_ascii_digit())
    });
    ends.next_back().map(|(at, sign)| &text[..at + sign.len_utf8()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_last_whole_sentence_is_cut() {
        for (text, expected) in [
            ("I cannot. It is", Some("I cannot.")),
            ("No! Version 1.5 is", Some("No!")),
            ("Sorry. Steps:\n1. Go", Some("Sorry.")),
            ("対応できません。申し訳", Some("対応できません。")),
            ("আমি পারি না। কিন্তু", Some("আমি পারি না।")),
            ("I cannot help with that.", Some("I cannot help with that.")),
            ("As a language model I", None),
        ] {
            assert_eq!(sentences(text), expected, "{text}");
        }
    }
}
