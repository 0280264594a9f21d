//! Gemma 3, text: Gemma 2 with normalized queries and keys in place of the soft-caps, five sliding layers to each
//! full one, and a rotary base for either kind.

use super::dialect::Dialect;
use super::fields::{COMPARE, Fields};
use super::rope::{self, Outer};
use super::windows::{sliding_window, windows};
use super::{Architecture, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, RopeConfig, RopeScaling, gemma2};

pub(super) const DIALECT: Dialect = Dialect { model_type: "gemma3_text", class: "Gemma3ForCausalLM", read };

const FULL_THETA: f64 = 1_000_000.0;
const SLIDING_THETA: f64 = 10_000.0;

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = gemma2::trunk(fields, Architecture::Gemma3)?;
    let period = match fields.optional_size("sliding_window_pattern")? {
        Some(period) => period,
        // The last releases of Transformers 4 wrote it as a private attribute.
        None => fields.optional_size("_sliding_window_pattern")?.unwrap_or(6),
    };
    let window = sliding_window(fields)?;
    let windows = windows(fields, trunk.num_layers, window, |layer| !(layer + 1).is_multiple_of(period))?;
    let (full, sliding) = ropes(fields)?;
    Ok(DecoderConfig {
        attention: AttentionConfig {
            qk_norm: true,
            softcap: gemma2::softcap(fields, "attn_logit_softcapping", None)?,
            ..trunk.attention
        },
        final_softcap: gemma2::softcap(fields, "final_logit_softcapping", None)?,
        layers: windows
            .into_iter()
            .map(|window| LayerConfig { window, rope: if window.is_some() { sliding } else { full } })
            .collect(),
        ..trunk
    })
}

/// The rotary embeddings of the full and of the sliding layers: Transformers 5 nests one set of parameters per
/// layer type, Transformers 4 scales the full layers only and gives the sliding ones a base.
fn ropes(fields: &Fields<'_>) -> Result<(RopeConfig, RopeConfig), ConfigError> {
    let outer = Outer::read(fields, FULL_THETA)?;
    let sliding_theta = fields.positive("rope_local_base_freq")?.unwrap_or(SLIDING_THETA);
    if let Some(nested) = rope::parameters(fields)?
        && nested.has("full_attention")
    {
        let of = |layer_type: &str, outer| -> Result<RopeConfig, ConfigError> {
            let parameters = nested
                .section(layer_type)?
                .ok_or_else(|| nested.error(layer_type, "its rotary parameters", COMPARE))?;
            RopeConfig::from_parameters(&parameters, outer)
        };
        return Ok((of("full_attention", outer)?, of("sliding_attention", outer.with_theta(sliding_theta))?));
    }
    let sliding = RopeConfig { theta: sliding_theta, scaling: RopeScaling::None };
    Ok((RopeConfig::read(fields, FULL_THETA)?, sliding))
}
