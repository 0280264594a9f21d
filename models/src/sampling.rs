//! Drawing the next token, where the most probable one is not wanted.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How tokens are drawn: logits are divided by `temperature`, then the `top_k` largest are kept, then as many of those as
/// make up `top_p` of the probability. This is the order of Transformers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    temperature: f64,
    top_k: Option<usize>,
    top_p: f64,
    seed: u64,
}

/// A setting of [`Sampling`] out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{setting}: expected {expected}, got {got}")]
pub struct SamplingError {
    setting: &'static str,
    expected: &'static str,
    got: f64,
}

impl Sampling {
    /// `temperature` above 0, `top_k` at least 1 (none: all tokens), `top_p` above 0 and up to 1 (1: all of them).
    ///
    /// # Errors
    /// If one is out of its range.
    pub fn new(
        temperature: f64,
        top_k: Option<usize>,
        top_p: f64,
        seed: u64,
    ) -> Result<Self, SamplingError> {
        let error = |setting, expected, got| {
            Err(SamplingError {
                setting,
                expected,
                got,
            })
        };
        if !(temperature > 0.0 && temperature.is_finite()) {
            return error("temperature", "a number above 0", temperature);
        }
        if top_k == Some(0) {
            return error("top-k", "at least 1", 0.0);
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return error("top-p", "a number above 0 and up to 1", top_p);
        }
        Ok(Self {
            temperature,
            top_k,
            top_p,
            seed,
        })
    }

    /// The randomness of one prompt's answer, which other prompts have no part in.
    pub(crate) fn randomness(&self, prompt: usize) -> ChaCha8Rng {
        let mut randomness = ChaCha8Rng::seed_from_u64(self.seed);
        randomness.set_stream(prompt as u64);
        randomness
    }

    /// A token by these logits.
    pub(crate) fn draw(&self, logits: &[f32], randomness: &mut impl Rng) -> u32 {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        // NaN, which total_cmp puts above everything, is no token to draw.
        let key = |&token: &usize| match logits[token].is_nan() {
            true => f32::NEG_INFINITY,
            false => logits[token],
        };
        let descending = |a: &usize, b: &usize| key(b).total_cmp(&key(a)).then(a.cmp(b));
        let kept = self.top_k.unwrap_or(logits.len()).min(logits.len());
        if kept < logits.len() {
            order.select_nth_unstable_by(kept, descending);
            order.truncate(kept);
        }
        order.sort_unstable_by(descending);
        let largest = order.first().map_or(0.0, |first| f64::from(key(first)));
        let weight = |token: &usize| ((f64::from(key(token)) - largest) / self.temperature).exp();
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let all: f64 = weights.iter().sum();
        // The token that brings the sum to top_p is still in.
        let mut sum = 0.0;
        let nucleus = weights.iter().position(|weight| {
            sum += weight;
            sum >= self.top_p * all
        });
        let nucleus = nucleus.map_or(weights.len(), |last| last + 1);
        let total: f64 = weights[..nucleus].iter().sum();
        let mut left = randomness.random::<f64>() * total;
        let drawn = weights[..nucleus].iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        order[drawn.unwrap_or(nucleus.saturating_sub(1))] as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each token is drawn in 20,000.
    fn frequencies(logits: &[f32], temperature: f64, top_k: Option<usize>, top_p: f64) -> Vec<f64> {
        let sampling = Sampling::new(temperature, top_k, top_p, 7).unwrap();
        let mut randomness = sampling.randomness(0);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampling.draw(logits, &mut randomness) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    fn close(got: &[f64], want: &[f64]) {
        let near = got
            .iter()
            .zip(want)
            .all(|(got, want)| (got - want).abs() < 0.015);
        assert!(near, "{got:?}, not {want:?}");
    }

    #[test]
    fn frequencies_by_hand() {
        // Probabilities 1/8, 4/8, 2/8, 1/8.
        let logits = [0.0, 4f32.ln(), 2f32.ln(), 0.0];
        close(
            &frequencies(&logits, 1.0, None, 1.0),
            &[0.125, 0.5, 0.25, 0.125],
        );
        // At half the temperature weights are squares: 1, 16, 4, 1.
        close(
            &frequencies(&logits, 0.5, None, 1.0),
            &[1.0 / 22.0, 16.0 / 22.0, 4.0 / 22.0, 1.0 / 22.0],
        );
        close(
            &frequencies(&logits, 1.0, Some(2), 1.0),
            &[0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0],
        );
        close(&frequencies(&logits, 1.0, None, 0.5), &[0.0, 1.0, 0.0, 0.0]);
        close(
            &frequencies(&logits, 1.0, None, 0.7),
            &[0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0],
        );
        // Half of what top-k left.
        close(
            &frequencies(&logits, 1.0, Some(2), 0.5),
            &[0.0, 1.0, 0.0, 0.0],
        );
    }

    #[test]
    fn extreme_logits() {
        for logits in [
            [f32::NEG_INFINITY, 3.0e38, -3.0e38],
            [f32::NAN, 1.0, f32::NEG_INFINITY],
        ] {
            assert_eq!(
                frequencies(&logits, 1.0, None, 1.0),
                [0.0, 1.0, 0.0].map(|x: f64| {
                    // Twenty thousand times a twenty-thousandth.
                    if x == 0.0 {
                        0.0
                    } else {
                        (0..20_000).map(|_| 1.0 / 20_000.0).sum()
                    }
                })
            );
        }
    }

    #[test]
    fn a_prompt_has_its_own_randomness() {
        let sampling = Sampling::new(1.0, None, 1.0, 1).unwrap();
        let draws = |prompt| {
            let mut randomness = sampling.randomness(prompt);
            (0..20)
                .map(|_| sampling.draw(&[0.0; 50], &mut randomness))
                .collect::<Vec<_>>()
        };
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
    }

    #[test]
    fn settings_out_of_range() {
        for (temperature, top_k, top_p, expected) in [
            (
                0.0,
                None,
                1.0,
                "temperature: expected a number above 0, got 0",
            ),
            (
                f64::NAN,
                None,
                1.0,
                "temperature: expected a number above 0, got NaN",
            ),
            (1.0, Some(0), 1.0, "top-k: expected at least 1, got 0"),
            (
                1.0,
                None,
                0.0,
                "top-p: expected a number above 0 and up to 1, got 0",
            ),
            (
                1.0,
                None,
                1.5,
                "top-p: expected a number above 0 and up to 1, got 1.5",
            ),
        ] {
            let error = Sampling::new(temperature, top_k, top_p, 1).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
