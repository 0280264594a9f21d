//! Qwen3: Qwen2 with normalized queries and keys in place of the biases, and a head size of its own.

use super::dialect::{Defaults, Dialect};
use super::fields::Fields;
use super::{Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, QkNorm, qwen2};

pub(super) const DIALECT: Dialect = Dialect { model_type: "qwen3", class: "Qwen3ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk =
        DecoderConfig::trunk(fields, Defaults { head_dim: Some(128), ..Defaults::of_llama(Architecture::Qwen3) })?;
    Ok(DecoderConfig {
        attention: AttentionConfig {
            bias: AttentionBias::all(fields.flag("attention_bias", false)?),
            qk_norm: QkNorm::Heads,
            ..trunk.attention
        },
        layers: qwen2::layers(fields, &trunk)?,
        ..trunk
    })
}
