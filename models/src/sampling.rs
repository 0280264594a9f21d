//! Drawing the next token, where the most probable one is not wanted.

use std::cmp::Ordering;

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
    /// The stream of the first prompt's randomness; those of the others follow.
    stream: u64,
    /// Whether a prompt's stream follows from what it says, and not from its place.
    by_prompt: bool,
}

/// Why no token can be chosen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A setting of [`Sampling`] out of its range.
    #[error("{setting}: expected {expected}, got {got}")]
    Setting {
        /// Its name; a flag is the same.
        setting: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        got: f64,
    },
    /// Logits that say nothing.
    #[error("expected finite logits, got {got} for prompt {}", prompt + 1)]
    NotFinite {
        /// Whose; the first is 0, and the message counts from 1.
        prompt: usize,
        /// NaN or an infinity.
        got: f32,
    },
}

impl SamplingError {
    /// The next thing to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Setting { setting, .. } => match *setting {
                "top-k" => "without --top-k tokens are drawn from all",
                "top-p" => "--top-p 1 draws from all tokens",
                _ => "--temperature 0 takes the most probable token",
            },
            Self::NotFinite { .. } => "the weights are damaged or training diverged",
        }
    }
}

impl Sampling {
    /// `temperature` above 0, `top_k` at least 1 (none: all tokens), `top_p` above 0 and up to 1 (1: all of them).
    ///
    /// # Errors
    /// If one is out of its range.
    pub fn new(temperature: f64, top_k: Option<usize>, top_p: f64, seed: u64) -> Result<Self, SamplingError> {
        let error = |setting, expected, got| Err(SamplingError::Setting { setting, expected, got });
        if !(temperature > 0.0 && temperature.is_finite()) {
            return error("temperature", "a number above 0", temperature);
        }
        if top_k == Some(0) {
            return error("top-k", "at least 1", 0.0);
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return error("top-p", "a number above 0 and up to 1", top_p);
        }
        Ok(Self { temperature, top_k, top_p, seed, stream: 0, by_prompt: false })
    }

    /// The same for a turn of a conversation: the first is 0, and each has other randomness.
    #[must_use]
    pub fn at_turn(self, turn: u64) -> Self {
        Self { stream: turn, ..self }
    }

    /// The same where a prompt's randomness follows from its tokens, so that its answer is the same whichever prompts are
    /// asked before it.
    #[must_use]
    pub fn by_prompt(self) -> Self {
        Self { by_prompt: true, ..self }
    }

    /// The same for the prompt of this place among several.
    pub(crate) fn at_place(self, place: usize) -> Self {
        match self.by_prompt {
            true => self,
            false => Self { stream: self.stream.wrapping_add(place as u64), ..self },
        }
    }

    /// The randomness of the answer to the prompt of these tokens, which other prompts have no part in.
    pub(crate) fn randomness(&self, ids: &[u32]) -> ChaCha8Rng {
        let mut randomness = ChaCha8Rng::seed_from_u64(self.seed);
        if self.by_prompt {
            let mut hasher = blake3::Hasher::new();
            ids.iter().for_each(|id| _ = hasher.update(&id.to_le_bytes()));
            hasher.update(&self.stream.to_le_bytes());
            let mut stream = [0; 8];
            hasher.finalize_xof().fill(&mut stream);
            randomness.set_stream(u64::from_le_bytes(stream));
        } else {
            randomness.set_stream(self.stream);
        }
        randomness
    }

    /// A token by these logits; the error is a logit that leaves no probabilities.
    pub(crate) fn draw(&self, logits: &[f32], randomness: &mut impl Rng) -> Result<u32, f32> {
        let largest = f64::from(largest(logits)?);
        // The largest weighs 1, so that the sum of weights is a number, and above 0.
        let weight = |logit: f32| ((f64::from(logit) - largest) / self.temperature).exp();
        let all = self.top_p == 1.0 && self.top_k.is_none_or(|kept| kept >= logits.len());
        if all {
            // Which token is the more probable does not matter, and a vocabulary takes long to sort.
            let weights: Vec<f64> = logits.iter().map(|&logit| weight(logit)).collect();
            return Ok(pick(&weights, randomness) as u32);
        }
        let (tokens, weights) = self.nucleus(logits, weight);
        Ok(tokens[pick(&weights, randomness)])
    }

    /// The tokens that `top_k` and `top_p` leave, and their weights; the most probable come first.
    fn nucleus(&self, logits: &[f32], weight: impl Fn(f32) -> f64) -> (Vec<u32>, Vec<f64>) {
        let logit = |token: u32| logits[token as usize];
        // Equal ones go by their number, so that what is left does not depend on how they were sorted.
        let descending = |a: &u32, b: &u32| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b));
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let kept = self.top_k.unwrap_or(order.len()).min(order.len());
        let mut sorted = 0;
        if kept < order.len() {
            order.select_nth_unstable_by(kept, descending);
            order.truncate(kept);
            order.sort_unstable_by(descending);
            sorted = kept;
        }
        let total: f64 = order.iter().map(|&token| weight(logit(token))).sum();
        let (mut weights, mut sum) = (vec![], 0.0);
        // The token that brings the sum to top_p is still in.
        while sum < self.top_p * total && weights.len() < order.len() {
            if weights.len() == sorted {
                sorted = sort_more(&mut order, sorted, descending);
            }
            let next = weight(logit(order[weights.len()]));
            sum += next;
            weights.push(next);
        }
        order.truncate(weights.len());
        (order, weights)
    }
}

/// The largest logit; NaN anywhere, or an infinite largest one, is the error.
fn largest(logits: &[f32]) -> Result<f32, f32> {
    let mut largest = f32::NEG_INFINITY;
    for &logit in logits {
        if logit.is_nan() {
            return Err(logit);
        }
        largest = largest.max(logit);
    }
    if largest.is_finite() { Ok(largest) } else { Err(largest) }
}

/// Draws one of several by their weights; gives its index.
fn pick(weights: &[f64], randomness: &mut impl Rng) -> usize {
    let total: f64 = weights.iter().sum();
    let mut left = randomness.random::<f64>() * total;
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave a little for nobody: then it is the last that can be drawn at all.
    drawn.or_else(|| weights.iter().rposition(|&weight| weight > 0.0)).unwrap_or(0)
}

/// Of `order`, whose first `sorted` are in their places, sorts more, and returns how many are in their places now.
fn sort_more(order: &mut [u32], sorted: usize, compare: impl Fn(&u32, &u32) -> Ordering + Copy) -> usize {
    // Most of the probability is in a few tokens; where it is not, the steps grow and remain few.
    let end = order.len().min((8 * sorted).max(256));
    let rest = &mut order[sorted..];
    let count = end - sorted;
    if count < rest.len() {
        rest.select_nth_unstable_by(count, compare);
    }
    rest[..count].sort_unstable_by(compare);
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each token is drawn in 20,000.
    fn frequencies(logits: &[f32], temperature: f64, top_k: Option<usize>, top_p: f64) -> Vec<f64> {
        let sampling = Sampling::new(temperature, top_k, top_p, 7).unwrap();
        let mut randomness = sampling.randomness(&[]);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampling.draw(logits, &mut randomness).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    fn close(got: &[f64], want: &[f64]) {
        let near = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 0.015);
        assert!(near, "{got:?}, not {want:?}");
    }

    #[test]
    fn frequencies_by_hand() {
        // Probabilities 1/8, 4/8, 2/8, 1/8.
        let logits = [0.0, 4f32.ln(), 2f32.ln(), 0.0];
        close(&frequencies(&logits, 1.0, None, 1.0), &[0.125, 0.5, 0.25, 0.125]);
        // At half the temperature weights are squares: 1, 16, 4, 1.
        close(&frequencies(&logits, 0.5, None, 1.0), &[1.0 / 22.0, 16.0 / 22.0, 4.0 / 22.0, 1.0 / 22.0]);
        close(&frequencies(&logits, 1.0, Some(2), 1.0), &[0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
        close(&frequencies(&logits, 1.0, None, 0.5), &[0.0, 1.0, 0.0, 0.0]);
        close(&frequencies(&logits, 1.0, None, 0.7), &[0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
        // Half of what top-k left.
        close(&frequencies(&logits, 1.0, Some(2), 0.5), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn extreme_logits() {
        for (top_k, top_p) in [(None, 1.0), (Some(2), 1.0), (None, 0.5)] {
            let logits = [f32::NEG_INFINITY, 3.0e38, -3.0e38];
            let got = frequencies(&logits, 1.0, top_k, top_p);
            close(&got, &[0.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn logits_that_leave_no_probabilities_are_errors() {
        for (top_k, top_p) in [(None, 1.0), (Some(1), 1.0), (None, 0.5)] {
            let sampling = Sampling::new(1.0, top_k, top_p, 7).unwrap();
            let draw = |logits: &[f32]| sampling.draw(logits, &mut sampling.randomness(&[]));
            assert!(draw(&[1.0, f32::NAN, 0.0]).unwrap_err().is_nan());
            // The sign of NaN, which decides how it is sorted, makes no difference.
            assert!(draw(&[1.0, -f32::NAN, 0.0]).unwrap_err().is_nan());
            assert_eq!(draw(&[1.0, f32::INFINITY]), Err(f32::INFINITY));
            assert_eq!(draw(&[f32::NEG_INFINITY; 3]), Err(f32::NEG_INFINITY));
            assert_eq!(draw(&[f32::NEG_INFINITY, 1.0]), Ok(1));
        }
    }

    #[test]
    fn what_top_k_and_top_p_leave_is_the_beginning_of_a_full_sort() {
        // 5,000 logits of few values, in no order: equal ones everywhere.
        let logits: Vec<f32> = (0..5_000u32).map(|token| (token * 7_919 % 97) as f32 / 97.0).collect();
        let mut sorted: Vec<u32> = (0..5_000).collect();
        sorted.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
        let weight = |logit: f32| f64::from(logit).exp();
        let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
        for (top_k, top_p, most) in [
            (None, 0.01, 300),
            (None, 0.3, 3_000),
            (None, 0.999_999, 5_000),
            (Some(10), 1.0, 10),
            (Some(1_000), 0.5, 600),
            (Some(5_000), 0.2, 2_000),
        ] {
            let sampling = Sampling::new(1.0, top_k, top_p, 7).unwrap();
            let (tokens, weights) = sampling.nucleus(&logits, weight);
            assert_eq!(tokens, sorted[..tokens.len()], "{top_k:?} {top_p}");
            assert!(tokens.len() <= most, "{top_k:?} {top_p}: {}", tokens.len());
            if top_k.is_none() {
                // No fewer than make up top_p, and no more.
                let sum: f64 = weights.iter().sum();
                let last = weights[weights.len() - 1];
                assert!(sum > (top_p - 1e-9) * total, "{top_p}");
                assert!(sum - last < (top_p + 1e-9) * total, "{top_p}");
            }
        }
        let even = Sampling::new(1.0, None, 0.5, 7).unwrap();
        let (tokens, _) = even.nucleus(&[0.0; 1_000], weight);
        assert_eq!(tokens, Vec::from_iter(0..500));
    }

    #[test]
    fn a_prompt_has_its_own_randomness() {
        let sampling = Sampling::new(1.0, None, 1.0, 1).unwrap();
        let draws = |prompt| {
            let mut randomness = sampling.at_place(prompt).randomness(&[]);
            (0..20).map(|_| sampling.draw(&[0.0; 50], &mut randomness).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
    }

    #[test]
    fn a_turn_has_its_own_randomness() {
        let sampling = Sampling::new(1.0, None, 1.0, 1).unwrap();
        let draws = |sampling: Sampling| {
            let mut randomness = sampling.randomness(&[]);
            (0..20).map(|_| sampling.draw(&[0.0; 50], &mut randomness).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(sampling), draws(sampling.at_turn(0)));
        assert_ne!(draws(sampling), draws(sampling.at_turn(1)));
    }

    #[test]
    fn randomness_by_prompt_follows_from_its_tokens_and_not_from_its_place() {
        let sampling = Sampling::new(1.0, None, 1.0, 1).unwrap();
        let draws = |sampling: Sampling, place, ids: &[u32]| {
            let mut randomness = sampling.at_place(place).randomness(ids);
            (0..20).map(|_| sampling.draw(&[0.0; 50], &mut randomness).unwrap()).collect::<Vec<_>>()
        };
        let by_prompt = sampling.by_prompt();
        assert_eq!(draws(by_prompt, 0, &[1, 2]), draws(by_prompt, 7, &[1, 2]));
        assert_ne!(draws(by_prompt, 0, &[1, 2]), draws(by_prompt, 0, &[1, 3]));
        assert_ne!(draws(by_prompt, 0, &[1, 2]), draws(by_prompt.at_turn(1), 0, &[1, 2]));
        assert_ne!(draws(sampling, 0, &[1, 2]), draws(sampling, 7, &[1, 2]));
    }

    #[test]
    fn settings_out_of_range() {
        for (temperature, top_k, top_p, expected) in [
            (0.0, None, 1.0, "temperature: expected a number above 0, got 0"),
            (f64::NAN, None, 1.0, "temperature: expected a number above 0, got NaN"),
            (1.0, Some(0), 1.0, "top-k: expected at least 1, got 0"),
            (1.0, None, 0.0, "top-p: expected a number above 0 and up to 1, got 0"),
            (1.0, None, 1.5, "top-p: expected a number above 0 and up to 1, got 1.5"),
        ] {
            let error = Sampling::new(temperature, top_k, top_p, 1).unwrap_err();
            assert_eq!(error.to_string(), expected);
            // The way out is by the setting that is wrong.
            let setting = expected.split(':').next().unwrap();
            assert!(error.hint().contains(setting), "{setting}: {}", error.hint());
        }
    }
}
