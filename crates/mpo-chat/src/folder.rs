//! A model's folder: its configuration and tokenizer at once, its weights when they are needed.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mpo_data::{
    Conversation, Rows, SystemMessage, TemplateChoice, TemplateOptions, TextTokenizer, TokenizeOptions, TokenizedRows,
    TruncationReport,
};
use mpo_models::{
    AdapterFolder, CausalLm, Checkpoint, GenerateOptions, Inspected, LoraOptions, ModelConfig, ModelError, Precision,
    Quantization,
};
use mpo_progress::Progress;

use crate::error::ChatError;
use crate::thoughts;

/// What makes a row fit.
pub const LONGER: &str = "--max-tokens cuts them";
/// The argument by which templates let a model think first, or not.
const THINKING: &str = "enable_thinking";

/// A model before its weights are read.
#[derive(Debug)]
pub struct ModelFolder {
    /// Where it is.
    pub path: PathBuf,
    /// The adapter, where the folder is one's; then the configuration is its base's.
    pub adapter: Option<AdapterFolder>,
    /// What `config.json` says.
    pub config: ModelConfig,
    /// How it reads and writes text.
    pub tokenizer: TextTokenizer,
    template: TemplateOptions,
    /// What finds it from everywhere: its whole path, or `owner/name`.
    name: String,
}

impl ModelFolder {
    /// Finds a model, on disk or on the hub.
    ///
    /// # Errors
    /// If it is not there, or is no model that can be computed.
    pub fn open(model: &str, template: &TemplateOptions, progress: &dyn Progress) -> Result<Self, ChatError> {
        let _stage = progress.begin("finding the model", None);
        let path = mpo_models::resolve(model, None)?;
        let Inspected { config, adapter, notes } = mpo_models::inspect(&path)?;
        for note in notes {
            progress.note(&note);
        }
        let mut folder = Self::with_tokenizer(path, adapter, config, template)?;
        folder.name = match fs::canonicalize(model) {
            Ok(path) => path.display().to_string(),
            Err(_) => model.to_owned(),
        };
        for (argument, others) in folder.tokenizer.template().unread_arguments() {
            progress.note(&unread(&argument, &others));
        }
        Ok(folder)
    }

    /// The same of a model that is to answer: whether it thinks first is told.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_to_ask(model: &str, template: &TemplateOptions, progress: &dyn Progress) -> Result<Self, ChatError> {
        let folder = Self::open(model, template, progress)?;
        folder.note_thinking(progress);
        Ok(folder)
    }

    /// A folder with a configuration and a tokenizer, or an adapter's beside those of its base, for weights that are not
    /// needed or yet to be made.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn without_weights(path: PathBuf, template: &TemplateOptions) -> Result<Self, ChatError> {
        let adapter = AdapterFolder::find_description(&path)?;
        let base = adapter.as_ref().map_or(&*path, AdapterFolder::base);
        let config = ModelConfig::from_dir(base).map_err(ModelError::from)?;
        Self::with_tokenizer(path, adapter, config, template)
    }

    fn with_tokenizer(
        path: PathBuf,
        adapter: Option<AdapterFolder>,
        config: ModelConfig,
        template: &TemplateOptions,
    ) -> Result<Self, ChatError> {
        let (dir, model) = match &adapter {
            None => (&*path, &*path),
            Some(adapter) => (adapter.tokenizer_dir(), adapter.base()),
        };
        let mut tokenizer = TextTokenizer::of_model(dir, model, template)?;
        if config.decoder.encoder.is_some() {
            tokenizer = tokenizer.for_encoder()?;
        }
        let name = fs::canonicalize(&path).unwrap_or_else(|_| path.clone()).display().to_string();
        Ok(Self { tokenizer, path, adapter, config, template: template.clone(), name })
    }

    /// What the weights are called that an adapter stands beside, or would: a whole path, or `owner/name`.
    pub fn base_name(&self) -> &str {
        let of_adapter = self.adapter.as_ref().and_then(|adapter| adapter.config().base());
        of_adapter.unwrap_or(&self.name)
    }

    /// Where its tokenizer is.
    pub fn tokenizer_dir(&self) -> &Path {
        self.adapter.as_ref().map_or(&self.path, AdapterFolder::tokenizer_dir)
    }

    /// Where the weights are that an adapter stands beside, or would.
    pub fn base_dir(&self) -> &Path {
        self.adapter.as_ref().map_or(&self.path, AdapterFolder::base)
    }

    /// Reads the weights; they are trainable if `device` has autodiff.
    ///
    /// # Errors
    /// If they cannot be read, or are none.
    pub fn load(&self, device: &Device, progress: &dyn Progress) -> Result<CausalLm, ChatError> {
        let _stage = progress.begin("loading the model", None);
        let (model, _) = CausalLm::load(&self.path, device)?;
        Ok(model)
    }

    /// Reads the weights to train them on `device`, or a new `adapter` beside them, quantized if they are to be; in an
    /// adapter's folder, that adapter.
    ///
    /// # Errors
    /// If they cannot be read, are none, or a new adapter is to stand on an adapter.
    pub fn load_to_train(
        &self,
        adapter: Option<&LoraOptions>,
        quantization: Option<Quantization>,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<CausalLm, ChatError> {
        let device = device.clone().autodiff();
        let Some(adapter) = adapter else {
            return self.load(&device, progress);
        };
        adapter.check(&self.config.decoder, self.adapter.as_ref())?;
        let base = match quantization {
            None => self.load_frozen(&device, progress)?,
            Some(quantization) => {
                let _stage = progress.begin("loading and quantizing the model", None);
                CausalLm::load_quantized(&self.path, &device, quantization)?.0
            }
        };
        Ok(base.with_adapter(adapter, &self.name)?)
    }

    /// Reads the weights of a model that is asked and not trained.
    ///
    /// # Errors
    /// If they cannot be read, or are none.
    pub fn load_frozen(&self, device: &Device, progress: &dyn Progress) -> Result<CausalLm, ChatError> {
        let _stage = progress.begin("loading the model", None);
        let (model, _) = CausalLm::load_frozen(&self.path, device)?;
        Ok(model)
    }

    /// The same with its products made in `precision`.
    ///
    /// # Errors
    /// If they cannot be read, or are none.
    pub fn load_in(
        &self,
        precision: Precision,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<CausalLm, ChatError> {
        let _stage = progress.begin("loading the model", None);
        let (model, _) = CausalLm::load_in(precision, &self.path, device)?;
        Ok(model)
    }

    /// Reads an adapter's weights beside its base, which is loaded already; the two share the base's weights. None if the folder
    /// is no adapter's.
    ///
    /// # Errors
    /// If they cannot be read, or are none of this base.
    pub fn load_beside(&self, base: &CausalLm, progress: &dyn Progress) -> Result<Option<CausalLm>, ChatError> {
        let _stage = progress.begin("loading the adapter", None);
        let adapter = self.adapter.as_ref().map(|adapter| base.beside(adapter));
        Ok(adapter.transpose()?)
    }

    /// Reads the weights of a model that is saved whole.
    ///
    /// # Errors
    /// If they cannot be read, or are none.
    pub fn load_dense(&self, device: &Device, progress: &dyn Progress) -> Result<CausalLm, ChatError> {
        let _stage = progress.begin("loading the model", None);
        let (model, _) = CausalLm::load_dense(&self.path, device)?;
        Ok(model)
    }

    /// Identifies everything about the model that enters what it computes.
    ///
    /// # Errors
    /// If a file of it cannot be read.
    pub fn content_hash(&self, progress: &dyn Progress) -> Result<String, ChatError> {
        let _stage = progress.begin("hashing the model", None);
        let hash = match &self.adapter {
            None => Checkpoint::open(&self.path).and_then(|checkpoint| checkpoint.content_hash()),
            Some(adapter) => adapter.content_hash(),
        };
        Ok(hash.map_err(ModelError::from)?)
    }

    /// Rows as token ids, and how much was cut, which the user is told.
    ///
    /// # Errors
    /// If a row cannot be written by the chat template, or a sequence is longer than can be computed.
    pub fn tokenize(
        &self,
        rows: &Rows,
        options: TokenizeOptions,
        progress: &dyn Progress,
    ) -> Result<(TokenizedRows, TruncationReport), ChatError> {
        let (rows, report) = self.tokenize_quietly(rows, options)?;
        self.check_positions(rows.sequence_lengths(), LONGER, progress)?;
        if report.is_worth_saying() {
            progress.note(&report);
        }
        Ok((rows, report))
    }

    /// Rows as token ids, and how much was cut.
    ///
    /// # Errors
    /// If a row cannot be written by the chat template.
    pub fn tokenize_quietly(
        &self,
        rows: &Rows,
        options: TokenizeOptions,
    ) -> Result<(TokenizedRows, TruncationReport), ChatError> {
        let (rows, report) = rows.tokenize(&self.tokenizer, options)?;
        rows.token_ids().try_for_each(|ids| self.check_ids(ids))?;
        Ok((rows, report))
    }

    /// Tells the user of sequences that are longer than the model was made for, and what helps. True if all fit.
    ///
    /// # Errors
    /// If one is longer than can be computed.
    pub fn check_positions(
        &self,
        lengths: impl IntoIterator<Item = usize>,
        remedy: &'static str,
        progress: &dyn Progress,
    ) -> Result<bool, ChatError> {
        let decoder = &self.config.decoder;
        let Some(limit) = decoder.longest().or(decoder.max_positions) else {
            return Ok(true);
        };
        let lengths: Vec<usize> = lengths.into_iter().collect();
        let beyond = lengths.iter().filter(|&&length| length > limit).count();
        let Some(longest) = lengths.iter().max().filter(|_| beyond > 0) else {
            return Ok(true);
        };
        if decoder.longest().is_some() {
            return Err(ChatError::TooLong {
                path: self.path.clone(),
                limit,
                beyond,
                of: lengths.len(),
                longest: *longest,
                remedy,
            });
        }
        progress.note(&format_args!(
            "warning: {beyond} of {} sequences have up to {longest} tokens, more than the {limit} that the model was made for; \
             what it says beyond them gets worse: {remedy}",
            lengths.len()
        ));
        Ok(false)
    }

    /// Whether a prompt of so many tokens is worth the time and memory: one of several times what the model was made for
    /// gets no answer that means anything.
    pub fn is_in_reach(&self, prompt: usize) -> bool {
        let limit = self.config.decoder.max_positions;
        limit.is_none_or(|limit| prompt <= limit.saturating_mul(4))
    }

    /// A conversation as token ids, up to where the model is to speak.
    ///
    /// # Errors
    /// If the chat template refuses it or makes nothing of it, or the model has no row for a token.
    pub fn encode_prompt<'a>(&self, conversation: impl Into<Conversation<'a>>) -> Result<Vec<u32>, ChatError> {
        let ids = self.tokenizer.encode_prompt(conversation)?;
        if ids.is_empty() {
            return Err(ChatError::EmptyPrompt);
        }
        self.check_ids(&ids)?;
        Ok(ids)
    }

    /// A text as token ids, without the chat template; a model that wants its first token gets it.
    ///
    /// # Errors
    /// If the model has no row for a token.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        let ids = self.tokenizer.encode_text(text)?;
        self.check_ids(&ids)?;
        Ok(ids)
    }

    /// The chat template as it was chosen: its name, or, as a file's text may change, what the file holds; and what it is
    /// told, where that is anything.
    pub fn template(&self) -> String {
        let TemplateOptions { template, arguments, system_message, special_tokens_in_text } = &self.template;
        let mut known = match template {
            TemplateChoice::File(_) => {
                let source = self.tokenizer.template().source();
                format!("template {}", blake3::hash(source.as_bytes()))
            }
            choice => choice.clone().into(),
        };
        if !arguments.is_empty() {
            known += &format!(" {arguments:?}");
        }
        if *system_message != SystemMessage::Keep {
            known += &format!(" system {}", String::from(*system_message));
        }
        if *special_tokens_in_text {
            known += " special tokens in text";
        }
        known
    }

    /// What a model said to a prompt, without the thoughts before it, as servers of such models give it; or why that is
    /// nothing: its thoughts have not come to an end.
    ///
    /// # Errors
    /// If the tokens are no text.
    pub fn answer_text(&self, prompt: &[u32], ids: &[u32]) -> Result<Result<String, &'static str>, ChatError> {
        // More than the tokens of an opening tag.
        const TAIL: usize = 16;
        let text = self.tokenizer.decode(ids)?;
        let template = self.tokenizer.template();
        let may_be_open = thoughts::may_open(template.source());
        let tail = &prompt[prompt.len().saturating_sub(TAIL)..];
        let is_open = may_be_open && thoughts::opens(&self.tokenizer.decode(tail)?);
        let answer = thoughts::answer(&text, may_be_open, is_open);
        Ok(answer.map(str::to_owned).ok_or(if template.mentions(THINKING) {
            "its thoughts do not come to an end: give more --max-new-tokens, or --template-arg enable_thinking=false"
        } else {
            "its thoughts do not come to an end: give more --max-new-tokens"
        }))
    }

    /// Says so where the model may think before it answers, and nobody has said whether it should.
    fn note_thinking(&self, progress: &dyn Progress) {
        if self.tokenizer.template().mentions(THINKING) && !self.template.arguments.contains(THINKING) {
            progress.note(
                &"note: the chat template has enable_thinking, and by default the model may think first, which can take all \
                 tokens of an answer; --template-arg enable_thinking=false lets it answer at once",
            );
        }
    }

    /// The chat template that a saved model needs to be asked as this one is; none where it is the folder's own.
    pub fn template_to_save(&self) -> Option<String> {
        match self.template.template {
            TemplateChoice::Auto => None,
            _ => Some(self.tokenizer.template_to_save()),
        }
    }

    /// The token that fills batches up: the configuration's, else the tokenizer's, else the end of the sequence.
    pub fn pad_token(&self) -> u32 {
        let eos = self.tokenizer.eos_id();
        [self.config.decoder.pad_token_id, Some(self.tokenizer.pad_id())]
            .into_iter()
            .flatten()
            .find(|&id| self.knows(id))
            .unwrap_or(eos)
    }

    /// How to generate answers of at most this length, greedily, eight at once.
    pub fn generate_options(&self, max_new_tokens: usize) -> GenerateOptions {
        let mut stop_ids = self.tokenizer.stop_ids();
        stop_ids.extend(&self.config.decoder.eos_token_ids);
        GenerateOptions { max_new_tokens, stop_ids, sampling: None, batch_size: 8 }
    }

    /// Whether the model has a row for every one of these tokens: a tokenizer may have more.
    ///
    /// # Errors
    /// If it has none for one.
    pub fn check_ids(&self, ids: &[u32]) -> Result<(), ChatError> {
        match ids.iter().find(|&&id| !self.knows(id)) {
            None => Ok(()),
            Some(&id) => {
                Err(ChatError::UnknownToken { path: self.path.clone(), vocab_size: self.config.decoder.vocab_size, id })
            }
        }
    }

    fn knows(&self, id: u32) -> bool {
        (id as usize) < self.config.decoder.vocab_size
    }
}

/// That the template does not read an argument, and which it does read.
fn unread(argument: &str, others: &[String]) -> String {
    const SHOWN: usize = 3;
    let known = match &others[..others.len().min(SHOWN)] {
        [] => "it reads none".into(),
        names => format!("it reads {}", names.join(", ")),
    };
    format!("warning: the chat template does not read {argument}, which so changes nothing: {known}")
}

#[cfg(test)]
mod tests {
    use mpo_progress::Silent;

    use super::*;

    #[test]
    fn an_argument_that_is_not_read_is_told_with_those_that_are() {
        let names = ["enable_thinking", "a", "b", "c"].map(String::from);
        let said = unread("enable_thinkin", &names);
        assert!(said.ends_with("it reads enable_thinking, a, b"), "{said}");
        assert!(unread("x", &[]).ends_with("it reads none"));
    }

    #[test]
    fn a_template_in_a_file_is_known_by_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chat.jinja");
        let miniature = concat!(env!("CARGO_MANIFEST_DIR"), "/../mpo-train/miniature/model");
        let template = |end: &str| {
            let text = "{% for message in messages %}{{ message.content }}{% endfor %}";
            fs::write(&file, format!("{text}{end}")).unwrap();
            let choice = TemplateChoice::File(file.clone());
            let folder = ModelFolder::open(miniature, &choice.into(), &Silent).unwrap();
            folder.template()
        };
        let first = template("");
        assert_ne!(template("!"), first);
        assert_eq!(template(""), first);
    }
}
