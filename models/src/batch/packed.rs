//! A batch laid out for a decoder: parts end to end, without padding, each there once.

use std::ops::Range;

use mpo_kernels::{PackedLayout, Segment};

use super::{At, Batch, Kind, Part};

/// The rows of a batch.
#[derive(Debug)]
pub(crate) struct Packed {
    /// One id for each row.
    pub(crate) ids: Vec<u32>,
    /// Which rows each row sees.
    pub(crate) layout: PackedLayout,
    rows: Vec<Range<usize>>,
    /// The row before each part's first; none for what begins a sequence.
    before: Vec<Option<usize>>,
}

/// Answers to be scored, as the vocabulary's kernels take them.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// The rows that predict them.
    pub(crate) rows: Vec<usize>,
    /// The tokens predicted.
    pub(crate) ids: Vec<u32>,
    /// Tokens of each answer.
    pub(crate) lengths: Vec<usize>,
}

impl Packed {
    /// The rows of a batch, and of a sequence of nothing in particular after them if they are fewer than `fewest`.
    pub(crate) fn new(batch: &Batch, fewest: usize) -> Self {
        let mut packed = Self { ids: vec![], layout: PackedLayout::new(vec![]), rows: vec![], before: vec![] };
        let mut segments = vec![];
        for (number, part) in batch.parts.iter().enumerate() {
            let rows = packed.ids.len()..packed.ids.len() + part.ids.len();
            packed.ids.extend_from_slice(&part.ids);
            let context: Vec<Range<usize>> = batch
                .before(Part(number))
                .into_iter()
                .map(|part| packed.rows[part.0].clone())
                .filter(|rows| !rows.is_empty())
                .collect();
            packed.before.push(context.last().map(|rows| rows.end - 1));
            packed.rows.push(rows.clone());
            if !rows.is_empty() {
                segments.push(Segment { rows, context, attends_itself: part.kind != Kind::Padding });
            }
        }
        let rows = packed.ids.len()..fewest;
        if !rows.is_empty() && !packed.ids.is_empty() {
            packed.ids.resize(fewest, 0);
            segments.push(Segment { rows, context: vec![], attends_itself: true });
        }
        packed.layout = PackedLayout::new(segments);
        packed
    }

    /// The rows of some tokens.
    ///
    /// # Panics
    /// If nothing stands before a part that is to be predicted: its first token is predicted from there.
    pub(crate) fn rows(&self, at: At) -> Vec<usize> {
        match at {
            At::Last(part) | At::Next(part) => vec![self.rows[part.0].end - 1],
            At::Every(part) => self.rows[part.0].clone().collect(),
            At::Predicting(part) => {
                let rows = &self.rows[part.0];
                let before = self.before[part.0];
                let before = before.expect("an answer needs a prompt to be predicted from");
                std::iter::once(before).chain(rows.start..rows.end - 1).collect()
            }
        }
    }

    /// All rows of some parts.
    pub(crate) fn all_rows(&self, parts: &[Part]) -> Vec<usize> {
        let of = |part: &Part| self.rows[part.0].clone();
        parts.iter().flat_map(of).collect()
    }

    /// What the answers of the batch are scored by.
    pub(crate) fn targets(&self, batch: &Batch) -> Targets {
        let mut targets = Targets::default();
        for &answer in &batch.scored {
            targets.rows.extend(self.rows(At::Predicting(answer)));
            targets.ids.extend_from_slice(batch.ids(answer));
            targets.lengths.push(batch.ids(answer).len());
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_laid_out_once_and_sees_what_it_follows() {
        let mut batch = Batch::default();
        let prompt = batch.prompt(&[1, 2]);
        let chosen = batch.answer(prompt, &[3, 4, 5]);
        let rejected = batch.answer(prompt, &[6]);
        let padding = batch.padding(rejected, 0, 2);
        batch.padding(chosen, 0, 0);
        let packed = Packed::new(&batch, 0);
        assert_eq!(packed.ids, [1, 2, 3, 4, 5, 6, 0, 0]);
        assert_eq!(batch.tokens(), 8);
        assert_eq!(packed.layout.positions(), [0, 1, 2, 3, 4, 2, 3, 4]);
        let contexts: Vec<_> = packed.layout.segments().iter().collect();
        assert_eq!(contexts.len(), 4);
        assert_eq!(contexts[2].context, [0..2]);
        assert_eq!(contexts[3].context, [0..2, 5..6]);
        assert!(contexts[2].attends_itself && !contexts[3].attends_itself);
        assert_eq!(packed.all_rows(&[prompt, rejected, padding]), [0, 1, 5, 6, 7]);
    }

    #[test]
    fn a_small_batch_is_filled_up_behind_its_parts() {
        let mut batch = Batch::default();
        let prompt = batch.prompt(&[1, 2]);
        let packed = Packed::new(&batch, 5);
        assert_eq!(packed.ids, [1, 2, 0, 0, 0]);
        assert_eq!(packed.layout.positions(), [0, 1, 0, 1, 2]);
        assert_eq!(packed.all_rows(&[prompt]), [0, 1]);
        assert_eq!(Packed::new(&Batch::default(), 5).ids, [0; 0]);
    }

    #[test]
    fn answers_are_predicted_from_the_row_before_each_token() {
        let mut batch = Batch::default();
        let opening = batch.prompt(&[1, 2]);
        let prompt = batch.prompt_from(opening, &[3]);
        let answer = batch.answer(prompt, &[4, 5]);
        let other = batch.answer(opening, &[6]);
        batch.want_scores([answer, other]);
        let packed = Packed::new(&batch, 0);
        let targets = packed.targets(&batch);
        assert_eq!(targets.rows, [2, 3, 1]);
        assert_eq!(targets.ids, [4, 5, 6]);
        assert_eq!(targets.lengths, [2, 1]);
        assert_eq!(packed.rows(At::Last(answer)), [4]);
        assert_eq!(packed.rows(At::Every(answer)), [3, 4]);
    }
}
