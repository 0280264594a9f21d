//! A translator on this machine: NLLB or M2M-100, by beam search.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mpo_chat::{ChatError, ChatModel, Listener, Reply, Usage};
use mpo_data::{Message, TranslationTokenizer};
use mpo_models::{Checkpoint, ModelError, TranslateOptions, Translator as Model, TranslatorConfig, resolve, translate};

use super::kept::translations;
use super::{Direction, Means, Translated, Translator, TranslatorDefinition};
use crate::error::PrepareError;

const NAME: &str = "nllb";

/// Beams of a text, which are ranked by their mean log-probability.
const BEAMS: usize = 4;

/// Texts at once.
const BATCH_SIZE: usize = 8;

/// Tokens of a text at most: what Transformers takes for the positions that the architecture was made for.
const LONGEST_TEXT: usize = 1024;

pub(super) static TRANSLATOR: TranslatorDefinition = TranslatorDefinition {
    name: NAME,
    usage: "nllb=FOLDER",
    help: "a model that translates, NLLB-200 or M2M-100, in a folder or on the hub",
    ready: |settings| {
        let folder = settings.needed(NAME, "a model", "such as nllb=facebook/nllb-200-distilled-600M")?;
        let folder = resolve(folder, None).map_err(ChatError::from)?;
        // What cannot be read is heard of now, before any answer is made; the weights are read when the first text comes.
        let config = TranslatorConfig::from_dir(&folder).map_err(|error| ChatError::from(ModelError::from(error)))?;
        let tokenizer = TranslationTokenizer::from_dir(&folder)?;
        let device = settings.device.clone().unwrap_or_default();
        Ok(Box::new(OnThisMachine { folder, config, tokenizer, device, max_tokens: settings.max_tokens, loaded: None }))
    },
};

struct OnThisMachine {
    folder: PathBuf,
    config: TranslatorConfig,
    tokenizer: TranslationTokenizer,
    device: Device,
    max_tokens: usize,
    loaded: Option<Loaded>,
}

/// The weights, and their hash.
struct Loaded {
    model: Model,
    hash: String,
}

impl Loaded {
    fn new(folder: &Path, device: &Device, means: &Means<'_>) -> Result<Self, ChatError> {
        let _stage = means.progress.begin("reading the translator", None);
        let hash = Checkpoint::open(folder).and_then(|checkpoint| checkpoint.content_hash());
        let hash = hash.map_err(ModelError::from)?;
        Ok(Self { model: Model::load(folder, device)?, hash })
    }
}

impl Translator for OnThisMachine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn translate(
        &mut self,
        direction: Direction,
        texts: &[String],
        means: &Means<'_>,
    ) -> Result<Translated, PrepareError> {
        let id = |language| self.tokenizer.language_id(language).filter(|&id| (id as usize) < self.config.vocab_size);
        let (from, to) = match (id(direction.from), id(direction.to)) {
            (Some(from), Some(to)) => (from, to),
            (None, _) => return Ok(unknown(direction.from.name(), texts)),
            (_, None) => return Ok(unknown(direction.to.name(), texts)),
        };
        let loaded = match self.loaded.take() {
            Some(loaded) => loaded,
            None => Loaded::new(&self.folder, &self.device, means)?,
        };
        let Loaded { model, hash } = self.loaded.insert(loaded);
        let options = TranslateOptions {
            beams: BEAMS,
            length_penalty: 1.0,
            first: Some(to),
            // The language's token and the end take one each.
            max_new_tokens: self.max_tokens + 2,
            batch_size: BATCH_SIZE,
        };
        let mut chat = Asked { model, hash, tokenizer: &self.tokenizer, from, options };
        let requests: Vec<_> = texts.iter().map(|text| vec![Message::user(text)]).collect();
        // The same would come again: what is no translation is kept too.
        translations(&mut chat, direction, &requests, &|_| true, means)
    }
}

/// That the translator does not know a language.
fn unknown(language: &str, texts: &[String]) -> Translated {
    let reason = || Err(format!("it has no token for {language}"));
    Translated { texts: texts.iter().map(|_| reason()).collect(), ..Translated::default() }
}

/// A translator that is asked in one direction.
struct Asked<'a> {
    model: &'a Model,
    hash: &'a str,
    tokenizer: &'a TranslationTokenizer,
    from: u32,
    options: TranslateOptions,
}

impl ChatModel for Asked<'_> {
    fn identity(&self) -> String {
        let TranslateOptions { beams, length_penalty, first, max_new_tokens, batch_size: _ } = &self.options;
        format!(
            "{NAME} {} from {} to {first:?} beams {beams} length_penalty {length_penalty} max_new_tokens {max_new_tokens}",
            self.hash, self.from
        )
    }

    fn answer(&mut self, conversations: &[Vec<Message>], listener: &mut dyn Listener) -> Result<(), ChatError> {
        let (mut texts, mut numbers) = (vec![], vec![]);
        for (number, messages) in conversations.iter().enumerate() {
            let text = messages.last().map_or("", |message| &*message.content);
            let ids = self.tokenizer.encode(self.from, text)?;
            let vocabulary = self.model.config().vocab_size;
            let problem = match ids.iter().find(|&&id| id as usize >= vocabulary) {
                Some(id) => Some(format!("token {id} is not one of the translator's {vocabulary}")),
                None if ids.len() > LONGEST_TEXT => Some(format!("a text of {} tokens is too long for it", ids.len())),
                None => None,
            };
            match problem {
                Some(reason) => listener.reply(number, &Reply::Missing { reason }),
                None => {
                    texts.push(ids);
                    numbers.push(number);
                }
            }
        }
        let mut decoded = Ok(());
        translate(self.model, &texts, &self.options, |at, answer| {
            match self.tokenizer.decode(&answer.ids) {
                Ok(text) => {
                    let usage =
                        Usage { prompt_tokens: texts[at].len() as u64, completion_tokens: answer.ids.len() as u64 };
                    listener.reply(numbers[at], &Reply::Answer { text, complete: answer.complete, usage });
                }
                Err(error) => decoded = Err(error),
            }
            decoded.is_ok() && !listener.is_stopped()
        })?;
        decoded?;
        if listener.is_stopped() {
            return Err(ChatError::Stopped);
        }
        Ok(())
    }
}
