//! Which keys a tile of query rows meets.

use std::ops::Range;

use super::PackedLayout;
use super::Segment;
use super::layout::Sight;

/// Query rows of a tile.
const TILE: usize = 64;

/// The query rows of one tile and the keys it can see.
pub(super) struct Tile {
    /// Rows of the queries.
    pub(super) rows: Range<usize>,
    /// Position of the first row in its sequence.
    position: usize,
    /// Blocks of key rows; together they hold positions `oldest..oldest + keys`.
    pub(super) blocks: Vec<Range<usize>>,
    oldest: usize,
    pub(super) keys: usize,
    sight: Sight,
}

impl Tile {
    /// The tiles of a segment of `layout` whose first query row is `first`.
    pub(super) fn of(layout: &PackedLayout, segment: &Segment, first: usize, window: Option<usize>) -> Vec<Self> {
        let (sight, context) = (layout.sight(), segment.context_len());
        let tile = |start: usize| {
            let end = (start + TILE).min(segment.rows.len());
            let mut ranges = segment.context.clone();
            if segment.attends_itself {
                let seen = match sight {
                    Sight::Back => end,
                    Sight::Everywhere => segment.rows.len(),
                };
                ranges.push(segment.rows.start..segment.rows.start + seen);
            }
            let position = context + start;
            let mut oldest = window.map_or(0, |window| (position + 1).saturating_sub(window));
            let mut skip = oldest;
            let mut blocks = vec![];
            for range in ranges {
                let hidden = skip.min(range.len());
                skip -= hidden;
                if hidden < range.len() {
                    blocks.push(range.start + hidden..range.end);
                }
            }
            oldest -= skip;
            let keys = blocks.iter().map(Range::len).sum();
            Self { rows: first + start..first + end, position, blocks, oldest, keys, sight }
        };
        (0..segment.rows.len()).step_by(TILE).map(tile).collect()
    }

    /// Which of the tile's keys row `i` sees.
    pub(super) fn visible(&self, i: usize, window: Option<usize>) -> Range<usize> {
        if self.sight == Sight::Everywhere {
            return 0..self.keys;
        }
        let position = self.position + i;
        let oldest = window.map_or(0, |window| (position + 1).saturating_sub(window));
        let end = (position + 1).saturating_sub(self.oldest).min(self.keys);
        oldest.saturating_sub(self.oldest).min(end)..end
    }

    /// Where in a table of distances, in which 0 is at `zero`, that of row `i` to key `key` of the tile is.
    pub(super) fn distance(&self, i: usize, key: usize, zero: usize) -> usize {
        zero + self.oldest + key - (self.position + i)
    }
}
