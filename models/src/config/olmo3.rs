//! OLMo 3: OLMo 2 with three sliding layers to each full one, which alone are scaled for longer contexts.

use super::dialect::Dialect;
use super::fields::Fields;
use super::rope::Rotary;
use super::windows::{sliding_window, windows};
use super::{ConfigError, DecoderConfig, LayerConfig, RopeConfig, olmo2};

pub(super) const DIALECT: Dialect = Dialect { model_type: "olmo3", class: "Olmo3ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = olmo2::trunk(fields)?;
    let window = sliding_window(fields)?;
    let windows = windows(fields, trunk.num_layers, window, |layer| !(layer + 1).is_multiple_of(4))?;
    let ropes = RopeConfig::read_by_kind(fields, Rotary::of(&trunk, 500_000.0), None)?;
    let layers = windows.into_iter().map(|window| LayerConfig { window, rope: Some(ropes.of(window)) }).collect();
    Ok(DecoderConfig { layers, ..trunk })
}
