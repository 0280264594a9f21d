//! Models of ours.

use std::slice;
use std::sync::{Mutex, PoisonError};

use mpo_chat::{HarmGuard, ModelFolder};
use mpo_data::Message;
use mpo_models::{CausalLm, Engine, Question, Stepped};

use crate::generator::{Generator, Voice};

/// Loaded models that share a batch.
#[derive(Debug)]
pub struct LocalGenerator {
    models: Vec<CausalLm>,
    batch_size: usize,
    cache_tokens: usize,
    engine: Engine,
}

impl LocalGenerator {
    /// Models that together answer `batch_size` questions at once, whose prompts and answers have at most `cache_tokens` tokens.
    pub fn new(models: Vec<CausalLm>, batch_size: usize, cache_tokens: usize) -> Self {
        Self { models, batch_size, cache_tokens, engine: Engine::new(batch_size, cache_tokens) }
    }
}

impl Generator for LocalGenerator {
    fn begin(&mut self, number: usize, question: Question) -> Option<Question> {
        self.engine.begin(number, question)
    }

    fn end(&mut self, number: usize) {
        self.engine.end(number);
    }

    fn step(&mut self) -> Vec<(usize, Stepped)> {
        self.engine.step(&self.models)
    }

    fn restart(&mut self) {
        self.engine = Engine::new(self.batch_size, self.cache_tokens);
    }
}

/// A model's folder.
#[derive(Debug)]
pub struct LocalVoice {
    folder: ModelFolder,
    /// Who looks for harm in conversations, and the model that they are looked at with, by one request at a time.
    guard: Option<(HarmGuard, Mutex<CausalLm>)>,
}

impl LocalVoice {
    /// The folder whose tokenizer and chat template it speaks by.
    pub fn new(folder: ModelFolder) -> Self {
        Self { folder, guard: None }
    }

    /// The same with a note behind the conversations in which `guard` finds harm, which looks at the states of `model`.
    #[must_use]
    pub fn guarded(self, guard: HarmGuard, model: CausalLm) -> Self {
        Self { guard: Some((guard, Mutex::new(model))), ..self }
    }
}

impl Voice for LocalVoice {
    fn prompt(&self, conversation: &[Message]) -> Result<Vec<u32>, String> {
        let mut prompt = self.folder.encode_prompt(conversation).map_err(|error| error.to_string())?;
        if let Some((guard, model)) = &self.guard {
            let model = model.lock().unwrap_or_else(PoisonError::into_inner);
            guard.note(&model, slice::from_mut(&mut prompt), &|| false).map_err(|error| error.to_string())?;
        }
        Ok(prompt)
    }

    fn text_prompt(&self, text: &str) -> Result<Vec<u32>, String> {
        let ids = self.folder.encode_text(text).map_err(|error| error.to_string())?;
        if ids.is_empty() { Err("expected a prompt of at least one token, got none".into()) } else { Ok(ids) }
    }

    fn text(&self, ids: &[u32]) -> Result<String, String> {
        self.folder.tokenizer.decode(ids).map_err(|error| error.to_string())
    }

    fn token_text(&self, id: u32) -> Result<String, String> {
        self.folder.tokenizer.token_text(id).map_err(|error| error.to_string())
    }

    fn stop_ids(&self) -> Vec<u32> {
        self.folder.generate_options(1).stop_ids
    }

    fn longest(&self) -> Option<usize> {
        let decoder = &self.folder.config.decoder;
        decoder.longest().or(decoder.max_positions)
    }
}
