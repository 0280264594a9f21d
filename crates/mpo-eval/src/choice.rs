//! Multiple choice by likelihood: the option whose letter is likeliest next.

use burn::module::Module;
use mpo_chat::ChatError;
use mpo_models::{At, Batch, CausalLm, Layer, Places, States};
use mpo_progress::Stage;

/// Tokens that prompts must open with in common for it to be worth computing them once.
const SHARED: usize = 32;

/// log p of each of `letters` (token ids) after each prompt, nats; prompts are worked on as many at a time as hold
/// `max_tokens`, and what those have in common at their beginning is computed once.
///
/// # Errors
/// If `stage` is stopped.
pub(crate) fn letter_log_probs(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    letters: &[u32],
    max_tokens: usize,
    stage: &dyn Stage,
) -> Result<Vec<Vec<f64>>, ChatError> {
    let model = model.valid();
    // Neighbours in this order have most in common: examples of one subject, then its questions.
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by(|&a, &b| prompts[a].cmp(&prompts[b]));
    let mut scored = vec![vec![]; prompts.len()];
    let mut rest = &order[..];
    while !rest.is_empty() {
        if stage.is_stopped() {
            return Err(ChatError::Stopped);
        }
        let asked = Asked::of(rest, prompts, max_tokens);
        let (part, after) = rest.split_at(asked.prompts);
        rest = after;
        for (&number, log_probs) in part.iter().zip(asked.log_probs(&model, letters)) {
            scored[number] = log_probs;
            stage.advance(1);
        }
    }
    Ok(scored)
}

/// Prompts behind what they have in common.
struct Asked {
    batch: Batch,
    /// The states that each prompt's next token is predicted from.
    last: States,
    prompts: usize,
}

impl Asked {
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
        let mut batch = Batch::default();
        let part = &order[..count];
        let last = if count == 1 {
            vec![At::Next(batch.prompt(first))]
        } else {
            let opening = batch.prompt(&first[..shared]);
            let mut rest = |&number: &usize| batch.prompt_from(opening, &prompts[number][shared..]);
            part.iter().map(|number| At::Next(rest(number))).collect()
        };
        Self { last: batch.want_states(Layer::Last, Places::Tokens(last)), batch, prompts: count }
    }

    fn log_probs(&self, model: &CausalLm, letters: &[u32]) -> Vec<Vec<f64>> {
        let logits = model.logits(model.forward(&self.batch).states(self.last));
        let vocab_size = logits.dims()[1];
        let logits = logits.into_data().convert::<f64>().try_to_vec::<f64>();
        let logits = logits.expect("the data has just been converted to f64");
        logits
            .chunks_exact(vocab_size)
            .map(|row| {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = row.iter().map(|logit| (logit - largest).exp()).sum();
                let log_sum = largest + sum.ln();
                letters.iter().map(|&letter| row[letter as usize] - log_sum).collect()
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
        let prompts = [prompt(&[90, 91]), prompt(&[90, 92, 93]), vec![7, 8], prompt(&[90])];
        let asked = |order: &[usize], max_tokens| {
            let asked = Asked::of(order, &prompts, max_tokens);
            (asked.prompts, asked.batch.tokens())
        };
        // The third prompt's last token is the others' forty-first.
        assert_eq!(asked(&[0, 1, 3, 2], 100), (3, 40 + 2 + 3 + 1));
        assert_eq!(asked(&[2, 0], 100), (1, 2));
        assert_eq!(asked(&[0, 1], 43), (1, 42));
        assert_eq!(asked(&[0, 1], 44), (2, 44));
    }

    #[test]
    fn a_batch_holds_as_many_prompts_as_fit() {
        let opening: Vec<u32> = (0..40).collect();
        let prompt = |own: std::ops::Range<u32>| -> Vec<u32> { opening.iter().copied().chain(own).collect() };
        // Beside the opening 20, 3 and 5 tokens of their own.
        let prompts = [prompt(100..120), prompt(200..203), prompt(300..305)];
        for (max_tokens, count, tokens) in [(62, 1, 60), (63, 2, 63), (67, 2, 63), (68, 3, 68)] {
            let asked = Asked::of(&[0, 1, 2], &prompts, max_tokens);
            let got = (asked.prompts, asked.batch.tokens());
            assert_eq!(got, (count, tokens), "{max_tokens}");
        }
    }
}
