//! Gemma 3, text: Gemma 2 with normalized queries and keys in place of the soft-caps, five sliding layers to each
//! full one, and a rotary base for either kind.

use super::dialect::Dialect;
use super::fields::Fields;
use super::rope::Rotary;
use super::windows::{period, sliding_window, windows};
use super::{Architecture, AttentionConfig, ConfigError, DecoderConfig, LayerConfig, QkNorm, RopeConfig, gemma2};

pub(super) const DIALECT: Dialect = Dialect { model_type: "gemma3_text", class: "Gemma3ForCausalLM", read };

const FULL_THETA: f64 = 1_000_000.0;
const SLIDING_THETA: f64 = 10_000.0;

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = gemma2::trunk(fields, Architecture::Gemma3)?;
    let (period, window) = (period(fields, 6)?, sliding_window(fields)?);
    let windows = windows(fields, trunk.num_layers, window, |layer| !(layer + 1).is_multiple_of(period))?;
    let sliding_theta = fields.positive("rope_local_base_freq")?.unwrap_or(SLIDING_THETA);
    let ropes = RopeConfig::read_by_kind(fields, Rotary::of(&trunk, FULL_THETA), Some(sliding_theta))?;
    Ok(DecoderConfig {
        attention: AttentionConfig {
            qk_norm: QkNorm::Heads,
            softcap: gemma2::softcap(fields, "attn_logit_softcapping", None)?,
            ..trunk.attention
        },
        final_softcap: gemma2::softcap(fields, "final_logit_softcapping", None)?,
        layers: windows.into_iter().map(|window| LayerConfig { window, rope: Some(ropes.of(window)) }).collect(),
        ..trunk
    })
}
