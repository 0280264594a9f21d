//! Sequences that grow: earlier tokens lie in a cache, where each sequence has a place.

use burn::tensor::Tensor;
use mpo_kernels::{PackedLayout, Segment};

use crate::decoder::{CausalLm, KeyValueCache, select_rows};

/// Places for sequences that grow side by side.
#[derive(Debug)]
pub struct Growing {
    cache: KeyValueCache,
    /// The first rows of places that are free.
    free: Vec<usize>,
}

/// A sequence in its place.
#[derive(Debug)]
pub struct Sequence {
    /// Its first row in the cache.
    start: usize,
    /// Its tokens in the cache.
    cached: usize,
}

impl Growing {
    /// `places` for sequences of at most `length` tokens each. Memory is taken when the first tokens go in.
    pub fn new(places: usize, length: usize) -> Self {
        Self {
            cache: KeyValueCache::new(places * length),
            free: (0..places).rev().map(|number| number * length).collect(),
        }
    }

    /// Whether there is a place left.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// A new sequence without tokens; none if every place is taken.
    pub fn begin(&mut self) -> Option<Sequence> {
        let start = self.free.pop()?;
        Some(Sequence { start, cached: 0 })
    }

    /// Gives a sequence's place to others.
    pub fn end(&mut self, sequence: Sequence) {
        self.free.push(sequence.start);
    }

    /// Puts each sequence's next tokens (at least one) through the model. Returns the last layer's output after the final
    /// norm at each one's last token, `[sequences, hidden_size]`, without gradients.
    pub fn extend<'s>(
        &mut self,
        model: &CausalLm,
        sequences: impl IntoIterator<Item = (&'s mut Sequence, Vec<u32>)>,
    ) -> Tensor<2> {
        let (mut ids, mut last_rows, mut segments) = (vec![], vec![], vec![]);
        for (sequence, mut next) in sequences {
            let first = sequence.start + sequence.cached;
            segments.push(Segment {
                rows: first..first + next.len(),
                context: match sequence.cached {
                    0 => vec![],
                    _ => vec![sequence.start..first],
                },
                attends_itself: true,
            });
            sequence.cached += next.len();
            ids.append(&mut next);
            last_rows.push(ids.len() - 1);
        }
        let layout = PackedLayout::in_cache(self.cache.rows(), segments);
        let hidden = model.next_hidden_states(&ids, &layout, &mut self.cache);
        select_rows(&hidden, &last_rows)
    }
}
