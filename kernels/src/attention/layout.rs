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
    sight: Sight,
    #[cfg(feature = "cube")]
    schedules: Schedules,
}

/// Which of its keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sight {
    /// Those up to its own position, as a decoder's.
    Back,
    /// All, as an encoder's, or as those of a decoder that reads what an encoder made.
    Everywhere,
}

impl PartialEq for PackedLayout {
    fn eq(&self, other: &Self) -> bool {
        self.segments() == other.segments() && self.keys() == other.keys() && self.sight() == other.sight()
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
        let ranges = segments.iter().flat_map(|segment| segment.context.iter().chain([&segment.rows]));
        assert!(ranges.into_iter().all(|range| range.end <= keys), "keys lie inside the cache");
        Self::of(segments, keys, Sight::Back)
    }

    /// A batch as [`new`](Self::new) makes it, but that a segment's rows see all of each other, if they do at all.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn both_ways(segments: Vec<Segment>) -> Self {
        let causal = Self::new(segments);
        Self::of(causal.segments().to_vec(), causal.keys(), Sight::Everywhere)
    }

    /// Runs of queries, each with the range of the `keys` rows of other tokens that all of its queries see.
    ///
    /// # Panics
    /// If a run has no queries, or a range lies outside those rows.
    pub fn across(keys: usize, runs: impl IntoIterator<Item = (usize, Range<usize>)>) -> Self {
        let mut start = 0;
        let segment = |(queries, seen): (usize, Range<usize>)| {
            assert!(seen.end <= keys, "keys lie among the other tokens");
            let rows = start..start + queries;
            start += queries;
            Segment { rows, context: vec![seen], attends_itself: false }
        };
        let segments = runs.into_iter().map(segment).collect();
        Self::of(segments, keys, Sight::Everywhere)
    }

    fn of(segments: Vec<Segment>, keys: usize, sight: Sight) -> Self {
        assert!(segments.iter().all(|segment| !segment.rows.is_empty()), "a segment has at least one row");
        Self(Arc::new(Packed {
            tokens: segments.iter().map(|segment| segment.rows.len()).sum(),
            segments,
            keys,
            sight,
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

    /// Which of its keys each query sees.
    pub(super) fn sight(&self) -> Sight {
        self.0.sight
    }

    /// How far before a query the keys begin that it may see, at most, and how far behind it they end.
    pub fn reach(&self) -> [usize; 2] {
        let mut reach = [0; 2];
        for segment in self.segments() {
            let (context, own) = (segment.context_len(), segment.rows.len());
            let behind = match self.sight() {
                Sight::Everywhere if segment.attends_itself => own - 1,
                _ => 0,
            };
            reach = [reach[0].max(context + own - 1), reach[1].max(behind)];
        }
        reach
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
    fn sight_decides_how_far_queries_see() {
        let segment = |rows: Range<usize>, context| Segment { rows, context, attends_itself: true };
        let causal = PackedLayout::new(vec![segment(0..3, vec![]), segment(3..5, vec![0..3])]);
        assert_eq!(causal.reach(), [4, 0]);
        let padding = Segment { attends_itself: false, ..segment(5..7, vec![0..3]) };
        let segments = vec![segment(0..3, vec![]), segment(3..5, vec![]), padding];
        let both = PackedLayout::both_ways(segments.clone());
        assert_eq!((both.reach(), both.positions()), ([4, 2], vec![0, 1, 2, 0, 1, 3, 4]));
        assert_ne!(both, PackedLayout::new(segments));
        let across = PackedLayout::across(4, [(5, 0..3), (1, 3..4)]);
        assert_eq!((across.tokens(), across.keys()), (6, 4));
    }

    #[test]
    #[should_panic(expected = "before its segment")]
    fn looking_ahead_is_refused() {
        PackedLayout::new(vec![Segment { rows: 0..2, context: vec![0..1], attends_itself: true }]);
    }
}
