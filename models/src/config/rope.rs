//! Rotary position embedding: the frequencies and how a longer context stretches them.

use std::f32::consts::PI;

use super::{ConfigError, Fields, fields::COMPARE};

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
}

impl RopeConfig {
    /// The `head_dim / 2` frequencies, in the `f32` arithmetic of Transformers so that positions agree with it far
    /// into a sequence.
    pub fn inv_freq(&self, head_dim: usize) -> Vec<f32> {
        let theta = self.theta as f32;
        (0..head_dim / 2)
            .map(|i| 1.0 / theta.powf((2 * i) as f32 / head_dim as f32))
            .map(|freq| self.scaling.apply(freq))
            .collect()
    }

    /// Reads `rope_parameters` (Transformers 5) or `rope_theta` with `rope_scaling` (Transformers 4).
    pub(super) fn read(fields: &Fields<'_>, default_theta: f64) -> Result<Self, ConfigError> {
        whole_head(fields)?;
        let theta = fields.positive("rope_theta")?.unwrap_or(default_theta);
        let parameters = match fields.section("rope_parameters")? {
            Some(parameters) => Some(parameters),
            None => fields.section("rope_scaling")?,
        };
        match parameters {
            Some(parameters) => Self::from_parameters(&parameters, theta),
            None => Ok(Self {
                theta,
                scaling: RopeScaling::None,
            }),
        }
    }

    /// Reads one set of rotary parameters.
    pub(super) fn from_parameters(
        fields: &Fields<'_>,
        default_theta: f64,
    ) -> Result<Self, ConfigError> {
        whole_head(fields)?;
        Ok(Self {
            theta: fields.positive("rope_theta")?.unwrap_or(default_theta),
            scaling: RopeScaling::read(fields)?,
        })
    }
}

impl RopeScaling {
    fn read(fields: &Fields<'_>) -> Result<Self, ConfigError> {
        // Before it was `rope_type` the key was `type`.
        let key = match fields.text("rope_type")? {
            Some(_) => "rope_type",
            None => "type",
        };
        let number = |key: &str| -> Result<f64, ConfigError> {
            let number = fields.positive(key)?;
            number.ok_or_else(|| fields.error(key, "a positive number", COMPARE))
        };
        match fields.text(key)? {
            None if fields.has("factor") => {
                Err(fields.error("rope_type", "the kind of scaling", COMPARE))
            }
            None | Some("default") => Ok(Self::None),
            Some("linear") => Ok(Self::Linear {
                factor: number("factor")?,
            }),
            Some("llama3") => {
                let low_freq_factor = number("low_freq_factor")?;
                let high_freq_factor = number("high_freq_factor")?;
                if high_freq_factor <= low_freq_factor {
                    let expected = format!("more than low_freq_factor = {low_freq_factor}");
                    return Err(fields.error("high_freq_factor", expected, COMPARE));
                }
                Ok(Self::Llama3 {
                    factor: number("factor")?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: fields
                        .size("original_max_position_embeddings")?,
                })
            }
            Some(_) => Err(fields.error(
                key,
                "default, linear or llama3",
                "choose a model without this scaling; within the original context, setting rope_scaling to null \
                 gives the model as it was pre-trained",
            )),
        }
    }

    fn apply(self, freq: f32) -> f32 {
        match self {
            Self::None => freq,
            Self::Linear { factor } => freq / factor as f32,
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let (factor, low, high) = (
                    factor as f32,
                    low_freq_factor as f32,
                    high_freq_factor as f32,
                );
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

/// Some relatives rotate a part of each head only.
fn whole_head(fields: &Fields<'_>) -> Result<(), ConfigError> {
    match fields.positive("partial_rotary_factor")? {
        None | Some(1.0) => Ok(()),
        Some(_) => Err(fields.error(
            "partial_rotary_factor",
            "1",
            "choose a model that rotates whole heads",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_inv_freq(theta: f64, scaling: RopeScaling, head_dim: usize, expected: &[f32]) {
        let got = RopeConfig { theta, scaling }.inv_freq(head_dim);
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!(
                (got - expected).abs() <= 1e-6 * expected,
                "{got} {expected}"
            );
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
