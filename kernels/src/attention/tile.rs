//! Which keys a tile of query rows meets.

use std::ops::Range;

use super::Segment;

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
}

impl Tile {
    /// The tiles of a segment whose first query row is `first`.
    pub(super) fn of(segment: &Segment, first: usize, window: Option<usize>) -> Vec<Self> {
        let context = segment.context_len();
        let tile = |start: usize| {
            let end = (start + TILE).min(segment.rows.len());
            let mut ranges = segment.context.clone();
            if segment.attends_itself {
                ranges.push(segment.rows.start..segment.rows.start + end);
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
            Self { rows: first + start..first + end, position, blocks, oldest, keys }
        };
        (0..segment.rows.len()).step_by(TILE).map(tile).collect()
    }

    /// Which of the tile's keys row `i` sees.
    pub(super) fn visible(&self, i: usize, window: Option<usize>) -> Range<usize> {
        let position = self.position + i;
        let oldest = window.map_or(0, |window| (position + 1).saturating_sub(window));
        let end = (position + 1).saturating_sub(self.oldest).min(self.keys);
        oldest.saturating_sub(self.oldest).min(end)..end
    }
}
