//! Rotary position embedding: the frequencies and how a longer context stretches them.

use std::f32::consts::PI;

use super::fields::{COMPARE, Fields};
use super::longrope::LongRope;
use super::yarn::Yarn;
use super::{ConfigError, DecoderConfig};

/// The rotary embedding of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base of the geometric series of wavelengths.
    pub theta: f64,
    /// How the frequencies are changed for contexts longer than pre-training's.
    pub scaling: RopeScaling,
    /// How many numbers of a head are rotated, from the first on; the others stay as they are.
    pub width: usize,
    /// Which of them are rotated together.
    pub pairs: RopePairs,
}

/// Which numbers of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// One of the first half with its counterpart of the second.
    Halves,
    /// One with the next.
    Neighbours,
}

/// A change of the rotary frequencies that reaches longer contexts.
#[derive(Debug, Clone, PartialEq)]
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
    /// LongRoPE: every frequency divided by a factor of its own, attention sharpened.
    LongRope(LongRope),
    /// Frequencies that fall with the length of a sequence, once it is longer than pre-training's. Within it they are as
    /// they are; beyond it a sequence is refused.
    Dynamic {
        /// The context length of pre-training.
        limit: usize,
    },
}

/// What an architecture knows of its rotary embeddings that a file may leave out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotary {
    /// The base.
    pub(super) theta: f64,
    /// The width of a head.
    pub(super) head_dim: usize,
    /// The context length of pre-training.
    pub(super) original: Option<usize>,
    pub(super) pairs: RopePairs,
    /// Whether a file may say that heads are rotated in part.
    pub(super) may_be_partial: bool,
    /// Whether LongRoPE once had other names.
    pub(super) has_old_names: bool,
}

impl Rotary {
    /// Whole heads in halves, as LLaMA has them.
    pub(super) fn of(trunk: &DecoderConfig, theta: f64) -> Self {
        Self {
            theta,
            head_dim: trunk.attention.head_dim,
            original: None,
            pairs: RopePairs::Halves,
            may_be_partial: false,
            has_old_names: false,
        }
    }
}

/// The same with what the rest of the file says.
#[derive(Debug, Clone, Copy)]
struct Outer {
    rotary: Rotary,
    max_positions: Option<usize>,
    original: Option<usize>,
    partial: f64,
}

impl Outer {
    fn read(fields: &Fields<'_>, rotary: Rotary) -> Result<Self, ConfigError> {
        Ok(Self {
            rotary: Rotary { theta: fields.positive("rope_theta")?.unwrap_or(rotary.theta), ..rotary },
            max_positions: fields.optional_size("max_position_embeddings")?,
            original: fields.optional_size("original_max_position_embeddings")?.or(rotary.original),
            partial: partial(fields, rotary, 1.0)?,
        })
    }

    /// The same with another base.
    fn with_theta(self, theta: f64) -> Self {
        Self { rotary: Rotary { theta, ..self.rotary }, ..self }
    }

    /// How many numbers of a head are rotated, which must be pairs.
    fn width(self, fields: &Fields<'_>, partial: f64) -> Result<usize, ConfigError> {
        let width = (self.rotary.head_dim as f64 * partial) as usize;
        if width == 0 || !width.is_multiple_of(2) {
            let expected = format!("a part of {} that is an even size", self.rotary.head_dim);
            return Err(fields.error(PARTIAL, expected, COMPARE));
        }
        Ok(width)
    }

    /// The frequencies as they are.
    fn unscaled(self, fields: &Fields<'_>) -> Result<RopeConfig, ConfigError> {
        let Rotary { theta, pairs, .. } = self.rotary;
        Ok(RopeConfig { theta, scaling: RopeScaling::None, width: self.width(fields, self.partial)?, pairs })
    }
}

impl RopeConfig {
    /// The `width / 2` frequencies, in the `f32` arithmetic of Transformers so that positions agree with it far
    /// into a sequence.
    pub fn inv_freq(&self) -> Vec<f32> {
        let theta = self.theta as f32;
        let powers = (0..self.width / 2).map(|i| theta.powf((2 * i) as f32 / self.width as f32));
        match &self.scaling {
            RopeScaling::Yarn(yarn) => yarn.apply(powers.map(|power| 1.0 / power), self.width, self.theta),
            RopeScaling::LongRope(of) => powers.zip(&of.short).map(|(power, by)| 1.0 / (*by as f32 * power)).collect(),
            scaling => powers.map(|power| scaling.apply(1.0 / power)).collect(),
        }
    }

    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match &self.scaling {
            RopeScaling::Yarn(yarn) => yarn.attention_factor,
            RopeScaling::LongRope(of) => of.attention_factor,
            _ => 1.0,
        }
    }

    /// The longest sequence that can be computed, where there is one.
    pub fn longest(&self) -> Option<usize> {
        match self.scaling {
            RopeScaling::Dynamic { limit } => Some(limit),
            RopeScaling::LongRope(LongRope { original, .. }) => Some(original),
            _ => None,
        }
    }

    /// Reads `rope_parameters` (Transformers 5) or `rope_theta` with `rope_scaling` (Transformers 4), for an architecture
    /// whose layers are all alike.
    pub(super) fn read(fields: &Fields<'_>, rotary: Rotary) -> Result<Self, ConfigError> {
        let outer = Outer::read(fields, rotary)?;
        let Some(parameters) = parameters(fields)? else {
            return outer.unscaled(fields);
        };
        if let Some(of_full) = parameters.section(FULL)? {
            if parameters.value(SLIDING).is_some_and(|of_sliding| Some(of_sliding) != parameters.value(FULL)) {
                return Err(parameters.error(SLIDING, "the same as full_attention", COMPARE));
            }
            return Self::from_parameters(&of_full, outer);
        }
        Self::from_parameters(&parameters, outer)
    }

    /// Reads those of the full layers and of the sliding ones: Transformers 5 nests one set of parameters for each kind of
    /// layer, Transformers 4 scales the full ones only. `sliding_theta` is the base of the sliding ones, if it is another.
    pub(super) fn read_by_kind(
        fields: &Fields<'_>,
        rotary: Rotary,
        sliding_theta: Option<f64>,
    ) -> Result<ByKind, ConfigError> {
        if let Some(nested) = parameters(fields)?
            && nested.has(FULL)
        {
            let outer = Outer::read(fields, rotary)?;
            let of_sliding = sliding_theta.map_or(outer, |theta| outer.with_theta(theta));
            let of = |kind: &str, outer| -> Result<Self, ConfigError> {
                let parameters =
                    nested.section(kind)?.ok_or_else(|| nested.error(kind, "its rotary parameters", COMPARE))?;
                Self::from_parameters(&parameters, outer)
            };
            return Ok(ByKind { full: of(FULL, outer)?, sliding: of(SLIDING, of_sliding)? });
        }
        let full = Self::read(fields, rotary)?;
        let theta = sliding_theta.unwrap_or(full.theta);
        let sliding = Self { theta, scaling: RopeScaling::None, ..full.clone() };
        Ok(ByKind { full, sliding })
    }

    /// Reads one set of rotary parameters.
    fn from_parameters(fields: &Fields<'_>, outer: Outer) -> Result<Self, ConfigError> {
        let width = outer.width(fields, partial(fields, outer.rotary, outer.partial)?)?;
        Ok(Self {
            theta: fields.positive("rope_theta")?.unwrap_or(outer.rotary.theta),
            scaling: RopeScaling::read(fields, outer, width)?,
            width,
            pairs: outer.rotary.pairs,
        })
    }
}

/// Sets of parameters, one for each kind of layer, are told apart by these names.
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// The rotary embeddings of both kinds of layers.
pub(super) struct ByKind {
    pub(super) full: RopeConfig,
    pub(super) sliding: RopeConfig,
}

impl ByKind {
    /// That of a layer with this window.
    pub(super) fn of(&self, window: Option<usize>) -> RopeConfig {
        if window.is_some() { self.sliding.clone() } else { self.full.clone() }
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
    fn read(fields: &Fields<'_>, outer: Outer, width: usize) -> Result<Self, ConfigError> {
        // Before it was `rope_type` the key was `type`.
        let key = match fields.text("rope_type")? {
            Some(_) => "rope_type",
            None => "type",
        };
        match fields.text(key)? {
            None if fields.has("factor") => Err(fields.error("rope_type", "the kind of scaling", COMPARE)),
            None | Some("default") => Ok(Self::None),
            Some("linear") => Ok(Self::Linear { factor: number(fields, "factor")? }),
            Some("longrope") => Self::long(fields, outer, width),
            Some("su" | "yarn") if outer.rotary.has_old_names => Self::long(fields, outer, width),
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
                let original = original(fields, outer)?;
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
            Some(_) => Err(fields.error(key, "default, linear, llama3, yarn, longrope or dynamic", UNKNOWN)),
        }
    }

    fn long(fields: &Fields<'_>, outer: Outer, width: usize) -> Result<Self, ConfigError> {
        let original = original(fields, outer)?;
        Ok(Self::LongRope(LongRope::read(fields, original, outer.max_positions, width / 2)?))
    }

    fn apply(&self, freq: f32) -> f32 {
        match *self {
            Self::None | Self::Yarn(_) | Self::LongRope(_) | Self::Dynamic { .. } => freq,
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
pub(super) const UNKNOWN: &str = "choose a model without this scaling; with rope_scaling set to null these weights would be another \
     model, which nobody trained";

/// The context length of pre-training. The file's own word on it goes before the section's, as in Transformers.
fn original(fields: &Fields<'_>, outer: Outer) -> Result<usize, ConfigError> {
    let key = "original_max_position_embeddings";
    match outer.original.or(fields.optional_size(key)?) {
        Some(original) => Ok(original),
        None => outer.max_positions.ok_or_else(|| fields.error(key, "a positive integer", COMPARE)),
    }
}

const PARTIAL: &str = "partial_rotary_factor";

/// The part of a head that is rotated, `otherwise` where the file does not say.
fn partial(fields: &Fields<'_>, rotary: Rotary, otherwise: f64) -> Result<f64, ConfigError> {
    match fields.positive(PARTIAL)? {
        None => Ok(otherwise),
        Some(1.0) => Ok(1.0),
        Some(part) if rotary.may_be_partial && part < 1.0 => Ok(part),
        Some(_) if rotary.may_be_partial => Err(fields.error(PARTIAL, "at most 1", COMPARE)),
        Some(_) => Err(fields.error(PARTIAL, "1", "choose a model that rotates whole heads")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_inv_freq(theta: f64, scaling: RopeScaling, width: usize, expected: &[f32]) {
        let got = RopeConfig { theta, scaling, width, pairs: RopePairs::Halves }.inv_freq();
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
