//! The next token of each of a few sequences, and how probable it is.

use burn::tensor::Tensor;
use mpo_kernels::argmax;

use super::engine::Active;
use crate::decoder::CausalLm;

/// Logits alive at once, in elements.
pub(super) const MAX_LOGITS: usize = 1 << 23;

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// The token.
    pub id: u32,
    /// How probable it is, where that was asked for.
    pub log_probs: Option<LogProbs>,
}

/// Natural logarithms of probabilities by the model's own distribution, whatever a token was drawn by.
#[derive(Debug, Clone, PartialEq)]
pub struct LogProbs {
    /// That of the token that was chosen.
    pub chosen: f32,
    /// The most probable tokens and theirs, the most probable first; equal ones by their number.
    pub top: Vec<(u32, f32)>,
}

/// Chooses each sequence's next token by its last state, `[sequences, hidden_size]`; the error is a logit that leaves no
/// choice.
pub(super) fn choose(model: &CausalLm, states: Tensor<2>, sequences: &mut [&mut Active]) -> Vec<Result<Token, f32>> {
    let vocab_size = model.config().vocab_size;
    let at_once = (MAX_LOGITS / vocab_size).max(1);
    let mut chosen = vec![];
    for (states, sequences) in states.split(at_once, 0).into_iter().zip(sequences.chunks_mut(at_once)) {
        let logits = model.logits(states);
        // The device finds the most probable tokens; logits leave it where something else is wanted of them.
        let wants_most_probable = sequences.iter().any(|one| one.randomness.is_none());
        let wants_numbers =
            sequences.iter().any(|one| one.randomness.is_some() || one.question.top_log_probs.is_some());
        let most_probable = if wants_most_probable { most_probable(logits.clone()) } else { vec![] };
        let numbers = if wants_numbers { floats(logits) } else { vec![] };
        for (row, one) in sequences.iter_mut().enumerate() {
            let logits = || &numbers[row * vocab_size..(row + 1) * vocab_size];
            let id = match &mut one.randomness {
                None => most_probable[row],
                Some((sampling, randomness)) => sampling.draw(logits(), randomness),
            };
            chosen.push(
                id.map(|id| Token {
                    id,
                    log_probs: one.question.top_log_probs.map(|top| log_probs(logits(), id, top)),
                }),
            );
        }
    }
    chosen
}

/// The most probable token of each row.
fn most_probable(logits: Tensor<2>) -> Vec<Result<u32, f32>> {
    let ids = argmax(logits.clone());
    let chosen = floats(logits.gather(1, ids.clone()));
    let ids = ids.into_data().convert::<i64>().try_to_vec::<i64>();
    let ids = ids.expect("the data has just been converted to i64");
    // A NaN or an infinity is the largest of its row, on any backend that does not pass over it.
    ids.into_iter().zip(chosen).map(|(id, got)| if got.is_finite() { Ok(id as u32) } else { Err(got) }).collect()
}

/// Log-probabilities of a token and of the `top` most probable ones, by finite logits or some that are -∞.
fn log_probs(logits: &[f32], id: u32, top: usize) -> LogProbs {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let from_largest = |logit: f32| f64::from(logit) - f64::from(largest);
    let log_sum = logits.iter().map(|&logit| from_largest(logit).exp()).sum::<f64>().ln();
    let log_prob = |id: u32| (from_largest(logits[id as usize]) - log_sum) as f32;
    let descending = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let top = top.min(order.len());
    if (1..order.len()).contains(&top) {
        order.select_nth_unstable_by(top - 1, descending);
    }
    order.truncate(top);
    order.sort_unstable_by(descending);
    LogProbs { chosen: log_prob(id), top: order.into_iter().map(|id| (id, log_prob(id))).collect() }
}

pub(super) fn floats(tensor: Tensor<2>) -> Vec<f32> {
    let values = tensor.into_data().convert::<f32>().try_to_vec::<f32>();
    values.expect("the data has just been converted to f32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_by_hand() {
        // Probabilities 1/8, 4/8, 2/8, 1/8.
        let logits = [0.0, 4f32.ln(), 2f32.ln(), 0.0];
        let got = log_probs(&logits, 2, 3);
        let near = |got: f32, expected: f64| (f64::from(got) - expected.ln()).abs() < 1e-6;
        assert!(near(got.chosen, 0.25), "{got:?}");
        let ids: Vec<u32> = got.top.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 2, 0]);
        assert!(near(got.top[0].1, 0.5) && near(got.top[1].1, 0.25) && near(got.top[2].1, 0.125), "{got:?}");
        assert_eq!(log_probs(&logits, 0, 0).top, []);
        assert_eq!(log_probs(&logits, 0, 4), log_probs(&logits, 0, 20));
    }

    #[test]
    fn extreme_logits_have_log_probabilities() {
        let got = log_probs(&[f32::NEG_INFINITY, 3.0e38, -3.0e38], 1, 2);
        assert_eq!(got.chosen, 0.0);
        assert_eq!(got.top[0], (1, 0.0));
        assert!(got.top[1].1 < -3.0e38);
    }
}
