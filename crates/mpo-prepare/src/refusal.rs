//! The model's own answers, and the first of each prompt's that is a refusal.

use mpo_chat::{CachedChat, ChatError, Reply, ask};
use mpo_data::{Language, Message, Role};
use mpo_eval::{Exchange, Judge, note_not_as_written};
use mpo_models::Sampling;
use mpo_progress::Progress;
use mpo_trainer::RunFolder;
use serde::Serialize;

use crate::case::Case;
use crate::dropped::Reason;
use crate::error::PrepareError;
use crate::subject::Subject;

/// The file that keeps the model's answers.
pub(crate) const ANSWERS_FILE: &str = "answers.jsonl";

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
    /// Prompts that were asked, each with a bad answer of its own.
    pub prompts: usize,
    /// Answers to them.
    pub answers: usize,
    /// Prompts with an answer that is a refusal.
    pub refused: usize,
    /// Tokens that the model wrote.
    pub tokens: u64,
}

/// A refusal, or why there is none and what was said in its place.
pub(crate) type Answered = Result<Answer, (Reason, String)>;

/// Asks the model every prompt, and has its answers judged.
pub(crate) fn refusals(
    cases: &[Case],
    dominant: Language,
    subject: &dyn Subject,
    asking: Asking,
    judge: &mut dyn Judge,
    held: &RunFolder,
    progress: &dyn Progress,
) -> Result<(Vec<Answered>, Answers), PrepareError> {
    let cache = held.path().join(ANSWERS_FILE);
    held.claim(&cache)?;
    let mut found: Vec<Answered> = vec![Err((Reason::NoAnswer, String::new())); cases.len()];
    let mut counts = Answers { prompts: cases.len(), ..Answers::default() };
    for sample in 0..asking.samples {
        let open: Vec<usize> = (0..cases.len()).filter(|&number| found[number].is_err()).collect();
        if open.is_empty() {
            break;
        }
        let sampling = asking.sampling.map(|sampling| sampling.at_turn(sample as u64));
        let mut chat = subject.chat(asking.max_new_tokens, sampling);
        let mut chat = CachedChat::open(&mut *chat, &cache)?;
        if sample == 0 {
            note_not_as_written(ANSWERS_FILE, &chat, progress);
        }
        let prompts: Vec<Vec<Message>> = open.iter().map(|&number| cases[number].asked.prompt.clone()).collect();
        let stage = progress.begin("answering", Some(prompts.len()));
        let replies = ask(&mut chat, &prompts, &*stage)?;
        drop(stage);
        counts.tokens += mpo_chat::ChatModel::usage(&chat).completion_tokens;
        counts.answers += replies.iter().filter(|reply| reply.text().is_some()).count();
        let answers: Vec<Answered> = replies.iter().map(|reply| whole(reply, sample + 1)).collect();
        let judged = judged(&open, cases, &answers, dominant, judge, progress)?;
        for (number, answer) in open.into_iter().zip(judged) {
            found[number] = answer;
        }
    }
    counts.refused = found.iter().filter(|answer| answer.is_ok()).count();
    Ok((found, counts))
}

/// An answer that ends where a sentence does.
fn whole(reply: &Reply, sample: usize) -> Answered {
    match reply {
        Reply::Missing { reason } => Err((Reason::NoAnswer, reason.clone())),
        Reply::Answer { text, .. } if text.trim().is_empty() => Err((Reason::NoAnswer, "an empty one".into())),
        Reply::Answer { text, complete: true, .. } => {
            Ok(Answer { text: text.trim().to_owned(), sample, is_cut: false })
        }
        Reply::Answer { text, complete: false, .. } => match sentences(text.trim()) {
            Some(text) => Ok(Answer { text: text.to_owned(), sample, is_cut: true }),
            None => Err((Reason::NoSentence, text.clone())),
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

/// The answers that are refusals, and why the others are none.
fn judged(
    open: &[usize],
    cases: &[Case],
    answers: &[Answered],
    dominant: Language,
    judge: &mut dyn Judge,
    progress: &dyn Progress,
) -> Result<Vec<Answered>, ChatError> {
    let exchanges: Vec<Exchange<'_>> = open
        .iter()
        .zip(answers)
        .filter_map(|(&number, answer)| {
            let answer = &answer.as_ref().ok()?.text;
            Some(Exchange { language: Some(dominant), prompt: last_turn(&cases[number].asked.prompt), answer })
        })
        .collect();
    let stage = progress.begin("judging", Some(exchanges.len()));
    let mut verdicts = judge.refusal(&exchanges, &*stage)?.into_iter();
    let with_verdict = |answer: &Answered| {
        let refusal = answer.clone()?;
        let Some(judgement) = verdicts.next() else {
            return Err((Reason::NoVerdict, refusal.text));
        };
        match judgement.verdict {
            Some(true) => Ok(refusal),
            Some(false) => Err((Reason::NotRefused, refusal.text)),
            None => Err((Reason::NoVerdict, judgement.missing.unwrap_or(refusal.text))),
        }
    };
    Ok(answers.iter().map(with_verdict).collect())
}

/// What the user said last.
fn last_turn(prompt: &[Message]) -> &str {
    prompt.iter().rfind(|message| message.role == Role::User).map_or("", |message| &*message.content)
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
