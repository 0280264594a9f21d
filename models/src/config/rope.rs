//! Rotary position embedding: the frequencies and how a longer context stretches them.

use std::f32::consts::PI;

use super::ConfigError;
use super::fields::{COMPARE, Fields};
use super::yarn::Yarn;

/// The rotary embedding of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// The base of the geometric series of wavelengths.
    pub theta: f64,
    /// How the frequencies are changed for contexts longer than pre-training's.
    pub scaling: RopeScaling,
}

/// A change of the rotary frequencies that reaches longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// The frequencies as they are.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// LLaMA 3.1's: low frequencies divided by `factor`, high ones kept, those between interpolated.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above the original context over this are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below the original context over this are high frequencies.
        high_freq_factor: f64,
        /// The context length of pre-training.
        original_max_position_embeddings: usize,
    },
    /// YaRN: low frequencies divided, high ones kept, attention sharpened.
    Yarn(Yarn),
    /// Frequencies that fall with the length of a sequence, once it is longer than pre-training's. Within it they are as
    /// they are; beyond it a sequence is refused.
    Dynamic {
        /// The context length of pre-training.
        limit: usize,
    },
}

/// What the rest of the file says that a set of rotary parameters may leave out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outer {
    theta: f64,
    max_positions: Option<usize>,
    original: Option<usize>,
}

impl Outer {
    /// `theta` is the architecture's base.
    pub(super) fn read(fields: &Fields<'_>, theta: f64) -> Result<Self, ConfigError> {
        Ok(Self {
            theta: fields.positive("rope_theta")?.unwrap_or(theta),
            max_positions: fields.optional_size("max_position_embeddings")?,
            original: fields.optional_size("original_max_position_embeddings")?,
        })
    }

    /// The same with another base.
    pub(super) fn with_theta(self, theta: f64) -> Self {
        Self { theta, ..self }
    }
}

impl RopeConfig {
    /// The `head_dim / 2` frequencies, in the `f32` arithmetic of Transformers so that positions agree with it far
    /// into a sequence.
    pub fn inv_freq(&self, head_dim: usize) -> Vec<f32> {
        let theta = self.theta as f32;
        let freqs = (0..head_dim / 2).map(|i| 1.0 / theta.powf((2 * i) as f32 / head_dim as f32));
        match self.scaling {
            RopeScaling::Yarn(yarn) => yarn.apply(freqs, head_dim, self.theta),
            scaling => freqs.map(|freq| scaling.apply(freq)).collect(),
        }
    }

    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn(yarn) => yarn.attention_factor,
            _ => 1.0,
        }
    }

    /// Reads `rope_parameters` (Transformers 5) or `rope_theta` with `rope_scaling` (Transformers 4), for an architecture
    /// whose layers are all alike.
    pub(super) fn read(fields: &Fields<'_>, default_theta: f64) -> Result<Self, ConfigError> {
        let outer = Outer::read(fields, default_theta)?;
        whole_head(fields)?;
        let Some(parameters) = parameters(fields)? else {
            return Ok(Self { theta: outer.theta, scaling: RopeScaling::None });
        };
        // Sets of parameters, one for each kind of layer.
        let (full, sliding) = ("full_attention", "sliding_attention");
        if let Some(of_full) = parameters.section(full)? {
            if parameters.value(sliding).is_some_and(|of_sliding| Some(of_sliding) != parameters.value(full)) {
                return Err(parameters.error(sliding, "the same as full_attention", COMPARE));
            }
            return Self::from_parameters(&of_full, outer);
        }
        Self::from_parameters(&parameters, outer)
    }

    /// Reads one set of rotary parameters.
    pub(super) fn from_parameters(fields: &Fields<'_>, outer: Outer) -> Result<Self, ConfigError> {
        whole_head(fields)?;
        Ok(Self {
            theta: fields.positive("rope_theta")?.unwrap_or(outer.theta),
            scaling: RopeScaling::read(fields, outer)?,
        })
    }
}

/// The one of the two sections that the file has; one that has both must not contradict itself.
pub(super) fn parameters<'a>(fields: &Fields<'a>) -> Result<Option<Fields<'a>>, ConfigError> {
    let (newer, older) = ("rope_parameters", "rope_scaling");
    match (fields.value(newer), fields.value(older)) {
        (Some(one), Some(other)) if one != other => Err(fields.error(
            older,
            "the same as rope_parameters",
            "releases of Transformers disagree on which of the two counts: delete one",
        )),
        (Some(_), _) => fields.section(newer),
        (None, _) => fields.section(older),
    }
}

/// A number that must be there and be positive.
fn number(fields: &Fields<'_>, key: &str) -> Result<f64, ConfigError> {
    fields.positive(key)?.ok_or_else(|| fields.error(key, "a positive number", COMPARE))
}

impl RopeScaling {
    fn read(fields: &Fields<'_>, outer: Outer) -> Result<Self, ConfigError> {
        // Before it was `rope_type` the key was `type`.
        let key = match fields.text("rope_type")? {
            Some(_) => "rope_type",
            None => "type",
        };
        match fields.text(key)? {
            None if fields.has("factor") => Err(fields.error("rope_type", "the kind of scaling", COMPARE)),
            None | Some("default") => Ok(Self::None),
            Some("linear") => Ok(Self::Linear { factor: number(fields, "factor")? }),
            Some("llama3") => {
                let low_freq_factor = number(fields, "low_freq_factor")?;
                let high_freq_factor = number(fields, "high_freq_factor")?;
                if high_freq_factor <= low_freq_factor {
                    let expected = format!("more than low_freq_factor = {low_freq_factor}");
                    return Err(fields.error("high_freq_factor", expected, COMPARE));
                }
                Ok(Self::Llama3 {
                    factor: number(fields, "factor")?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: fields.size("original_max_position_embeddings")?,
                })
            }
            Some("yarn") => {
                // The file's own word on pre-training goes before the section's, as in Transformers.
                let key = "original_max_position_embeddings";
                let original = match outer.original.or(fields.optional_size(key)?) {
                    Some(original) => original,
                    None => outer.max_positions.ok_or_else(|| fields.error(key, "a positive integer", COMPARE))?,
                };
                Ok(Self::Yarn(Yarn::read(fields, original, outer.max_positions)?))
            }
            Some("dynamic") if fields.value("alpha").is_some() => {
                Err(fields.error("alpha", "dynamic scaling by a factor", UNKNOWN))
            }
            Some("dynamic") => {
                number(fields, "factor")?;
                let limit = outer
                    .max_positions
                    .ok_or_else(|| fields.error(key, "max_position_embeddings beside dynamic scaling", COMPARE))?;
                Ok(Self::Dynamic { limit })
            }
            Some(_) => Err(fields.error(key, "default, linear, llama3, yarn or dynamic", UNKNOWN)),
        }
    }

    fn apply(self, freq: f32) -> f32 {
        match self {
            Self::None | Self::Yarn(_) | Self::Dynamic { .. } => freq,
            Self::Linear { factor } => freq / factor as f32,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let (factor, low, high) = (factor as f32, low_freq_factor as f32, high_freq_factor as f32);
                let context = original_max_position_embeddings as f32;
                let wavelength = 2.0 * PI / freq;
                if wavelength < context / high {
                    freq
                } else if wavelength > context / low {
                    freq / factor
                } else {
                    let smooth = (context / wavelength - low) / (high - low);
                    (1.0 - smooth) * freq / factor + smooth * freq
                }
            }
        }
    }
}

/// The hint for a scaling that is not computed here. Most change positions within the original context too.
const UNKNOWN: &str = "choose a model without this scaling; with rope_scaling set to null these weights would be another \
     model, which nobody trained";

/// Some relatives rotate a part of each head only.
fn whole_head(fields: &Fields<'_>) -> Result<(), ConfigError> {
    match fields.positive("partial_rotary_factor")? {
        None | Some(1.0) => Ok(()),
        Some(_) => Err(fields.error("partial_rotary_factor", "1", "choose a model that rotates whole heads")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_inv_freq(theta: f64, scaling: RopeScaling, head_dim: usize, expected: &[f32]) {
        let got = RopeConfig { theta, scaling }.inv_freq(head_dim);
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-6 * expected, "{got} {expected}");
        }
    }

    #[test]
    fn frequencies_fall_geometrically_from_one() {
        // 10000^(0, 1/4, 1/2, 3/4) = 1, 10, 100, 1000
        assert_inv_freq(1e4, RopeScaling::None, 8, &[1.0, 0.1, 0.01, 0.001]);
    }

    #[test]
    fn linear_scaling_divides_every_frequency() {
        let scaling = RopeScaling::Linear { factor: 8.0 };
        assert_inv_freq(1e6, scaling, 4, &[0.125, 0.000_125]);
    }

    #[test]
    fn llama3_scaling_keeps_high_divides_low_and_interpolates_between() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 128,
        };
        // Wavelengths 6.28, 62.8, 628 and 6283 against the bounds 128/4 = 32 and 128/1 = 128: kept, between, low, low.
        // Between: smooth = (128·0.1/2π − 1)/3 = 0.3457278, and 0.1·(0.6542722/8 + 0.3457278) = 0.0427512.
        assert_inv_freq(1e4, scaling, 8, &[1.0, 0.042_751_18, 0.001_25, 0.000_125]);
    }
}
