//! T5 (Raffel et al., 2020), its versions 1.1 and Flan, and mT5: an encoder, and a decoder that attends to what it made.

use mpo_kernels::Activation;

use super::dialect::{Dialect, MAX_LAYERS};
use super::fields::{COMPARE, Fields};
use super::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, EncoderConfig, MlpConfig, NormConfig,
    NormPlace, QkNorm,
};

pub(super) const T5: Dialect = Dialect { model_type: "t5", class: "T5ForConditionalGeneration", read: read_t5 };
pub(super) const MT5: Dialect = Dialect { model_type: "mt5", class: "MT5ForConditionalGeneration", read: read_mt5 };

fn read_t5(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let config = trunk(fields, "relu")?;
    // The first version scales what its tied head is given. Transformers 5 has a key for it; before, a head of its own said that
    // nothing is scaled.
    let scales = fields.flag("scale_decoder_outputs", config.tie_word_embeddings)?;
    let logit_scale = scales.then(|| (config.hidden_size as f64).powf(-0.5));
    Ok(DecoderConfig { logit_scale, ..config })
}

fn read_mt5(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    trunk(fields, "gated-gelu")
}

fn trunk(fields: &Fields<'_>, feed_forward: &str) -> Result<DecoderConfig, ConfigError> {
    let layers = |key: &str| match fields.optional_size(key)? {
        Some(layers) if layers > MAX_LAYERS => Err(fields.error(key, format!("at most {MAX_LAYERS} layers"), COMPARE)),
        layers => Ok(layers),
    };
    let encoder_layers = match layers("num_layers")? {
        Some(layers) => layers,
        None => fields.size("num_layers")?,
    };
    let (gated, activation) = match fields.text("feed_forward_proj")?.unwrap_or(feed_forward) {
        "relu" => (false, Activation::GeluTanh),
        "gated-gelu" => (true, Activation::GeluTanh),
        "gated-silu" => (true, Activation::Silu),
        _ => {
            return Err(fields.error(
                "feed_forward_proj",
                "relu, gated-gelu or gated-silu",
                "choose a model with one of these activations",
            ));
        }
    };
    let (buckets, max_distance) = (
        fields.optional_size("relative_attention_num_buckets")?.unwrap_or(32),
        fields.optional_size("relative_attention_max_distance")?.unwrap_or(128),
    );
    // An encoder has one half of the buckets for what is behind, and of each half one half for single distances.
    if !buckets.is_multiple_of(4) {
        return Err(fields.error("relative_attention_num_buckets", "a multiple of 4", COMPARE));
    }
    if max_distance <= buckets / 2 {
        let expected = format!("more than half of relative_attention_num_buckets = {buckets}");
        return Err(fields.error("relative_attention_max_distance", expected, COMPARE));
    }
    let num_heads = fields.size("num_heads")?;
    let pad_token_id = fields.token_id("pad_token_id")?.or(Some(0));
    let start_token_id = fields.token_id("decoder_start_token_id")?.or(pad_token_id).unwrap_or(0);
    let vocab_size = fields.size("vocab_size")?;
    if start_token_id as usize >= vocab_size {
        let expected = format!("a token below vocab_size = {vocab_size}");
        return Err(fields.error("decoder_start_token_id", expected, COMPARE));
    }
    let mut eos_token_ids = fields.token_ids("eos_token_id")?;
    if !fields.has("eos_token_id") {
        eos_token_ids.push(1);
    }
    Ok(DecoderConfig {
        architecture: Architecture::T5,
        vocab_size,
        hidden_size: fields.size("d_model")?,
        embedding_scale: None,
        tie_word_embeddings: fields.flag("tie_word_embeddings", true)?,
        logit_scale: None,
        final_softcap: None,
        attention: AttentionConfig {
            num_heads,
            num_kv_heads: num_heads,
            head_dim: fields.size("d_kv")?,
            fused: false,
            bias: AttentionBias::all(false),
            qk_norm: QkNorm::None,
            scale: 1.0,
            softcap: None,
        },
        mlp: MlpConfig { intermediate_size: fields.size("d_ff")?, fused: false, activation, bias: false },
        norm: NormConfig {
            eps: fields.positive("layer_norm_epsilon")?.unwrap_or(1e-6),
            offset: 0.0,
            centred: false,
            place: NormPlace::Before,
        },
        num_layers: layers("num_decoder_layers")?.unwrap_or(encoder_layers),
        layers: vec![],
        encoder: Some(EncoderConfig { num_layers: encoder_layers, buckets, max_distance, gated, start_token_id }),
        bos_token_id: None,
        eos_token_ids,
        pad_token_id,
        // Distances have buckets, whatever they are.
        max_positions: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{DecoderConfig, EncoderConfig, ModelConfig};

    fn read(model_type: &str, changes: Value) -> Result<ModelConfig, String> {
        let mut config = json!({
            "model_type": model_type, "vocab_size": 32, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 3,
            "num_heads": 2,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        ModelConfig::from_json(config).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_file_leaves_out_is_as_in_transformers() {
        let read = |model_type, changes| read(model_type, changes).unwrap().decoder;
        let encoder = |decoder: &DecoderConfig| {
            let EncoderConfig { num_layers, buckets, max_distance, gated, start_token_id } = decoder.encoder.unwrap();
            (num_layers, buckets, max_distance, gated, start_token_id)
        };
        let t5 = read("t5", json!({}));
        assert_eq!((encoder(&t5), t5.logit_scale), ((3, 32, 128, false, 0), Some(0.25)));
        let mt5 = read("mt5", json!({"num_decoder_layers": 5, "decoder_start_token_id": 7}));
        assert_eq!((encoder(&mt5), mt5.logit_scale), ((3, 32, 128, true, 7), None));
        assert_eq!((mt5.num_layers, mt5.eos_token_ids, mt5.pad_token_id), (5, vec![1], Some(0)));
    }

    /// Files of Transformers 4 say so by a head of its own, those of Transformers 5 by a key.
    #[test]
    fn what_the_head_of_the_first_version_alone_is_given_is_scaled() {
        let scale = |model_type, changes| read(model_type, changes).unwrap().decoder.logit_scale;
        assert_eq!(scale("t5", json!({"tie_word_embeddings": false})), None);
        assert_eq!(scale("t5", json!({"tie_word_embeddings": true})), Some(0.25));
        let flan = json!({"tie_word_embeddings": true, "scale_decoder_outputs": false});
        assert_eq!(scale("t5", flan), None);
        assert_eq!(scale("mt5", json!({"tie_word_embeddings": true})), None);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (changes, key) in [
            (json!({"feed_forward_proj": "gelu"}), "feed_forward_proj"),
            (json!({"relative_attention_num_buckets": 30}), "relative_attention_num_buckets"),
            (json!({"relative_attention_max_distance": 16}), "relative_attention_max_distance"),
            (json!({"num_layers": 5000}), "num_layers"),
            (json!({"num_layers": null}), "num_layers"),
            (json!({"num_heads": 0}), "num_heads"),
            (json!({"decoder_start_token_id": 32}), "decoder_start_token_id"),
            (json!({"architectures": ["T5EncoderModel"]}), "architectures"),
        ] {
            let error = read("t5", changes).unwrap_err();
            assert!(error.contains(&format!("{key}: expected")), "{error}");
        }
        assert!(read("umt5", json!({})).unwrap_err().contains("model_type: expected one of"));
    }
}
