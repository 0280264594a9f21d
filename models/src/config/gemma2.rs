//! Gemma 2: norms before and after each block, soft-capped scores, every other layer sliding.

use super::{
    Architecture, AttentionBias, ConfigError, DecoderConfig, Defaults, Dialect, Fields, LayerConfig, RopeConfig,
    windows,
};

pub(super) const DIALECT: Dialect = Dialect { model_type: "gemma2", class: "Gemma2ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = trunk(fields, Architecture::Gemma2)?;
    let rope = RopeConfig::read(fields, 10_000.0)?;
    let window = window(fields)?;
    let windows = windows(fields, trunk.num_layers, window, |layer| layer.is_multiple_of(2))?;
    Ok(DecoderConfig {
        attention_softcap: softcap(fields, "attn_logit_softcapping", Some(50.0))?,
        final_softcap: softcap(fields, "final_logit_softcapping", Some(30.0))?,
        layers: windows.into_iter().map(|window| LayerConfig { window, rope }).collect(),
        ..trunk
    })
}

/// What Gemma 2 and Gemma 3 share.
pub(super) fn trunk(fields: &Fields<'_>, architecture: Architecture) -> Result<DecoderConfig, ConfigError> {
    if fields.flag("use_bidirectional_attention", false)? {
        return Err(fields.error(
            "use_bidirectional_attention",
            "false or nothing",
            "this is an embedding model; choose a model that generates text",
        ));
    }
    let trunk = DecoderConfig::trunk(
        fields,
        Defaults {
            architecture,
            head_dim: Some(256),
            activation_key: "hidden_activation",
            activation: "gelu_pytorch_tanh",
            tie_word_embeddings: true,
        },
    )?;
    let query_scalar = fields.positive("query_pre_attn_scalar")?.unwrap_or(256.0);
    Ok(DecoderConfig {
        norm_offset: 1.0,
        embedding_scale: Some((trunk.hidden_size as f64).sqrt()),
        attention_bias: AttentionBias::all(fields.flag("attention_bias", false)?),
        post_norms: true,
        // Transformers' default where the file says nothing.
        pad_token_id: match fields.has("pad_token_id") {
            true => trunk.pad_token_id,
            false => Some(0),
        },
        attention_scale: query_scalar.powf(-0.5),
        ..trunk
    })
}

/// The window of the sliding layers.
pub(super) fn window(fields: &Fields<'_>) -> Result<Option<usize>, ConfigError> {
    match fields.has("sliding_window") {
        true => fields.optional_size("sliding_window"),
        false => Ok(Some(4096)),
    }
}

/// A soft-cap: `null` turns it off, a missing key means the architecture's default.
pub(super) fn softcap(fields: &Fields<'_>, key: &str, default: Option<f64>) -> Result<Option<f64>, ConfigError> {
    match fields.has(key) {
        true => fields.positive(key),
        false => Ok(default),
    }
}
