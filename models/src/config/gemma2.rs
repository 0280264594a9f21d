//! Gemma 2: norms before and after each block, soft-capped scores, every other layer sliding.

use super::dialect::{Defaults, Dialect};
use super::fields::Fields;
use super::rope::Rotary;
use super::windows::{sliding_window, windows};
use super::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, NormConfig, NormPlace,
    RopeConfig,
};

pub(super) const DIALECT: Dialect = Dialect { model_type: "gemma2", class: "Gemma2ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = trunk(fields, Architecture::Gemma2)?;
    let rope = RopeConfig::read(fields, Rotary::of(&trunk, 10_000.0))?;
    let window = sliding_window(fields)?;
    let windows = windows(fields, trunk.num_layers, window, |layer| layer.is_multiple_of(2))?;
    Ok(DecoderConfig {
        attention: AttentionConfig {
            softcap: softcap(fields, "attn_logit_softcapping", Some(50.0))?,
            ..trunk.attention
        },
        final_softcap: softcap(fields, "final_logit_softcapping", Some(30.0))?,
        layers: windows.into_iter().map(|window| LayerConfig { window, rope: Some(rope.clone()) }).collect(),
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
            head_dim: Some(256),
            activation_key: "hidden_activation",
            activation: "gelu_pytorch_tanh",
            tie_word_embeddings: true,
            pad_token_id: Some(0),
            ..Defaults::of_llama(architecture)
        },
    )?;
    let query_scalar = fields.positive("query_pre_attn_scalar")?.unwrap_or(256.0);
    Ok(DecoderConfig {
        embedding_scale: Some((trunk.hidden_size as f64).sqrt()),
        attention: AttentionConfig {
            bias: AttentionBias::all(fields.flag("attention_bias", false)?),
            scale: query_scalar.powf(-0.5),
            ..trunk.attention
        },
        norm: NormConfig { offset: 1.0, place: NormPlace::Around, ..trunk.norm },
        ..trunk
    })
}

/// A soft-cap: `null` turns it off, a missing key means the architecture's default.
pub(super) fn softcap(fields: &Fields<'_>, key: &str, default: Option<f64>) -> Result<Option<f64>, ConfigError> {
    if fields.has(key) { fields.positive(key) } else { Ok(default) }
}
