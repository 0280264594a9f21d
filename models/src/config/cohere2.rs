//! Cohere's Command R7B and Command A: Cohere with three sliding layers to each full one, which knows of no positions.

use super::dialect::Dialect;
use super::fields::Fields;
use super::windows::{period, sliding_window, windows};
use super::{Architecture, ConfigError, DecoderConfig, LayerConfig, cohere};

pub(super) const DIALECT: Dialect = Dialect { model_type: "cohere2", class: "Cohere2ForCausalLM", read };

fn read(fields: &Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    let trunk = cohere::trunk(fields, Architecture::Cohere2)?;
    let rope = cohere::rope(fields, &trunk)?;
    let (period, window) = (period(fields, 4)?, sliding_window(fields)?);
    let windows = windows(fields, trunk.num_layers, window, |layer| !(layer + 1).is_multiple_of(period))?;
    let layers = windows.into_iter().map(|window| LayerConfig { window, rope: window.map(|_| rope.clone()) }).collect();
    Ok(DecoderConfig { layers, ..trunk })
}
