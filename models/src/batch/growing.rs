//! Sequences that grow: earlier tokens lie in a cache, where each sequence has rows of its own.

use std::ops::Range;

use burn::tensor::Tensor;
use mpo_kernels::{PackedLayout, Segment};

use crate::decoder::{CausalLm, Going, KeyValueCache, select_rows};

/// Room for sequences that grow side by side.
#[derive(Debug)]
pub struct Growing {
    cache: KeyValueCache,
    /// The rows of all sequences, in their order in the cache.
    taken: Vec<Range<usize>>,
}

/// A sequence in its place.
#[derive(Debug)]
pub struct Sequence {
    /// Its rows in the cache.
    rows: Range<usize>,
    /// Its tokens in the cache: with an encoder, the decoder's.
    cached: usize,
    /// Tokens of its prompt, if an encoder has read it.
    encoded: usize,
}

impl Growing {
    /// Room for so many tokens of all sequences together. Memory is taken when the first tokens go in.
    pub fn new(tokens: usize) -> Self {
        Self { cache: KeyValueCache::new(tokens), taken: vec![] }
    }

    /// A new sequence without tokens that may grow to `length`; it gets the first rows where so many lie free together.
    /// None if they do nowhere.
    pub fn begin(&mut self, length: usize) -> Option<Sequence> {
        let (mut at, mut start) = (0, 0);
        while let Some(taken) = self.taken.get(at).filter(|taken| taken.start - start < length) {
            (at, start) = (at + 1, taken.end);
        }
        let end = start.checked_add(length).filter(|&end| end <= self.cache.rows())?;
        self.taken.insert(at, start..end);
        Some(Sequence { rows: start..end, cached: 0, encoded: 0 })
    }

    /// Gives a sequence's rows to others.
    pub fn end(&mut self, sequence: Sequence) {
        self.taken.retain(|taken| *taken != sequence.rows);
    }

    /// Puts each sequence's next tokens (at least one; at first, all of its prompt) through the model. Returns the last layer's
    /// output after the final norm where each one's next token is predicted, `[sequences, hidden_size]`, without gradients.
    pub fn extend<'s>(
        &mut self,
        model: &CausalLm,
        sequences: impl IntoIterator<Item = (&'s mut Sequence, Vec<u32>)>,
    ) -> Tensor<2> {
        let (mut ids, mut last_rows, mut segments) = (vec![], vec![], vec![]);
        let (mut prompts, mut runs) = (vec![], vec![]);
        for (sequence, mut next) in sequences {
            let start = sequence.rows.start;
            if let Some(first) = model.start_token() {
                if sequence.cached == 0 {
                    sequence.encoded = next.len();
                    prompts.push((std::mem::replace(&mut next, vec![first]), start));
                }
                runs.push((next.len(), start..start + sequence.encoded));
            }
            let first = start + sequence.cached;
            segments.push(Segment {
                rows: first..first + next.len(),
                context: match sequence.cached {
                    0 => vec![],
                    _ => vec![start..first],
                },
                attends_itself: true,
            });
            sequence.cached += next.len();
            ids.append(&mut next);
            last_rows.push(ids.len() - 1);
        }
        let layout = PackedLayout::in_cache(self.cache.rows(), segments);
        let hidden = if model.start_token().is_some() {
            let across = PackedLayout::across(self.cache.rows(), runs);
            model.going_on(&Going { prompts, ids, layout, across }, &mut self.cache)
        } else {
            model.next_hidden_states(&ids, &layout, &mut self.cache)
        };
        select_rows(&hidden, &last_rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_given_once_and_given_again() {
        let mut growing = Growing::new(10);
        let [a, b, c] = [4, 2, 4].map(|length| growing.begin(length).unwrap());
        assert_eq!([&a, &b, &c].map(|sequence| sequence.rows.clone()), [0..4, 4..6, 6..10]);
        assert!(growing.begin(1).is_none());
        growing.end(b);
        assert!(growing.begin(3).is_none());
        assert_eq!(growing.begin(1).unwrap().rows, 4..5);
        assert_eq!(growing.begin(1).unwrap().rows, 5..6);
        growing.end(a);
        growing.end(c);
        // Free rows apart are no room for one sequence.
        assert!(growing.begin(8).is_none());
        assert_eq!(growing.begin(4).unwrap().rows, 0..4);
        assert_eq!(growing.begin(4).unwrap().rows, 6..10);
        assert!(growing.begin(usize::MAX).is_none());
    }
}
