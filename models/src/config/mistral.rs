//! Mistral: LLaMA without biases, whose layers all attend to a window unless the file says that there is none.

use super::dialect::{Defaults, Dialect};
use super::fields::Fields;
use super::rope::Rotary;
use super::windows::{sliding_window, windows};
use super::{Architecture, ConfigError, DecoderConfig, LayerConfig, RopeConfig};

pub(super) const DIALECT: Dialect = Dialect { model_type: "mistral", class: "MistralForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = DecoderConfig::trunk(fields, Defaults::of_llama(Architecture::Llama))?;
    let rope = RopeConfig::read(fields, Rotary::of(&trunk, 10_000.0))?;
    let window = sliding_window(fields)?;
    let windows = windows(fields, trunk.num_layers, window, |_| window.is_some())?;
    let layers = windows.into_iter().map(|window| LayerConfig { window, rope: Some(rope.clone()) }).collect();
    Ok(DecoderConfig { layers, ..trunk })
}
