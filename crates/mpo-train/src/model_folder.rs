//! A model's folder: its configuration and tokenizer at once, its weights when they are needed.

use std::path::PathBuf;

use burn::tensor::Device;
use mpo_data::{
    BilingualPair, Language, Message, MonolingualPair, TemplateChoice, TextTokenizer,
    TokenizedPair, TokenizedRow, Truncation, TruncationReport, tokenize_pair, tokenize_rows,
};
use mpo_models::{CausalLm, Checkpoint, GenerateOptions, ModelConfig, ModelError};

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
}

/// Rows as a model reads them, and the language of each row's dominant side.
#[derive(Debug)]
pub(crate) struct BilingualRows {
    /// The rows.
    pub(crate) rows: Vec<TokenizedRow>,
    /// One language a row.
    pub(crate) dominants: Vec<Language>,
    /// How much was cut.
    pub(crate) truncation: TruncationReport,
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
        })
    }

    /// Reads the weights; they are trainable if `device` has autodiff.
    pub(crate) fn load(&self, device: &Device, session: &Session) -> Result<CausalLm, Failure> {
        let _spinner = session.spinner("loading the model");
        let (model, _) = CausalLm::load(&self.path, device)?;
        Ok(model)
    }

    /// Identifies everything about the model that enters what it computes.
    pub(crate) fn content_hash(&self, session: &Session) -> Result<String, Failure> {
        let _spinner = session.spinner("hashing the model");
        let hash = Checkpoint::open(&self.path).and_then(|checkpoint| checkpoint.content_hash());
        Ok(hash.map_err(ModelError::from)?)
    }

    /// Bilingual rows as token ids.
    pub(crate) fn tokenize_bilingual(
        &self,
        pairs: &[BilingualPair],
        max_tokens: usize,
        session: &Session,
    ) -> Result<BilingualRows, Failure> {
        let truncation = Truncation::new(max_tokens)?;
        let (rows, truncation) = tokenize_rows(pairs, &self.tokenizer, truncation)?;
        for row in &rows {
            self.check_pair(&row.dominant)?;
            self.check_pair(&row.target)?;
        }
        note_truncation(&truncation, session);
        Ok(BilingualRows {
            rows,
            dominants: pairs.iter().map(|pair| pair.dominant.language()).collect(),
            truncation,
        })
    }

    /// Single pairs as token ids.
    pub(crate) fn tokenize_monolingual(
        &self,
        pairs: &[MonolingualPair],
        max_tokens: usize,
        session: &Session,
    ) -> Result<(Vec<TokenizedPair>, TruncationReport), Failure> {
        let limit = Truncation::new(max_tokens)?;
        let mut report = TruncationReport::default();
        let mut rows = Vec::with_capacity(pairs.len());
        for MonolingualPair { pair, origin } in pairs {
            let row = tokenize_pair(pair, origin, &self.tokenizer, limit, &mut report)?;
            self.check_pair(&row)?;
            rows.push(row);
        }
        note_truncation(&report, session);
        Ok((rows, report))
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

    /// How to generate an answer of at most this length.
    pub(crate) fn generate_options(&self, max_new_tokens: usize) -> GenerateOptions {
        let mut stop_ids = self.tokenizer.stop_ids();
        stop_ids.extend(&self.config.decoder.eos_token_ids);
        GenerateOptions {
            max_new_tokens,
            stop_ids,
        }
    }

    fn check_pair(&self, pair: &TokenizedPair) -> Result<(), Failure> {
        [pair.prompt(), pair.chosen(), pair.rejected()]
            .into_iter()
            .try_for_each(|ids| self.check(ids))
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

fn note_truncation(report: &TruncationReport, session: &Session) {
    if report.truncated > 0 {
        session.note(report);
    }
}
