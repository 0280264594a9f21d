//! Answers to prompts: one while it grows, or many, each as soon as it is finished.

use mpo_models::{CausalLm, GenerateOptions, Generated, generate};
use mpo_progress::Progress;
use serde::Serialize;

use crate::error::ChatError;
use crate::folder::ModelFolder;
use crate::growing::GrowingText;

/// What a model said.
#[derive(Debug, Clone, Serialize)]
pub struct TextAnswer {
    /// The text.
    pub text: String,
    /// Whether the model ended it; otherwise it was cut at the limit.
    pub complete: bool,
}

/// A model that answers prompts of token ids.
pub struct Answering<'a> {
    /// Where its tokenizer is.
    pub folder: &'a ModelFolder,
    /// The model.
    pub model: &'a CausalLm,
    /// How answers are generated.
    pub options: GenerateOptions,
    /// Who may stop it.
    pub progress: &'a dyn Progress,
}

impl Answering<'_> {
    /// Answers one prompt, hands each piece of the answer's text over as soon as it will not change any more, and returns the
    /// whole; it is cut where the work is stopped.
    ///
    /// # Errors
    /// If the model's numbers broke, the tokens are no text, or `on_text` fails.
    pub fn growing<E: From<ChatError>>(
        &self,
        prompt: &[u32],
        mut on_text: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<TextAnswer, E> {
        let mut growing = GrowingText::default();
        let mut text = String::new();
        let mut handed_over = Ok(());
        let mut hand_over = |new: Result<String, ChatError>| {
            let new = new?;
            text += &new;
            on_text(&new)
        };
        let answers = generate(self.model, &[prompt.to_vec()], &self.options, |event| {
            if let Generated::Token { id, .. } = event {
                handed_over = hand_over(growing.push(id, |ids| self.text(ids)));
            }
            handed_over.is_ok() && !self.progress.is_stopped()
        });
        handed_over?;
        let complete = answers.map_err(ChatError::from)?.first().is_some_and(|answer| answer.complete);
        hand_over(growing.finish(|ids| self.text(ids)))?;
        Ok(TextAnswer { text, complete })
    }

    /// Answers every prompt, as the stage `what`.
    ///
    /// # Errors
    /// Those of [`each`](Self::each).
    pub fn all(&self, prompts: &[Vec<u32>], what: &str) -> Result<Vec<TextAnswer>, ChatError> {
        let stage = self.progress.begin(what, Some(prompts.len()));
        let mut answers = vec![None; prompts.len()];
        self.each(prompts, |prompt, answer| {
            stage.advance(1);
            answers[prompt] = Some(answer);
            Ok::<_, ChatError>(())
        })?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Answers every prompt, and hands each answer over with its prompt's number as soon as it is finished.
    ///
    /// # Errors
    /// If the work is stopped, the model's numbers broke, the tokens are no text, or `on_answer` fails.
    pub fn each<E: From<ChatError>>(
        &self,
        prompts: &[Vec<u32>],
        mut on_answer: impl FnMut(usize, TextAnswer) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut handed_over = Ok(());
        let generated = generate(self.model, prompts, &self.options, |event| {
            if let Generated::Answer { prompt, answer } = event {
                let complete = answer.complete;
                let text = self.text(&answer.ids).map_err(E::from);
                handed_over = text.and_then(|text| on_answer(prompt, TextAnswer { text, complete }));
            }
            handed_over.is_ok() && !self.progress.is_stopped()
        });
        handed_over?;
        generated.map_err(ChatError::from)?;
        if self.progress.is_stopped() {
            return Err(ChatError::Stopped.into());
        }
        Ok(())
    }

    fn text(&self, ids: &[u32]) -> Result<String, ChatError> {
        Ok(self.folder.tokenizer.decode(ids)?)
    }
}
