//! Cohere's Command R and Aya: attention and feed-forward block side by side behind one LayerNorm, neighbours rotated
//! together, and scaled logits.

use super::dialect::{Defaults, Dialect};
use super::fields::{COMPARE, Fields};
use super::rope::{self, Rotary};
use super::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, NormConfig, NormPlace,
    RopeConfig, RopePairs,
};

pub(super) const DIALECT: Dialect = Dialect { model_type: "cohere", class: "CohereForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = trunk(fields, Architecture::Cohere)?;
    // Command R+ has norms with weights of their own for each head.
    fields.all_off(&["use_qk_norm"])?;
    let says_theta = |fields: &Fields<'_>| fields.value("rope_theta").is_some();
    if !says_theta(fields) && !rope::parameters(fields)?.is_some_and(|parameters| says_theta(&parameters)) {
        // Transformers 4 took 10,000 for it, Transformers 5 takes 500,000.
        return Err(fields.error("rope_theta", "a positive number", COMPARE));
    }
    let layer = LayerConfig { window: None, rope: Some(rope(fields, &trunk)?) };
    Ok(DecoderConfig { layers: vec![layer; trunk.num_layers], ..trunk })
}

/// What Cohere's and Cohere's second architecture share.
pub(super) fn trunk(fields: &Fields<'_>, architecture: Architecture) -> Result<DecoderConfig, ConfigError> {
    let trunk = DecoderConfig::trunk(
        fields,
        Defaults {
            tie_word_embeddings: true,
            norm_eps_key: "layer_norm_eps",
            norm_eps: 1e-5,
            pad_token_id: Some(0),
            ..Defaults::of_llama(architecture)
        },
    )?;
    Ok(DecoderConfig {
        logit_scale: Some(fields.positive("logit_scale")?.unwrap_or(0.0625)),
        attention: AttentionConfig {
            bias: AttentionBias::all(fields.flag("attention_bias", false)?),
            ..trunk.attention
        },
        norm: NormConfig { centred: true, place: NormPlace::Shared, ..trunk.norm },
        // The published files understate max_position_embeddings.
        max_positions: fields.count("model_max_length")?.or(trunk.max_positions),
        ..trunk
    })
}

pub(super) fn rope(fields: &Fields<'_>, trunk: &DecoderConfig) -> Result<RopeConfig, ConfigError> {
    RopeConfig::read(fields, Rotary { pairs: RopePairs::Neighbours, ..Rotary::of(trunk, 10_000.0) })
}
