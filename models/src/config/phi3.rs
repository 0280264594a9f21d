//! Phi-3, Phi-3.5 and Phi-4: LLaMA with one linear map for queries, keys and values, and one for gate and up.

use super::dialect::{Defaults, Dialect};
use super::fields::Fields;
use super::rope::{Rotary, UNKNOWN};
use super::windows::windows;
use super::{
    Architecture, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, MlpConfig, RopeConfig, RopeScaling,
};

pub(super) const DIALECT: Dialect = Dialect { model_type: "phi3", class: "Phi3ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = DecoderConfig::trunk(
        fields,
        Defaults { norm_eps: 1e-5, pad_token_id: Some(32_000), ..Defaults::of_llama(Architecture::Phi3) },
    )?;
    // The published files have these keys, all of them off.
    fields.all_off(&["attention_bias", "mlp_bias", "lm_head_bias"])?;
    let rope = rope(fields, &trunk)?;
    let window = fields.optional_size("sliding_window")?;
    let windows = windows(fields, trunk.num_layers, window, |_| window.is_some())?;
    Ok(DecoderConfig {
        attention: AttentionConfig { fused: true, ..trunk.attention },
        mlp: MlpConfig { fused: true, ..trunk.mlp },
        layers: windows.into_iter().map(|window| LayerConfig { window, rope: Some(rope.clone()) }).collect(),
        ..trunk
    })
}

/// Phi rotates a part of each head where its file says so, and knows one kind of scaling.
fn rope(fields: &Fields<'_>, trunk: &DecoderConfig) -> Result<RopeConfig, ConfigError> {
    let rotary =
        Rotary { original: Some(4096), may_be_partial: true, has_old_names: true, ..Rotary::of(trunk, 10_000.0) };
    let rope = RopeConfig::read(fields, rotary)?;
    match rope.scaling {
        RopeScaling::None | RopeScaling::LongRope(_) => Ok(rope),
        _ => {
            let key = if fields.has("rope_parameters") { "rope_parameters" } else { "rope_scaling" };
            Err(fields.error(key, "default or longrope, which Phi knows", UNKNOWN))
        }
    }
}
