//! Who sees whom: sequences of unequal length laid end to end, prefixes stored once.

use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "cube")]
use super::cube::Schedules;

/// Consecutive rows of a packed batch that share one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The rows of their keys and values.
    pub rows: Range<usize>,
    /// Key rows every one of them sees, in order of position: nothing for a prompt, the prompt for an answer.
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

/// A packed batch: its queries are the rows of its segments in order.
///
/// Clones share what kernels have worked out about it, so that it is worked out once for all layers of a pass.
#[derive(Debug, Clone)]
pub struct PackedLayout(Arc<Packed>);

#[derive(Debug)]
struct Packed {
    segments: Vec<Segment>,
    tokens: usize,
    keys: usize,
    #[cfg(feature = "cube")]
    schedules: Schedules,
}

impl PartialEq for PackedLayout {
    fn eq(&self, other: &Self) -> bool {
        self.segments() == other.segments() && self.keys() == other.keys()
    }
}

impl Eq for PackedLayout {}

impl PackedLayout {
    /// A batch whose keys are its own rows. Checks that the segments tile the rows and look only backwards.
    ///
    /// # Panics
    /// If they do not: a layout is made by code, never read from a file.
    pub fn new(segments: Vec<Segment>) -> Self {
        let mut next = 0;
        for segment in &segments {
            assert_eq!(segment.rows.start, next, "segments must follow one another");
            assert!(segment.context.iter().all(|range| range.end <= next), "context lies before its segment");
            next = segment.rows.end;
        }
        Self::in_cache(next, segments)
    }

    /// A batch whose keys lie among the `keys` rows of a cache, beside those of tokens that went before.
    ///
    /// # Panics
    /// If a segment has no rows, or some outside the cache.
    pub fn in_cache(keys: usize, segments: Vec<Segment>) -> Self {
        for segment in &segments {
            assert!(!segment.rows.is_empty(), "a segment has at least one row");
            assert!(
                segment.context.iter().chain([&segment.rows]).all(|range| range.end <= keys),
                "keys lie inside the cache"
            );
        }
        Self(Arc::new(Packed {
            tokens: segments.iter().map(|segment| segment.rows.len()).sum(),
            segments,
            keys,
            #[cfg(feature = "cube")]
            schedules: Schedules::default(),
        }))
    }

    /// Independent causal sequences of these lengths.
    pub fn sequences(lengths: &[usize]) -> Self {
        let mut start = 0;
        let segment = |&length: &usize| {
            let rows = start..start + length;
            start += length;
            Segment { rows, context: vec![], attends_itself: true }
        };
        Self::new(lengths.iter().map(segment).collect())
    }

    /// Rows with a query: tokens that pass through the model.
    pub fn tokens(&self) -> usize {
        self.0.tokens
    }

    /// Rows with a key: the tokens themselves, or all rows of a cache.
    pub fn keys(&self) -> usize {
        self.0.keys
    }

    /// The segments in order.
    pub fn segments(&self) -> &[Segment] {
        &self.0.segments
    }

    /// The segments in order, each with its first query row.
    pub fn queries(&self) -> impl Iterator<Item = (usize, &Segment)> {
        self.segments().iter().scan(0, |next, segment| {
            let first = *next;
            *next += segment.rows.len();
            Some((first, segment))
        })
    }

    /// Every query's position in its own sequence.
    pub fn positions(&self) -> Vec<u32> {
        let of = |segment: &Segment| {
            let first = segment.context_len() as u32;
            first..first + segment.rows.len() as u32
        };
        self.segments().iter().flat_map(of).collect()
    }

    /// What GPU kernels have worked out about this layout.
    #[cfg(feature = "cube")]
    pub(super) fn schedules(&self) -> &Schedules {
        &self.0.schedules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_continue_the_context() {
        let layout = PackedLayout::new(vec![
            Segment { rows: 0..2, context: vec![], attends_itself: true },
            Segment { rows: 2..4, context: vec![0..2], attends_itself: true },
            Segment { rows: 4..5, context: vec![0..2, 2..4], attends_itself: false },
        ]);
        assert_eq!(layout.positions(), [0, 1, 2, 3, 4]);
        assert_eq!(PackedLayout::sequences(&[2, 3]).positions(), [0, 1, 0, 1, 2]);
    }

    #[test]
    fn queries_are_counted_apart_from_cached_keys() {
        let segment = |rows: Range<usize>, context| Segment { rows, context, attends_itself: true };
        let layout = PackedLayout::in_cache(20, vec![segment(14..15, vec![10..14]), segment(0..3, vec![])]);
        assert_eq!((layout.tokens(), layout.keys()), (4, 20));
        assert_eq!(layout.positions(), [4, 0, 1, 2]);
        let first: Vec<usize> = layout.queries().map(|(first, _)| first).collect();
        assert_eq!(first, [0, 1]);
    }

    #[test]
    #[should_panic(expected = "before its segment")]
    fn looking_ahead_is_refused() {
        PackedLayout::new(vec![Segment { rows: 0..2, context: vec![0..1], attends_itself: true }]);
    }
}
