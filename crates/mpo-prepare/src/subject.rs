//! The model whose rows are made.

use mpo_chat::{ChatModel, LocalChat, ModelFolder};
use mpo_models::{CausalLm, GenerateOptions, Sampling};
use mpo_progress::Progress;

/// A model that can be asked with answers of any length, greedily or by the draw.
pub trait Subject {
    /// The model, to be asked so: with answers of so many tokens at most, the most probable ones without `sampling`.
    fn chat(&self, max_new_tokens: usize, sampling: Option<Sampling>) -> Box<dyn ChatModel + '_>;
}

/// A model on this machine.
pub struct LocalSubject<'a> {
    /// Where its tokenizer is.
    pub folder: &'a ModelFolder,
    /// Its weights.
    pub model: &'a CausalLm,
    /// Its content hash.
    pub hash: &'a str,
    /// Prompts answered at once.
    pub batch_size: usize,
    /// Who is told of prompts that are too long.
    pub progress: &'a dyn Progress,
}

impl Subject for LocalSubject<'_> {
    fn chat(&self, max_new_tokens: usize, sampling: Option<Sampling>) -> Box<dyn ChatModel + '_> {
        let options = GenerateOptions {
            // What was answered before an interruption must not change what is drawn after it.
            sampling: sampling.map(Sampling::by_prompt),
            batch_size: self.batch_size,
            ..self.folder.generate_options(max_new_tokens)
        };
        Box::new(LocalChat::new(self.folder, self.model, self.hash, options, self.progress))
    }
}
