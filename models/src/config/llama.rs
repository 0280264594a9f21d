//! LLaMA: the plain pre-norm decoder that the others vary.

use super::dialect::{Defaults, Dialect};
use super::fields::Fields;
use super::rope::Rotary;
use super::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, MlpConfig, RopeConfig,
};

pub(super) const DIALECT: Dialect = Dialect { model_type: "llama", class: "LlamaForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = DecoderConfig::trunk(fields, Defaults::of_llama(Architecture::Llama))?;
    let layer = LayerConfig { window: None, rope: Some(RopeConfig::read(fields, Rotary::of(&trunk, 10_000.0))?) };
    Ok(DecoderConfig {
        attention: AttentionConfig {
            bias: AttentionBias::all(fields.flag("attention_bias", false)?),
            ..trunk.attention
        },
        mlp: MlpConfig { bias: fields.flag("mlp_bias", false)?, ..trunk.mlp },
        layers: vec![layer; trunk.num_layers],
        ..trunk
    })
}
