//! M2M-100 and NLLB, which are translators: an encoder and a decoder of LayerNorms and linear maps with biases, with fixed
//! positions.

use std::path::Path;

use serde_json::Value;

use super::dialect::MAX_LAYERS;
use super::fields::{COMPARE, Fields};
use super::{CONFIG_FILE, ConfigError, file};

/// What `config.json` calls both.
pub(super) const MODEL_TYPE: &str = "m2m_100";

/// What a translator is.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslatorConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Whether embeddings are multiplied by the root of their width.
    pub scale_embedding: bool,
    /// The stack that reads a text.
    pub encoder: StackConfig,
    /// The stack that writes its translation.
    pub decoder: StackConfig,
    /// The token that fills a batch; positions are counted from the next number on.
    pub pad_token_id: u32,
    /// What the decoder's input begins with.
    pub start_token_id: u32,
    /// The tokens that end a translation.
    pub eos_token_ids: Vec<u32>,
}

/// One of its stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackConfig {
    /// Number of layers.
    pub layers: usize,
    /// Heads, which divide the width.
    pub heads: usize,
    /// Inner width of the feed-forward blocks.
    pub intermediate_size: usize,
}

impl TranslatorConfig {
    /// Reads `config.json` in a translator's folder.
    ///
    /// # Errors
    /// If there is none, or it is of another architecture.
    pub fn from_dir(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(CONFIG_FILE);
        let hint = "pass the folder of a translator in Hugging Face layout";
        let bytes = file::read(&path).map_err(|error| file::unread(&path, &error, hint))?;
        Self::from_value(&path, &file::parse(&path, &bytes)?)
    }

    fn from_value(path: &Path, value: &Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => Self::read(&Fields::new(path, map)),
            other => Err(file::not_an_object(path, other)),
        }
    }

    fn read(fields: &Fields<'_>) -> Result<Self, ConfigError> {
        if fields.text("model_type")? != Some(MODEL_TYPE) {
            let hint = "choose a translator of this architecture: M2M-100 or NLLB-200, not its mixture of experts";
            return Err(fields.error("model_type", MODEL_TYPE, hint));
        }
        if !matches!(fields.text("activation_function")?, None | Some("relu")) {
            return Err(fields.error("activation_function", "relu", COMPARE));
        }
        let hidden_size = fields.optional_size("d_model")?.unwrap_or(1024);
        // Positions have half of the width for sines and half for cosines, and divide by one less.
        if hidden_size < 4 || !hidden_size.is_multiple_of(2) {
            return Err(fields.error("d_model", "an even size of at least 4", COMPARE));
        }
        let vocab_size = fields.size("vocab_size")?;
        let token = |key: &str, usual: u32| match fields.token_id(key)?.unwrap_or(usual) {
            id if (id as usize) < vocab_size => Ok(id),
            _ => Err(fields.error(key, format!("a token below vocab_size = {vocab_size}"), COMPARE)),
        };
        let mut eos_token_ids = fields.token_ids("eos_token_id")?;
        if eos_token_ids.is_empty() {
            eos_token_ids.push(2);
        }
        Ok(Self {
            vocab_size,
            hidden_size,
            scale_embedding: fields.flag("scale_embedding", true)?,
            encoder: stack(fields, hidden_size, ["encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"])?,
            decoder: stack(fields, hidden_size, ["decoder_layers", "decoder_attention_heads", "decoder_ffn_dim"])?,
            pad_token_id: token("pad_token_id", 1)?,
            start_token_id: token("decoder_start_token_id", 2)?,
            eos_token_ids,
        })
    }
}

/// A stack by the keys that say its layers, heads and inner width.
fn stack(fields: &Fields<'_>, hidden_size: usize, keys: [&str; 3]) -> Result<StackConfig, ConfigError> {
    let [layers, heads, intermediate_size] = [fields.size(keys[0])?, fields.size(keys[1])?, fields.size(keys[2])?];
    if layers > MAX_LAYERS {
        return Err(fields.error(keys[0], format!("at most {MAX_LAYERS} layers"), COMPARE));
    }
    if !hidden_size.is_multiple_of(heads) {
        return Err(fields.error(keys[1], format!("a divisor of d_model = {hidden_size}"), COMPARE));
    }
    Ok(StackConfig { layers, heads, intermediate_size })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ModelConfig;

    fn small() -> Value {
        json!({
            "model_type": "m2m_100", "vocab_size": 64, "d_model": 24, "encoder_layers": 3, "encoder_attention_heads": 4,
            "encoder_ffn_dim": 40, "decoder_layers": 2, "decoder_attention_heads": 3, "decoder_ffn_dim": 56,
        })
    }

    fn read(changes: &Value) -> Result<TranslatorConfig, String> {
        let mut config = small();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        TranslatorConfig::from_value("config.json".as_ref(), &config).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_file_leaves_out_is_as_in_transformers() {
        let config = read(&json!({})).unwrap();
        assert!(config.scale_embedding);
        assert_eq!((config.pad_token_id, config.start_token_id, config.eos_token_ids), (1, 2, vec![2]));
        assert_eq!(config.encoder, StackConfig { layers: 3, heads: 4, intermediate_size: 40 });
        assert_eq!(config.decoder, StackConfig { layers: 2, heads: 3, intermediate_size: 56 });
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (changes, key) in [
            (json!({"model_type": "nllb-moe"}), "model_type"),
            (json!({"activation_function": "gelu"}), "activation_function"),
            (json!({"d_model": 25}), "d_model"),
            (json!({"encoder_attention_heads": 5}), "encoder_attention_heads"),
            (json!({"decoder_layers": 5000}), "decoder_layers"),
            (json!({"decoder_ffn_dim": null}), "decoder_ffn_dim"),
            (json!({"decoder_start_token_id": 64}), "decoder_start_token_id"),
        ] {
            let error = read(&changes).unwrap_err();
            assert!(error.contains(&format!("{key}: expected")), "{error}");
        }
    }

    #[test]
    fn a_translator_is_no_model_to_be_trained() {
        let error = ModelConfig::from_json(small()).unwrap_err();
        assert!(error.hint.contains("--translator"), "{error:?}");
    }
}
