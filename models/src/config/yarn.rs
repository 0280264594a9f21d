//! YaRN (Peng et al., 2023): frequencies that turn often within the original context are kept, those that turn less than
//! once are divided, and between them the one fades into the other.

use super::ConfigError;
use super::fields::{COMPARE, Fields};

/// The parameters of YaRN, as Transformers names them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// The divisor of the low frequencies.
    pub factor: f64,
    /// What cosines and sines are multiplied by.
    pub attention_factor: f64,
    /// Frequencies of more turns than this within the original context are kept.
    pub beta_fast: f64,
    /// Frequencies of fewer are divided.
    pub beta_slow: f64,
    /// The context length of pre-training.
    pub original_max_position_embeddings: usize,
    /// Whether the bounds of the fade are whole numbers.
    pub truncate: bool,
}

impl Yarn {
    pub(super) fn read(
        fields: &Fields<'_>,
        original: usize,
        max_positions: Option<usize>,
    ) -> Result<Self, ConfigError> {
        let factor = match (fields.positive("factor")?, max_positions) {
            (Some(factor), _) => factor,
            (None, Some(max_positions)) if fields.has("factor") => max_positions as f64 / original as f64,
            _ => return Err(fields.error("factor", "a positive number", COMPARE)),
        };
        let sharpened = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let scale = |key| -> Result<_, ConfigError> { Ok(fields.number(key)?.filter(|&scale| scale != 0.0)) };
        let attention_factor = match (fields.positive("attention_factor")?, scale("mscale")?, scale("mscale_all_dim")?)
        {
            (Some(given), _, _) => given,
            (None, Some(scale), Some(of_all)) => sharpened(scale) / sharpened(of_all),
            _ => sharpened(1.0),
        };
        Ok(Self {
            factor,
            attention_factor,
            beta_fast: fields.positive("beta_fast")?.unwrap_or(32.0),
            beta_slow: fields.positive("beta_slow")?.unwrap_or(1.0),
            original_max_position_embeddings: original,
            truncate: fields.flag("truncate", true)?,
        })
    }

    /// The scaled frequencies of a head of this width and base.
    pub(super) fn apply(&self, freqs: impl Iterator<Item = f32>, head_dim: usize, theta: f64) -> Vec<f32> {
        let width = head_dim as f64;
        // The index of the frequency that turns so often within the original context.
        let index = |turns: f64| {
            let context = self.original_max_position_embeddings as f64;
            let full = context / (turns * 2.0 * std::f64::consts::PI);
            width * full.ln() / (2.0 * theta.ln())
        };
        let (mut first, mut last) = (index(self.beta_fast), index(self.beta_slow));
        if self.truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        (first, last) = (first.max(0.0), last.min(width - 1.0));
        if first == last {
            last += 0.001;
        }
        let (start, length) = (first as f32, (last - first) as f32);
        freqs
            .enumerate()
            .map(|(i, freq)| {
                let kept = 1.0 - ((i as f32 - start) / length).clamp(0.0, 1.0);
                freq / self.factor as f32 * (1.0 - kept) + freq * kept
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_by_hand() {
        // A head of 8 and a base of 10⁴: frequencies 1, 0.1, 0.01, 0.001. In 512 positions they turn 81.5, 8.15, 0.815 and
        // 0.0815 times. 32 turns are at index log₁₀(81.49/32) = 0.4059, one turn at log₁₀(81.49) = 1.9111; truncated, 0 and 2.
        let yarn = Yarn {
            factor: 4.0,
            attention_factor: 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position_embeddings: 512,
            truncate: true,
        };
        let freqs = [1.0, 0.1, 0.01, 0.001];
        // Kept to 1, 1/2, 0, 0.
        let expected = [1.0, 0.0625, 0.0025, 0.00025];
        let got = yarn.apply(freqs.into_iter(), 8, 1e4);
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-6 * expected, "{got} {expected}");
        }
        // Not truncated, the second is kept to (1.9111 − 1) / (1.9111 − 0.4059) = 0.6053.
        let exact = Yarn { truncate: false, ..yarn };
        let got = exact.apply(freqs.into_iter(), 8, 1e4)[1];
        assert!((got - 0.1 * (0.3947 / 4.0 + 0.6053)).abs() < 1e-5, "{got}");
    }

    /// The paper's form: a frequency is judged by its wavelength, all in f64.
    fn by_wavelength(yarn: &Yarn, head_dim: usize, theta: f64) -> Vec<f64> {
        let context = yarn.original_max_position_embeddings as f64;
        // In steps of one index the logarithm of the turns falls by this.
        let step = 2.0 * theta.ln() / head_dim as f64;
        let turns_at_0 = (context / std::f64::consts::TAU).ln();
        let mut from = (turns_at_0 - yarn.beta_fast.ln()) / step;
        let mut to = (turns_at_0 - yarn.beta_slow.ln()) / step;
        if yarn.truncate {
            (from, to) = (from.floor(), to.ceil());
        }
        (from, to) = (from.max(0.0), to.min(head_dim as f64 - 1.0));
        (0..head_dim / 2)
            .map(|i| {
                let wavelength = std::f64::consts::TAU * (step * i as f64).exp();
                let stretched = ((i as f64 - from) / (to - from)).clamp(0.0, 1.0);
                let factor = 1.0 - stretched + stretched / yarn.factor;
                std::f64::consts::TAU / wavelength * factor
            })
            .collect()
    }

    #[test]
    fn frequencies_of_published_sizes_follow_the_paper() {
        for (head_dim, theta, context, factor) in
            [(128, 1e6, 32_768, 4.0), (64, 1e4, 2048, 16.0), (128, 5e5, 8192, 8.0), (256, 1e4, 4096, 40.0)]
        {
            for truncate in [true, false] {
                let yarn = Yarn {
                    factor,
                    attention_factor: 1.0,
                    beta_fast: 32.0,
                    beta_slow: 1.0,
                    original_max_position_embeddings: context,
                    truncate,
                };
                let plain = (0..head_dim / 2).map(|i| (theta as f32).powf(-((2 * i) as f32) / head_dim as f32));
                let got = yarn.apply(plain, head_dim, theta);
                for (got, expected) in got.iter().zip(by_wavelength(&yarn, head_dim, theta)) {
                    let error = (f64::from(*got) - expected).abs() / expected;
                    assert!(error < 5e-6, "{got} {expected}");
                }
            }
        }
    }
}
