//! Logits that a forward keeps for its backward on the CPU: as many as fit the memory for them.
//!
//! Of every run the first columns, so that all threads have as much left to make again.

use std::ops::Range;

use super::native::{Block, COLUMNS, Head};

/// Which logits are kept of a number of rows, and where they lie: run after run, tile after tile, block after block.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    rows: usize,
    vocabulary: usize,
    run: usize,
    /// Of each run; all of a shorter one.
    columns: usize,
}

impl Plan {
    /// At most so many bytes of logits, in whole tiles.
    pub(crate) fn new(head: &Head<'_>, rows: usize, bytes: usize) -> Self {
        let (run, runs) = (head.run_length(), head.runs().len());
        let fit = bytes / size_of::<f32>() / (rows * runs).max(1);
        let columns = if fit >= run { run } else { fit - fit % COLUMNS.min(run) };
        Self { rows, vocabulary: head.vocabulary(), run, columns }
    }

    /// How many logits.
    pub(crate) fn len(&self) -> usize {
        let (runs, rest) = (self.vocabulary / self.run, self.vocabulary % self.run);
        self.rows * (runs * self.columns + rest.min(self.columns))
    }

    /// The room for each run's, which come tile by tile, and in each by blocks of rows; none for a run that keeps nothing.
    pub(crate) fn shares<'r, T>(&self, mut room: &'r mut [T]) -> Vec<&'r mut [T]> {
        let runs = self.vocabulary.div_ceil(self.run);
        let share = |_| room.split_off_mut(..room.len().min(self.rows * self.columns)).unwrap_or_default();
        (0..runs).map(share).collect()
    }

    /// Where a block's lie, if it is kept.
    fn place(&self, block: &Block) -> Option<Range<usize>> {
        let (run, column) = (block.columns.start / self.run, block.columns.start % self.run);
        let start = (run * self.columns + column) * self.rows + block.rows.start * block.columns.len();
        (column < self.columns).then(|| start..start + block.rows.len() * block.columns.len())
    }
}

/// Logits that were kept.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a>(Option<(Plan, &'a [f32])>);

impl<'a> Kept<'a> {
    pub(crate) const NONE: Self = Self(None);

    /// `logits` as the forward had planned them; none if it kept none.
    pub(crate) fn new(plan: Plan, logits: &'a [f32]) -> Self {
        Self((plan.len() == logits.len()).then_some((plan, logits)))
    }

    pub(crate) fn of(self, block: &Block) -> Option<&'a [f32]> {
        let (plan, logits) = self.0?;
        plan.place(block).map(|place| &logits[place])
    }
}
