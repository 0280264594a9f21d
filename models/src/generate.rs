//! Greedy generation for many prompts of unequal length at once, without padding.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use mpo_kernels::{PackedLayout, Segment};

use crate::decoder::{CausalLm, KeyValueCache};

/// When to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Tokens that end an answer; they are not part of it.
    pub stop_ids: Vec<u32>,
}

/// Logits alive at once, in elements.
const MAX_LOGITS: usize = 1 << 23;

/// A sequence that is not finished.
struct Active {
    /// Which prompt it answers.
    index: usize,
    /// Its rows in the cache.
    context: Vec<Range<usize>>,
    /// The token to go in next.
    next: u32,
}

/// The most probable continuation of every prompt (each of at least one token), token by token. `on_token` is told each
/// new token with its prompt's number, and says whether to go on.
pub fn generate(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    mut on_token: impl FnMut(usize, u32) -> bool,
) -> Vec<Vec<u32>> {
    let model = model.valid();
    let mut answers = vec![vec![]; prompts.len()];
    if prompts.is_empty() || options.max_new_tokens == 0 {
        return answers;
    }
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let mut cache = KeyValueCache::default();
    let hidden = model.next_hidden_states(
        &prompts.concat(),
        &PackedLayout::sequences(&lengths),
        &mut cache,
    );
    let mut end = 0;
    let mut active: Vec<Active> = lengths
        .iter()
        .enumerate()
        .map(|(index, length)| {
            end += length;
            Active {
                index,
                context: vec![end - length..end],
                next: 0,
            }
        })
        .collect();
    let last_rows: Vec<usize> = active
        .iter()
        .map(|sequence| sequence.context[0].end - 1)
        .collect();
    let mut chosen = most_probable(&model, &hidden, &last_rows);
    for produced in 1.. {
        let mut go_on = true;
        let mut chosen_now = chosen.into_iter();
        active.retain_mut(|sequence| {
            let Some(token) = chosen_now.next() else {
                return false;
            };
            if options.stop_ids.contains(&token) {
                return false;
            }
            answers[sequence.index].push(token);
            go_on &= on_token(sequence.index, token);
            sequence.next = token;
            true
        });
        if active.is_empty() || produced == options.max_new_tokens || !go_on {
            break;
        }
        let first = cache.rows();
        let segment = |(i, sequence): (usize, &Active)| Segment {
            rows: first + i..first + i + 1,
            context: sequence.context.clone(),
            attends_itself: true,
        };
        let layout = PackedLayout::after(first, active.iter().enumerate().map(segment).collect());
        let tokens: Vec<u32> = active.iter().map(|sequence| sequence.next).collect();
        let hidden = model.next_hidden_states(&tokens, &layout, &mut cache);
        for (i, sequence) in active.iter_mut().enumerate() {
            match sequence.context.last_mut() {
                // Alone in the batch, a sequence's rows follow one another.
                Some(range) if range.end == first + i => range.end += 1,
                _ => sequence.context.push(first + i..first + i + 1),
            }
        }
        chosen = most_probable(&model, &hidden, &(0..active.len()).collect::<Vec<_>>());
    }
    answers
}

/// The most probable next token after each of these rows.
fn most_probable(model: &CausalLm, hidden: &Tensor<2>, rows: &[usize]) -> Vec<u32> {
    let at_once = (MAX_LOGITS / model.config().vocab_size).max(1);
    let device = hidden.device();
    rows.chunks(at_once)
        .flat_map(|rows| {
            let indices: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            let indices =
                Tensor::<1, Int>::from_data(TensorData::new(indices, [rows.len()]), &device);
            let logits = model.logits(hidden.clone().select(0, indices));
            let ids = logits
                .argmax(1)
                .into_data()
                .convert::<i64>()
                .try_to_vec::<i64>();
            ids.expect("the data has just been converted to i64")
        })
        .map(|id| id as u32)
        .collect()
}
