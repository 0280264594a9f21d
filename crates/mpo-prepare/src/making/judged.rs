//! Answers, and whether a judge calls each a refusal.

use mpo_data::{Language, Message, Role};
use mpo_eval::Exchange;

use crate::answers::{Answer, Answered};
use crate::check::Failed;
use crate::dropped::Reason;
use crate::error::PrepareError;

use super::Maker;

/// An answer and whether it refuses; or why there is no answer or no verdict, and what was said.
pub(crate) type Judged = Result<(Answer, bool), Failed>;

impl Maker<'_> {
    /// Has the answers to prompts in a language judged.
    pub(crate) fn judged(
        &mut self,
        prompts: &[Vec<Message>],
        answers: Vec<Answered>,
        language: Language,
    ) -> Result<Vec<Judged>, PrepareError> {
        let exchanges = prompts.iter().zip(&answers).filter_map(|(prompt, answer)| {
            let answer = &answer.as_ref().ok()?.text;
            Some(Exchange { language: Some(language), prompt: last_turn(prompt), answer })
        });
        let exchanges: Vec<Exchange<'_>> = exchanges.collect();
        let stage = self.means.progress.begin("judging", Some(exchanges.len()));
        let mut verdicts = self.judge.refusal(&exchanges, &*stage)?.into_iter();
        let with_verdict = |answer: Answered| {
            let answer = answer?;
            let Some(judgement) = verdicts.next() else {
                return Err(((Reason::NoVerdict, answer.text), None));
            };
            match judgement.verdict {
                Some(refuses) => Ok((answer, refuses)),
                None => Err(((Reason::NoVerdict, judgement.missing.unwrap_or(answer.text)), None)),
            }
        };
        Ok(answers.into_iter().map(with_verdict).collect())
    }
}

/// What the user said last.
pub(crate) fn last_turn(prompt: &[Message]) -> &str {
    prompt.iter().rfind(|message| message.role == Role::User).map_or("", |message| &*message.content)
}
