//! Answers: one as it is written, each token's text on the terminal as soon as it is whole; or many, with a bar.

use indicatif::ProgressBar;
use mpo_models::{CausalLm, GenerateOptions, Generated, generate};
use mpo_trainer::TrainError;
use serde::Serialize;

use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::session::Session;

/// What a model said.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Whether the model ended it; otherwise it was cut at the limit.
    pub(crate) complete: bool,
}

/// Answers one prompt, prints the answer while it grows, and returns it; it is cut where the user asks to stop.
pub(crate) fn print(
    folder: &ModelFolder,
    model: &CausalLm,
    prompt: &[u32],
    options: &GenerateOptions,
    session: &Session,
) -> Result<Answer, Failure> {
    let mut ids = vec![];
    let mut growing = Growing::default();
    let mut printed = Ok(());
    let answers = generate(model, &[prompt.to_vec()], options, |event| {
        if let Generated::Token { id, .. } = event {
            ids.push(id);
            let text = folder.tokenizer.decode(&ids).map_err(Failure::from);
            printed = text.and_then(|text| output::piece(growing.completed(&text)));
        }
        printed.is_ok() && !session.stopped()
    });
    printed?;
    let complete = answers?.first().is_some_and(|answer| answer.complete);
    let text = folder.tokenizer.decode(&ids)?;
    output::line(growing.rest(&text))?;
    Ok(Answer { text, complete })
}

/// Answers every prompt, and counts those that are finished on `bar`.
pub(crate) fn all(
    folder: &ModelFolder,
    model: &CausalLm,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    bar: &ProgressBar,
    session: &Session,
) -> Result<Vec<Answer>, Failure> {
    let mut answers = vec![None; prompts.len()];
    each(folder, model, prompts, options, session, |prompt, answer| {
        bar.inc(1);
        answers[prompt] = Some(answer);
        Ok(())
    })?;
    Ok(answers.into_iter().flatten().collect())
}

/// Answers every prompt, and hands each answer over with its prompt's number as soon as it is finished.
pub(crate) fn each(
    folder: &ModelFolder,
    model: &CausalLm,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    session: &Session,
    mut on_answer: impl FnMut(usize, Answer) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut handed_over = Ok(());
    let generated = generate(model, prompts, options, |event| {
        if let Generated::Answer { prompt, answer } = event {
            let text = folder.tokenizer.decode(&answer.ids).map_err(Failure::from);
            let complete = answer.complete;
            handed_over = text.and_then(|text| on_answer(prompt, Answer { text, complete }));
        }
        handed_over.is_ok() && !session.stopped()
    });
    handed_over?;
    generated?;
    match session.stopped() {
        true => Err(TrainError::Interrupted.into()),
        false => Ok(()),
    }
}

/// How much of a growing text has been shown.
#[derive(Debug, Default)]
struct Growing {
    shown: usize,
}

impl Growing {
    /// What is new in `text` and will not change: the decoder writes U+FFFD where bytes of a character are missing.
    fn completed<'t>(&mut self, text: &'t str) -> &'t str {
        self.rest(text.trim_end_matches(char::REPLACEMENT_CHARACTER))
    }

    /// All that is new in `text`.
    fn rest<'t>(&mut self, text: &'t str) -> &'t str {
        let new = text.get(self.shown..).unwrap_or_default();
        self.shown += new.len();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_shown_when_it_is_whole() {
        let mut growing = Growing::default();
        for (text, new) in [
            ("Ku", "Ku"),
            ("Ku \u{FFFD}", " "),
            ("Ku \u{FFFD}\u{FFFD}", ""),
            ("Ku あ", "あ"),
            ("Ku あ", ""),
            ("Ku あ!", "!"),
        ] {
            assert_eq!(growing.completed(text), new, "{text}");
        }
    }

    #[test]
    fn bytes_that_never_become_a_character_are_shown_at_the_end() {
        let mut growing = Growing::default();
        assert_eq!(growing.completed("a\u{FFFD}"), "a");
        assert_eq!(growing.rest("a\u{FFFD}"), "\u{FFFD}");
    }
}
