//! A model's folder: its configuration and tokenizer at once, its weights when they are needed.

use std::path::PathBuf;

use burn::tensor::Device;
use mpo_data::{
    Message, Pairs, TemplateChoice, TextTokenizer, Truncation, TruncationReport, tokenize_answers,
    tokenize_pairs, tokenize_rows,
};
use mpo_models::{CausalLm, Checkpoint, GenerateOptions, ModelConfig, ModelError};
use mpo_trainer::TrainingRows;

use crate::failure::Failure;
use crate::session::Session;

/// A model before its weights are read.
#[derive(Debug)]
pub(crate) struct ModelFolder {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What `config.json` says.
    pub(crate) config: ModelConfig,
    /// How it reads and writes text.
    pub(crate) tokenizer: TextTokenizer,
    template: TemplateChoice,
}

impl ModelFolder {
    /// Finds a model, on disk or on the hub.
    pub(crate) fn open(
        model: &str,
        template: &TemplateChoice,
        session: &Session,
    ) -> Result<Self, Failure> {
        let _spinner = session.spinner("finding the model");
        let path = mpo_models::resolve(model, None)?;
        let config = ModelConfig::from_dir(&path).map_err(ModelError::from)?;
        let tokenizer = TextTokenizer::from_dir(&path, template)?;
        Ok(Self {
            path,
            config,
            tokenizer,
            template: template.clone(),
        })
    }

    /// Reads the weights; they are trainable if `device` has autodiff.
    pub(crate) fn load(&self, device: &Device, session: &Session) -> Result<CausalLm, Failure> {
        let _spinner = session.spinner("loading the model");
        let (model, _) = CausalLm::load(&self.path, device)?;
        Ok(model)
    }

    /// Reads the weights of a model that is asked and not trained.
    pub(crate) fn load_frozen(&self, session: &Session) -> Result<CausalLm, Failure> {
        let _spinner = session.spinner("loading the model");
        let (model, _) = CausalLm::load_frozen(&self.path, &session.device)?;
        Ok(model)
    }

    /// Identifies everything about the model that enters what it computes.
    pub(crate) fn content_hash(&self, session: &Session) -> Result<String, Failure> {
        let _spinner = session.spinner("hashing the model");
        let hash = Checkpoint::open(&self.path).and_then(|checkpoint| checkpoint.content_hash());
        Ok(hash.map_err(ModelError::from)?)
    }

    /// Rows as token ids, and how much was cut, which the user is told.
    pub(crate) fn tokenize(
        &self,
        rows: &Pairs,
        truncation: Truncation,
        session: &Session,
    ) -> Result<(TrainingRows, TruncationReport), Failure> {
        let (rows, report) = self.tokenize_quietly(rows, truncation)?;
        if report.truncated > 0 {
            session.note(report);
        }
        Ok((rows, report))
    }

    /// Rows as token ids, and how much was cut.
    pub(crate) fn tokenize_quietly(
        &self,
        rows: &Pairs,
        truncation: Truncation,
    ) -> Result<(TrainingRows, TruncationReport), Failure> {
        let (rows, report) = match rows {
            Pairs::Bilingual(rows) => {
                let (rows, report) = tokenize_rows(rows, &self.tokenizer, truncation)?;
                (TrainingRows::Bilingual(rows), report)
            }
            Pairs::Monolingual(rows) => {
                let (rows, report) = tokenize_pairs(rows, &self.tokenizer, truncation)?;
                (TrainingRows::Monolingual(rows), report)
            }
            Pairs::Unpaired(rows) => {
                let (rows, report) = tokenize_answers(rows, &self.tokenizer, truncation)?;
                (TrainingRows::Unpaired(rows), report)
            }
        };
        rows.token_ids().try_for_each(|ids| self.check(ids))?;
        Ok((rows, report))
    }

    /// Whether a prompt of so many tokens and an answer fit in what the model was made for; if not, the user is told.
    pub(crate) fn fits(&self, prompt: usize, max_new_tokens: usize, session: &Session) -> bool {
        let limit = self.config.decoder.max_positions.unwrap_or(usize::MAX);
        let fits = prompt.saturating_add(max_new_tokens) <= limit;
        if !fits {
            session.note(format_args!(
                "warning: a prompt of {prompt} tokens and an answer of up to {max_new_tokens} are more than the {limit} \
                 that the model was made for; beyond them answers get worse"
            ));
        }
        fits
    }

    /// A conversation as token ids, up to where the model is to speak.
    pub(crate) fn encode_prompt(&self, messages: &[Message]) -> Result<Vec<u32>, Failure> {
        let ids = self.tokenizer.encode_prompt(messages)?;
        if ids.is_empty() {
            return Err(Failure::new(
                "expected at least one token in the prompt, got none",
                "check that the chat template writes the messages it is given",
            ));
        }
        self.check(&ids)?;
        Ok(ids)
    }

    /// A text as token ids, without the chat template; a model that wants its first token gets it.
    pub(crate) fn encode_text(&self, text: &str) -> Result<Vec<u32>, Failure> {
        let ids = self.tokenizer.encode_text(text)?;
        self.check(&ids)?;
        Ok(ids)
    }

    /// The chat template as it was chosen: its name, or, as a file's text may change, what the file holds.
    pub(crate) fn template(&self) -> String {
        match &self.template {
            TemplateChoice::File(path) => match std::fs::read(path) {
                Ok(text) => format!("template {}", blake3::hash(&text)),
                // Taken away since it was read: what it held cannot be told any more.
                Err(error) => format!("{}: {error}", path.display()),
            },
            choice => choice.clone().into(),
        }
    }

    /// The token that fills batches up: the configuration's, else the tokenizer's, else the end of the sequence.
    pub(crate) fn pad_token(&self) -> u32 {
        let eos = self.tokenizer.eos_id();
        [
            self.config.decoder.pad_token_id,
            Some(self.tokenizer.pad_id()),
        ]
        .into_iter()
        .flatten()
        .find(|&id| self.knows(id))
        .unwrap_or(eos)
    }

    /// How to generate answers of at most this length, greedily, eight at once.
    pub(crate) fn generate_options(&self, max_new_tokens: usize) -> GenerateOptions {
        let mut stop_ids = self.tokenizer.stop_ids();
        stop_ids.extend(&self.config.decoder.eos_token_ids);
        GenerateOptions {
            max_new_tokens,
            stop_ids,
            sampling: None,
            batch_size: 8,
        }
    }

    /// A tokenizer may have tokens that the model has no row for.
    fn check(&self, ids: &[u32]) -> Result<(), Failure> {
        match ids.iter().find(|&&id| !self.knows(id)) {
            None => Ok(()),
            Some(id) => Err(Failure::new(
                format!(
                    "{}: expected token ids below the model's {}, got {id} from the tokenizer",
                    self.path.display(),
                    self.config.decoder.vocab_size
                ),
                "take the tokenizer's files and the weights from the same model",
            )),
        }
    }

    fn knows(&self, id: u32) -> bool {
        (id as usize) < self.config.decoder.vocab_size
    }
}
