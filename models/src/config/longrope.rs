//! LongRoPE (Ding et al., 2024): every frequency is divided by a factor of its own. A model has one set of factors for
//! sequences within the context of pre-training and another for longer ones.
//!
//! Transformers takes the second set for a whole batch as soon as one sequence in it is longer, so what it says of the others
//! depends on their company. Here the first set is used, and longer sequences are refused.

use super::ConfigError;
use super::fields::{COMPARE, Fields};

/// The parameters of LongRoPE.
#[derive(Debug, Clone, PartialEq)]
pub struct LongRope {
    /// What each frequency is divided by within the context of pre-training.
    pub short: Vec<f64>,
    /// The same beyond it.
    pub long: Vec<f64>,
    /// What cosines and sines are multiplied by.
    pub attention_factor: f64,
    /// The context length of pre-training.
    pub original: usize,
}

impl LongRope {
    /// For so many frequencies.
    pub(super) fn read(
        fields: &Fields<'_>,
        original: usize,
        max_positions: Option<usize>,
        frequencies: usize,
    ) -> Result<Self, ConfigError> {
        for key in ["short_mscale", "long_mscale"] {
            if fields.value(key).is_some() {
                let hint = "choose a model without it: it sharpens attention in a way that is not computed";
                return Err(fields.error(key, "nothing", hint));
            }
        }
        let factors = |key: &str| -> Result<_, ConfigError> {
            let factors = fields.positives(key)?.filter(|factors| factors.len() == frequencies);
            factors.ok_or_else(|| fields.error(key, format!("{frequencies} positive numbers"), COMPARE))
        };
        // A model is stretched by what its context is to that of pre-training, if its file names no factor.
        let factor = match (fields.positive("factor")?, max_positions) {
            (Some(factor), _) => factor,
            (None, Some(max_positions)) => max_positions as f64 / original as f64,
            (None, None) => return Err(fields.error("factor", "a positive number", COMPARE)),
        };
        let sharpened = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() };
        let attention_factor = fields.positive("attention_factor")?.unwrap_or(sharpened);
        // The logarithm of a context of one token is 0.
        if !(attention_factor as f32).is_finite() {
            return Err(fields.error("original_max_position_embeddings", "at least 2", COMPARE));
        }
        Ok(Self { short: factors("short_factor")?, long: factors("long_factor")?, attention_factor, original })
    }
}
