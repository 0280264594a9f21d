//! Who sees whom: sequences of unequal length laid end to end, prefixes stored once.

use std::ops::Range;
use std::sync::Arc;

/// Consecutive rows of a packed batch that share one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The rows themselves.
    pub rows: Range<usize>,
    /// Earlier rows every one of them sees, in order of position: nothing for a prompt, the prompt for an answer.
    pub context: Vec<Range<usize>>,
    /// Whether the rows also see each other, causally. Padding does not.
    pub attends_itself: bool,
}

impl Segment {
    /// Tokens before the segment's first.
    pub fn context_len(&self) -> usize {
        self.context.iter().map(Range::len).sum()
    }
}

/// A packed batch: segments in order, covering all rows but the first `cached`, which are keys alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLayout {
    segments: Arc<[Segment]>,
    cached: usize,
}

impl PackedLayout {
    /// Checks that the segments tile the rows and look only backwards.
    ///
    /// # Panics
    /// If they do not: a layout is made by code, never read from a file.
    pub fn new(segments: Vec<Segment>) -> Self {
        Self::after(0, segments)
    }

    /// The same where keys and values of the first `cached` rows are there already, from earlier batches.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn after(cached: usize, segments: Vec<Segment>) -> Self {
        let mut next = cached;
        for segment in &segments {
            assert_eq!(segment.rows.start, next, "segments must follow one another");
            assert!(!segment.rows.is_empty(), "a segment has at least one row");
            assert!(
                segment.context.iter().all(|range| range.end <= next),
                "context lies before its segment"
            );
            next = segment.rows.end;
        }
        Self {
            segments: segments.into(),
            cached,
        }
    }

    /// Independent causal sequences of these lengths.
    pub fn sequences(lengths: &[usize]) -> Self {
        let mut start = 0;
        let segment = |&length: &usize| {
            let rows = start..start + length;
            start += length;
            Segment {
                rows,
                context: vec![],
                attends_itself: true,
            }
        };
        Self::new(lengths.iter().map(segment).collect())
    }

    /// Rows with a query: tokens that pass through the model.
    pub fn tokens(&self) -> usize {
        self.keys() - self.cached
    }

    /// Rows with a key, cached ones included.
    pub fn keys(&self) -> usize {
        self.segments
            .last()
            .map_or(self.cached, |segment| segment.rows.end)
    }

    /// Rows before the first with a query.
    pub fn cached(&self) -> usize {
        self.cached
    }

    /// The segments in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Every row's position in its own sequence.
    pub fn positions(&self) -> Vec<u32> {
        let of = |segment: &Segment| {
            let first = segment.context_len() as u32;
            first..first + segment.rows.len() as u32
        };
        self.segments.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_continue_the_context() {
        let layout = PackedLayout::new(vec![
            Segment {
                rows: 0..2,
                context: vec![],
                attends_itself: true,
            },
            Segment {
                rows: 2..4,
                context: vec![0..2],
                attends_itself: true,
            },
            Segment {
                rows: 4..5,
                context: vec![0..2, 2..4],
                attends_itself: false,
            },
        ]);
        assert_eq!(layout.positions(), [0, 1, 2, 3, 4]);
        assert_eq!(
            PackedLayout::sequences(&[2, 3]).positions(),
            [0, 1, 0, 1, 2]
        );
    }

    #[test]
    #[should_panic(expected = "before its segment")]
    fn looking_ahead_is_refused() {
        PackedLayout::new(vec![Segment {
            rows: 0..2,
            context: vec![0..1],
            attends_itself: true,
        }]);
    }
}
