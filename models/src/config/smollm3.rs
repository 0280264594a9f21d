//! SmolLM3: LLaMA in which every fourth layer knows of no positions.

use super::dialect::{Defaults, Dialect};
use super::fields::{COMPARE, Fields};
use super::rope::Rotary;
use super::windows::windows;
use super::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, MlpConfig, RopeConfig,
};

pub(super) const DIALECT: Dialect = Dialect { model_type: "smollm3", class: "SmolLM3ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = DecoderConfig::trunk(
        fields,
        Defaults {
            tie_word_embeddings: true,
            pad_token_id: Some(128_004),
            ..Defaults::of_llama(Architecture::SmolLm3)
        },
    )?;
    let rope = RopeConfig::read(fields, Rotary::of(&trunk, 2_000_000.0))?;
    let is_rotated = rotated(fields, trunk.num_layers)?;
    let window = if fields.flag("use_sliding_window", false)? { fields.optional_size("sliding_window")? } else { None };
    let windows = windows(fields, trunk.num_layers, window, |layer| window.is_some() && !is_rotated[layer])?;
    let layers = windows.into_iter().zip(&is_rotated);
    let layers = layers.map(|(window, rotated)| LayerConfig { window, rope: rotated.then(|| rope.clone()) }).collect();
    Ok(DecoderConfig {
        attention: AttentionConfig {
            bias: AttentionBias::all(fields.flag("attention_bias", false)?),
            ..trunk.attention
        },
        mlp: MlpConfig { bias: fields.flag("mlp_bias", false)?, ..trunk.mlp },
        layers,
        ..trunk
    })
}

/// Whether each layer rotates. The list that the file may have says 1 where a layer does, for all its name.
fn rotated(fields: &Fields<'_>, num_layers: usize) -> Result<Vec<bool>, ConfigError> {
    let key = "no_rope_layers";
    let Some(listed) = fields.counts(key)? else {
        let interval = fields.optional_size("no_rope_layer_interval")?.unwrap_or(4);
        return Ok((1..=num_layers).map(|number| !number.is_multiple_of(interval)).collect());
    };
    if listed.len() < num_layers || listed.iter().any(|&one| one > 1) {
        return Err(fields.error(key, format!("{num_layers} of 0 or 1, one per layer"), COMPARE));
    }
    Ok(listed[..num_layers].iter().map(|&one| one == 1).collect())
}
