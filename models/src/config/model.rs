//! A configuration with the file that it came from.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{CONFIG_FILE, ConfigError, DecoderConfig, file, generation, multimodal, quantized};

/// A decoder's configuration with the file it came from, so that a trained model is saved under the same one.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// What the file means.
    pub decoder: DecoderConfig,
    /// What the file says, every key in its order, but for those of quantized weights, which are saved as others are; of a
    /// multimodal model, what it says of the text half.
    pub raw: Map<String, Value>,
    /// Whether linear maps of the layers are stored in NF4, as bitsandbytes writes it.
    pub nf4: bool,
    /// Of a multimodal model, the type of the whole.
    pub whole: Option<String>,
}

impl ModelConfig {
    /// Reads `config.json` in a model's folder, and `generation_config.json` if there is one: the tokens that it ends at
    /// are the decoder's too.
    pub fn from_dir(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(CONFIG_FILE);
        let hint = "pass the folder of a model in Hugging Face layout";
        let bytes = file::read(&path).map_err(|error| file::unread(&path, &error, hint))?;
        let mut config = Self::from_value(&path, file::parse(&path, &bytes)?)?;
        let eos = &mut config.decoder.eos_token_ids;
        for id in generation::eos_token_ids(dir)? {
            if !eos.contains(&id) {
                eos.push(id);
            }
        }
        Ok(config)
    }

    /// Takes the contents of a `config.json`, such as those of a model made from scratch.
    pub fn from_json(config: Value) -> Result<Self, ConfigError> {
        Self::from_value(Path::new(CONFIG_FILE), config)
    }

    fn from_value(path: &Path, value: Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => {
                let text = multimodal::text_half(&map);
                let whole = match &text {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(_) => map["model_type"].as_str().map(str::to_owned),
                };
                let nf4 = quantized::is_nf4(&Fields::new(path, &text))?;
                let decoder = DecoderConfig::from_map(path, &text)?;
                let mut raw = text.into_owned();
                raw.retain(|key, _| !quantized::KEYS.contains(&key.as_str()));
                Ok(Self { decoder, raw, nf4, whole })
            }
            other => Err(file::not_an_object(path, &other)),
        }
    }
}
