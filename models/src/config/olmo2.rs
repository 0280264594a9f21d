//! OLMo 2: norms on the outputs of attention and feed-forward block and none before them, and on queries and keys as wholes.

use super::dialect::{Defaults, Dialect};
use super::fields::Fields;
use super::rope::Rotary;
use super::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, NormConfig, NormPlace,
    QkNorm, RopeConfig,
};

pub(super) const DIALECT: Dialect = Dialect { model_type: "olmo2", class: "Olmo2ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = trunk(fields)?;
    let layer = LayerConfig { window: None, rope: Some(RopeConfig::read(fields, Rotary::of(&trunk, 10_000.0))?) };
    Ok(DecoderConfig { layers: vec![layer; trunk.num_layers], ..trunk })
}

/// What OLMo 2 and OLMo 3 share.
pub(super) fn trunk(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let defaults = Defaults { norm_eps: 1e-5, pad_token_id: Some(1), ..Defaults::of_llama(Architecture::Olmo2) };
    let trunk = DecoderConfig::trunk(fields, defaults)?;
    Ok(DecoderConfig {
        attention: AttentionConfig {
            bias: AttentionBias::all(fields.flag("attention_bias", false)?),
            qk_norm: QkNorm::Whole,
            ..trunk.attention
        },
        norm: NormConfig { place: NormPlace::After, ..trunk.norm },
        ..trunk
    })
}
