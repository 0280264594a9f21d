//! Models of text and images whose text half is one of the decoders known here: read, trained and saved as that decoder.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::dialect::DIALECTS;

/// Models that leave their decoder as it is, and the type of a decoder whose configuration does not name it.
const WHOLES: [(&str, Option<&str>); 4] = [
    ("gemma3", Some("gemma3_text")),
    ("llava", Some("llama")),
    ("llava_next", Some("llama")),
    ("llava_onevision", Some("qwen2")),
];

/// Keys that may stand beside the text half and mean it.
const SHARED: [&str; 8] = [
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "tie_word_embeddings",
    "torch_dtype",
    "dtype",
    "quantization_config",
    "compression_config",
];

/// The configuration of the text half, as that of a model of its own; of a model of text alone, what it is.
pub(super) fn text_half(config: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    match of_whole(config) {
        Some(text) => Cow::Owned(text),
        None => Cow::Borrowed(config),
    }
}

fn of_whole(config: &Map<String, Value>) -> Option<Map<String, Value>> {
    let model_type = config.get("model_type")?.as_str()?;
    let (_, default) = WHOLES.iter().find(|(whole, _)| *whole == model_type)?;
    let text = config.get("text_config")?.as_object()?;
    let decoder = text.get("model_type").and_then(Value::as_str).or(*default)?;
    let dialect = DIALECTS.iter().find(|dialect| dialect.model_type == decoder)?;
    let mut merged = defaults(decoder)?;
    for key in SHARED {
        if let Some(value) = config.get(key) {
            merged.insert(key.into(), value.clone());
        }
    }
    for (key, value) in text {
        merged.insert(key.clone(), value.clone());
    }
    merged.insert("model_type".into(), decoder.into());
    merged.insert("architectures".into(), json!([dialect.class]));
    Some(merged)
}

/// The sizes that Transformers takes where the text half leaves them out, as published files do.
fn defaults(decoder: &str) -> Option<Map<String, Value>> {
    let sizes = match decoder {
        "llama" => json!({
            "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
            "num_attention_heads": 32, "max_position_embeddings": 2048,
        }),
        "qwen2" | "qwen3" => json!({
            "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 22_016, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32_768,
        }),
        "gemma2" => json!({
            "vocab_size": 256_000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
            "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 8192,
        }),
        "gemma3_text" => json!({
            "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
            "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 131_072,
        }),
        _ => return None,
    };
    match sizes {
        Value::Object(sizes) => Some(sizes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Architecture, ModelConfig};

    #[test]
    fn the_text_half_is_read_and_saved_as_a_model_of_its_own() {
        let config = json!({
            "model_type": "gemma3",
            "architectures": ["Gemma3ForConditionalGeneration"],
            "eos_token_id": [1, 106],
            "text_config": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7, "sliding_window": 16},
            "vision_config": {"hidden_size": 32},
        });
        let model = ModelConfig::from_json(config).unwrap();
        assert_eq!(model.whole.as_deref(), Some("gemma3"));
        assert_eq!(model.decoder.architecture, Architecture::Gemma3);
        assert_eq!((model.decoder.hidden_size, model.decoder.vocab_size), (64, 262_208));
        assert_eq!((model.decoder.attention.num_heads, model.decoder.attention.num_kv_heads), (8, 4));
        assert_eq!(model.decoder.eos_token_ids, [1, 106]);
        // What is saved is read again as the same.
        assert_eq!(model.raw["architectures"], json!(["Gemma3ForCausalLM"]));
        let saved = ModelConfig::from_json(model.raw.into()).unwrap();
        assert_eq!((saved.decoder, saved.whole), (model.decoder, None));
    }

    #[test]
    fn sizes_that_are_left_out_are_those_of_transformers() {
        let config = json!({
            "model_type": "llava", "tie_word_embeddings": false,
            "text_config": {"model_type": "llama", "vocab_size": 32_064, "architectures": ["LlamaForCausalLM"]},
        });
        let decoder = ModelConfig::from_json(config).unwrap().decoder;
        assert_eq!((decoder.num_layers, decoder.attention.num_heads, decoder.attention.head_dim), (32, 32, 128));
        assert_eq!((decoder.hidden_size, decoder.vocab_size), (4096, 32_064));
    }

    #[test]
    fn an_unknown_multimodal_model_is_refused() {
        for (whole, text) in [("gemma3", "mamba"), ("unheard_of", "llama")] {
            let config = json!({"model_type": whole, "text_config": {"model_type": text}});
            let error = ModelConfig::from_json(config).unwrap_err();
            assert!(error.hint().contains("text decoder"), "{}", error.hint());
        }
    }
}
