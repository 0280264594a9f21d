//! Multiple choice by likelihood: the option whose letter is likeliest next.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use mpo_kernels::{PackedLayout, Segment};
use mpo_models::CausalLm;

use crate::chat::{ChatError, Progress};

/// Tokens that prompts must open with in common for it to be worth computing them once.
const SHARED: usize = 32;

/// log p of each of `letters` (token ids) after each prompt, nats; prompts are worked on as many at a time as hold
/// `max_tokens`, and what those have in common at their beginning is computed once.
///
/// # Errors
/// If `progress` says stop.
pub fn letter_log_probs(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    letters: &[u32],
    max_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>, ChatError> {
    let model = model.valid();
    // Neighbours in this order have most in common: examples of one subject, then its questions.
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by(|&a, &b| prompts[a].cmp(&prompts[b]));
    let mut scored = vec![vec![]; prompts.len()];
    let mut rest = &order[..];
    while !rest.is_empty() {
        if !progress.go_on() {
            return Err(ChatError::Stopped);
        }
        let batch = Batch::of(rest, prompts, max_tokens);
        let (part, after) = rest.split_at(batch.last_rows.len());
        rest = after;
        for (&number, log_probs) in part.iter().zip(batch.log_probs(&model, letters)) {
            scored[number] = log_probs;
            progress.done();
        }
    }
    Ok(scored)
}

/// Prompts laid out behind what they have in common.
struct Batch {
    tokens: Vec<u32>,
    layout: PackedLayout,
    /// Each prompt's last row.
    last_rows: Vec<usize>,
}

impl Batch {
    /// As many of the first prompts of `order` as fit, at least one.
    fn of(order: &[usize], prompts: &[Vec<u32>], max_tokens: usize) -> Self {
        let first = &prompts[order[0]];
        let (mut count, mut shared, mut total) = (1, first.len() - 1, first.len());
        for &number in &order[1..] {
            let prompt = &prompts[number];
            // At least a prompt's last token is its own.
            let common = common(first, prompt).min(shared).min(prompt.len() - 1);
            if common < SHARED {
                break;
            }
            // What all `count + 1` of them have in common is there once.
            if total + prompt.len() - common * count > max_tokens {
                break;
            }
            (count, shared, total) = (count + 1, common, total + prompt.len());
        }
        let shared = if count == 1 { 0 } else { shared };
        let mut batch = first[..shared].to_vec();
        let prefix: Range<usize> = 0..shared;
        let mut segments = vec![];
        if shared > 0 {
            segments.push(Segment {
                rows: prefix.clone(),
                context: vec![],
                attends_itself: true,
            });
        }
        let mut last_rows = vec![];
        for &number in &order[..count] {
            let start = batch.len();
            batch.extend(&prompts[number][shared..]);
            segments.push(Segment {
                rows: start..batch.len(),
                context: if shared > 0 {
                    vec![prefix.clone()]
                } else {
                    vec![]
                },
                attends_itself: true,
            });
            last_rows.push(batch.len() - 1);
        }
        Self {
            tokens: batch,
            layout: PackedLayout::new(segments),
            last_rows,
        }
    }

    fn log_probs(&self, model: &CausalLm, letters: &[u32]) -> Vec<Vec<f64>> {
        let hidden = model.hidden_states(&self.tokens, &self.layout);
        let rows: Vec<i32> = self.last_rows.iter().map(|&row| row as i32).collect();
        let rows = TensorData::new(rows, [self.last_rows.len()]);
        let rows = Tensor::<1, Int>::from_data(rows, &hidden.device());
        let logits = model.logits(hidden.select(0, rows));
        let vocab_size = logits.dims()[1];
        let logits = logits.into_data().convert::<f64>().try_to_vec::<f64>();
        let logits = logits.expect("the data has just been converted to f64");
        logits
            .chunks_exact(vocab_size)
            .map(|row| {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = row.iter().map(|logit| (logit - largest).exp()).sum();
                let log_sum = largest + sum.ln();
                letters
                    .iter()
                    .map(|&letter| row[letter as usize] - log_sum)
                    .collect()
            })
            .collect()
    }
}

/// Tokens that both open with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prompts_open_with_is_computed_once() {
        let opening: Vec<u32> = (0..40).collect();
        let prompt = |rest: &[u32]| [&opening[..], rest].concat();
        let prompts = [
            prompt(&[90, 91]),
            prompt(&[90, 92, 93]),
            vec![7, 8],
            prompt(&[90]),
        ];
        let batch = Batch::of(&[0, 1, 3, 2], &prompts, 100);
        // The third prompt's last token is the others' forty-first.
        assert_eq!(batch.tokens.len(), 40 + 2 + 3 + 1);
        assert_eq!(batch.last_rows, [41, 44, 45]);
        assert_eq!(batch.layout.positions()[40..], [40, 41, 40, 41, 42, 40]);
        assert_eq!(Batch::of(&[2, 0], &prompts, 100).tokens, [7, 8]);
        let full = Batch::of(&[0, 1], &prompts, 43);
        assert_eq!(full.tokens, prompts[0]);
        let two = Batch::of(&[0, 1], &prompts, 44);
        assert_eq!((two.tokens.len(), two.last_rows.len()), (44, 2));
    }

    #[test]
    fn a_batch_holds_as_many_prompts_as_fit() {
        let opening: Vec<u32> = (0..40).collect();
        let prompt = |own: Range<u32>| -> Vec<u32> { opening.iter().copied().chain(own).collect() };
        // Beside the opening 20, 3 and 5 tokens of their own.
        let prompts = [prompt(100..120), prompt(200..203), prompt(300..305)];
        let batch = |max_tokens| Batch::of(&[0, 1, 2], &prompts, max_tokens);
        for (max_tokens, count, tokens) in [(62, 1, 60), (63, 2, 63), (67, 2, 63), (68, 3, 68)] {
            let batch = batch(max_tokens);
            let got = (batch.last_rows.len(), batch.tokens.len());
            assert_eq!(got, (count, tokens), "{max_tokens}");
        }
    }
}
