//! Qwen2 and Qwen2.5: LLaMA with biases on query, key and value, and windows on the upper layers on request.

use super::dialect::{Defaults, Dialect};
use super::fields::Fields;
use super::rope::Rotary;
use super::windows::{sliding_window, windows};
use super::{Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, RopeConfig};

pub(super) const DIALECT: Dialect = Dialect { model_type: "qwen2", class: "Qwen2ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = DecoderConfig::trunk(fields, Defaults::of_llama(Architecture::Qwen2))?;
    Ok(DecoderConfig {
        attention: AttentionConfig { bias: AttentionBias { qkv: true, output: false }, ..trunk.attention },
        layers: layers(fields, &trunk)?,
        ..trunk
    })
}

/// Qwen's layers: those from `max_window_layers` up slide, but only where `use_sliding_window` says so; the
/// published files name a window that they do not use.
pub(super) fn layers(fields: &Fields<'_>, trunk: &DecoderConfig) -> Result<Vec<LayerConfig>, ConfigError> {
    let rope = RopeConfig::read(fields, Rotary::of(trunk, 10_000.0))?;
    let slides = fields.flag("use_sliding_window", false)?;
    let window = if slides { sliding_window(fields)? } else { None };
    let first_sliding = fields.count("max_window_layers")?.unwrap_or(28);
    let slides = |layer: usize| window.is_some() && layer >= first_sliding;
    let windows = windows(fields, trunk.num_layers, window, slides)?;
    Ok(windows.into_iter().map(|window| LayerConfig { window, rope: Some(rope.clone()) }).collect())
}
