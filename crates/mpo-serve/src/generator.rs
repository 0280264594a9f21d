//! Whoever generates, and whoever reads and writes its text. The server knows no more of a model.

use mpo_data::Message;
use mpo_models::{Question, Stepped};

/// The batch of questions that are being answered, owned by one thread.
pub trait Generator: Send {
    /// Takes a question with the next step, known by its number; it comes back where there is no room for it yet.
    fn begin(&mut self, number: usize, question: Question) -> Option<Question>;

    /// Nobody wants the question's answer any more.
    fn end(&mut self, number: usize);

    /// Gives every question a token more; those that have ended have left.
    fn step(&mut self) -> Vec<(usize, Stepped)>;

    /// Forgets all questions, after a panic.
    fn restart(&mut self);
}

/// A model as it reads and writes text. Refusals are told to whoever asked.
pub trait Voice: Send + Sync {
    /// A conversation as token ids, up to where the model is to speak.
    ///
    /// # Errors
    /// If the chat template refuses it.
    fn prompt(&self, conversation: &[Message]) -> Result<Vec<u32>, String>;

    /// A text as token ids, to be gone on with.
    ///
    /// # Errors
    /// If the model cannot read it.
    fn text_prompt(&self, text: &str) -> Result<Vec<u32>, String>;

    /// The text of some ids.
    ///
    /// # Errors
    /// If they are none.
    fn text(&self, ids: &[u32]) -> Result<String, String>;

    /// The text of one token, a special one's too; U+FFFD for a part of a character.
    ///
    /// # Errors
    /// If it is no token.
    fn token_text(&self, id: u32) -> Result<String, String>;

    /// Tokens that end an answer.
    fn stop_ids(&self) -> Vec<u32>;

    /// Tokens of a prompt and its answer together that the model was made for, if it says so.
    fn longest(&self) -> Option<usize>;
}
