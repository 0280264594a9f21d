//! Which rows a tile of queries or of keys meets on the other side, as the kernels read it.
//!
//! A tile meets a run of a list of rows. Those of queries share a list for each segment: the keys it can see, in order.
//! Those of keys share one for each stretch of key rows that the same segments see: the queries of these segments, in
//! order of the last key that each sees. So context, window and padding come down to one comparison of two numbers, and
//! what a tile meets is packed into blocks without gaps, however short the segments are.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use burn::tensor::DType;
use burn_cubecl::CubeDevice;
use burn_cubecl::tensor::CubeTensor;

use crate::attention::layout::Sight;
use crate::attention::{PackedLayout, Segment};
use crate::pieces::pieces;

/// Numbers of a tile: its first row, its rows, the first row's place, and where the rows it meets begin and end.
pub(super) const TILE_NUMBERS: usize = 5;
/// Numbers of a row that is met: the row and its place.
pub(super) const MET_NUMBERS: usize = 2;
/// A place after every other; no window is longer.
pub(super) const FAR: i32 = 1 << 29;

/// Whose rows the tiles are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// Tiles of queries meet keys. Places are positions in the sequence.
    Queries,
    /// Tiles of keys meet queries. A key's place is its row; a query's, the row of a key at its own position.
    Keys,
}

/// What a schedule depends on beside the layout.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Needs {
    pub(super) side: Side,
    pub(super) window: Option<usize>,
    /// The most rows of a tile.
    pub(super) rows: usize,
}

/// A schedule on a device, i32: every tile's numbers, then those of the rows that are met.
#[derive(Clone)]
pub(super) struct Schedule {
    pub(super) numbers: CubeTensor,
    pub(super) tiles: usize,
}

/// The schedules that a layout has had need of.
#[derive(Default)]
pub(in crate::attention) struct Schedules(Mutex<Vec<(Needs, CubeDevice, Schedule)>>);

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedules").finish_non_exhaustive()
    }
}

impl Schedules {
    /// The schedule of `layout`, beside `like`.
    pub(super) fn of(layout: &PackedLayout, needs: Needs, like: &CubeTensor) -> Schedule {
        let mut known = layout.schedules().0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(known, device, _)| *known == needs && *device == like.device);
        if let Some((_, _, schedule)) = found {
            return schedule.clone();
        }
        let lists = match needs.side {
            Side::Queries => Lists::of_queries(layout, needs.window, needs.rows),
            Side::Keys => Lists::of_keys(layout, needs.window, needs.rows),
        };
        let numbers = lists.numbers();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let schedule = Schedule {
            numbers: CubeTensor::new_contiguous(
                like.client.clone(),
                like.device.clone(),
                [numbers.len()].into(),
                like.client.create_from_slice(&bytes),
                DType::I32,
            ),
            tiles: lists.tiles.len(),
        };
        known.push((needs, like.device.clone(), schedule.clone()));
        schedule
    }
}

/// The window as the kernels take it.
pub(super) fn window(window: Option<usize>) -> i32 {
    window.map_or(FAR, |window| window.min(FAR as usize) as i32)
}

#[derive(Default)]
struct Lists {
    tiles: Vec<Tile>,
    met: Vec<Met>,
}

struct Tile {
    rows: Range<usize>,
    place: usize,
    met: Range<usize>,
}

struct Met {
    row: usize,
    place: usize,
}

impl Lists {
    fn of_queries(layout: &PackedLayout, window: Option<usize>, rows: usize) -> Self {
        let mut lists = Self::default();
        for (first, segment) in layout.queries() {
            let before = lists.met.len();
            let own = segment.attends_itself.then(|| segment.rows.clone());
            let keys = segment.context.iter().cloned().chain(own).flatten();
            lists.met.extend(keys.enumerate().map(|(place, row)| Met { row, place }));
            let keys = lists.met.len() - before;
            for tile in pieces(0..segment.rows.len(), rows) {
                let places = segment.context_len() + tile.start..segment.context_len() + tile.end;
                let end = match layout.sight() {
                    Sight::Back => places.end.min(keys),
                    Sight::Everywhere => keys,
                };
                let oldest = window.map_or(0, |window| (places.start + 1).saturating_sub(window));
                lists.tiles.push(Tile {
                    rows: first + tile.start..first + tile.end,
                    place: places.start,
                    met: before + oldest.min(end)..before + end,
                });
            }
        }
        lists
    }

    fn of_keys(layout: &PackedLayout, window: Option<usize>, rows: usize) -> Self {
        let mut lists = Self::default();
        for stretch in stretches(layout) {
            let before = lists.met.len();
            for (first, segment) in layout.queries() {
                for place in places_of_first(segment, &stretch) {
                    let queries = (0..segment.rows.len()).map(|i| Met { row: first + i, place: place + i });
                    lists.met.extend(queries.filter(|query| places(layout, &stretch, window).contains(&query.place)));
                }
            }
            let met = &mut lists.met[before..];
            met.sort_by_key(|query| query.place);
            for tile in pieces(stretch, rows) {
                let seeing = places(layout, &tile, window);
                let [start, end] =
                    [seeing.start, seeing.end].map(|place| before + met.partition_point(|query| query.place < place));
                lists.tiles.push(Tile { place: tile.start, rows: tile, met: start..end });
            }
        }
        lists
    }

    /// As the kernels read them, tiles with the most work first, so that none is left over at the end.
    fn numbers(&self) -> Vec<i32> {
        let mut tiles: Vec<&Tile> = self.tiles.iter().collect();
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile.met.len()));
        let tiles = tiles.into_iter().flat_map(|tile| -> [usize; TILE_NUMBERS] {
            [tile.rows.start, tile.rows.len(), tile.place, tile.met.start, tile.met.end]
        });
        let met = self.met.iter().flat_map(|met| -> [usize; MET_NUMBERS] { [met.row, met.place] });
        tiles.chain(met).map(|number| i32::try_from(number).expect("rows are counted in 31 bits")).collect()
    }
}

/// The places of queries that see any of these keys.
fn places(layout: &PackedLayout, keys: &Range<usize>, window: Option<usize>) -> Range<usize> {
    if layout.sight() == Sight::Everywhere {
        return 0..usize::MAX;
    }
    keys.start..window.map_or(usize::MAX, |window| (keys.end - 1).saturating_add(window))
}

/// The places of a segment's first query beside the keys of a stretch: one for every time that it has them.
fn places_of_first(segment: &Segment, stretch: &Range<usize>) -> impl Iterator<Item = usize> {
    let own = segment.attends_itself.then(|| segment.rows.clone());
    let context = segment.context_len();
    let mut position = 0;
    let ranges = segment.context.iter().cloned().chain(own);
    ranges.filter_map(move |range| {
        let first = position;
        position += range.len();
        // Position `first` is at row `range.start`, so position `context` would be at:
        let place = range.start + (context - first);
        (range.start <= stretch.start && stretch.end <= range.end).then_some(place)
    })
}

/// The key rows cut wherever a segment's rows or context begin or end.
fn stretches(layout: &PackedLayout) -> Vec<Range<usize>> {
    let ranges = layout.segments().iter().flat_map(|segment| {
        // Rows that only ask lie among those of other keys, where both ways and across nobody's are.
        let own = (segment.attends_itself || layout.sight() == Sight::Back).then_some(&segment.rows);
        segment.context.iter().chain(own)
    });
    let mut cuts: Vec<usize> = ranges.flat_map(|range| [range.start, range.end]).chain([0, layout.keys()]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|ends| ends[0]..ends[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(rows: Range<usize>, context: Vec<Range<usize>>, attends_itself: bool) -> Segment {
        Segment { rows, context, attends_itself }
    }

    /// The pairs of a query and a key that see each other, by the definition.
    fn pairs(layout: &PackedLayout, window: Option<usize>) -> Vec<(usize, usize)> {
        let mut pairs = vec![];
        for (first, segment) in layout.queries() {
            let own = segment.attends_itself.then(|| segment.rows.clone());
            let keys: Vec<usize> = segment.context.iter().cloned().chain(own).flatten().collect();
            for i in 0..segment.rows.len() {
                let position = segment.context_len() + i;
                let seen = keys.iter().enumerate().filter(|&(at, _)| {
                    layout.sight() == Sight::Everywhere
                        || at <= position && window.is_none_or(|window| position - at < window)
                });
                pairs.extend(seen.map(|(_, &key)| (first + i, key)));
            }
        }
        pairs.sort_unstable();
        pairs
    }

    /// Those that the kernels make of a schedule, and how many pairs they look at.
    fn scheduled(lists: &Lists, side: Side, sight: Sight, window: Option<usize>) -> (Vec<(usize, usize)>, usize) {
        let (mut pairs, mut looked_at) = (vec![], 0);
        let numbers = lists.numbers();
        let (tiles, met) = numbers.split_at(lists.tiles.len() * TILE_NUMBERS);
        for tile in tiles.chunks(TILE_NUMBERS) {
            for met in met.chunks(MET_NUMBERS).skip(tile[3] as usize).take((tile[4] - tile[3]) as usize) {
                for i in 0..tile[1] {
                    looked_at += 1;
                    let (own, other) = ((tile[0] + i, tile[2] + i), (met[0], met[1]));
                    let (query, key) = if side == Side::Queries { (own, other) } else { (other, own) };
                    let looks_back = key.1 <= query.1 && key.1 + super::window(window) > query.1;
                    if sight == Sight::Everywhere || looks_back {
                        pairs.push((query.0 as usize, key.0 as usize));
                    }
                }
            }
        }
        pairs.sort_unstable();
        (pairs, looked_at)
    }

    #[test]
    fn every_pair_that_sees_each_other_meets_once() {
        let layout = PackedLayout::new(vec![
            segment(0..9, vec![], true),
            segment(9..14, vec![0..9], true),
            segment(14..15, vec![0..4, 9..14], true),
            segment(15..20, vec![2..9, 2..9], true),
            segment(20..23, vec![0..9], false),
            segment(23..24, vec![], false),
        ]);
        for window in [None, Some(1), Some(3), Some(100), Some(usize::MAX)] {
            for rows in [1, 4, 64] {
                let expected = pairs(&layout, window);
                let queries = Lists::of_queries(&layout, window, rows);
                let keys = Lists::of_keys(&layout, window, rows);
                for (side, lists) in [(Side::Queries, queries), (Side::Keys, keys)] {
                    let (found, looked_at) = scheduled(&lists, side, Sight::Back, window);
                    assert_eq!(found, expected, "{side:?} {window:?} {rows}");
                    let covered: usize = lists.tiles.iter().map(|tile| tile.rows.len()).sum();
                    assert_eq!(covered, 24, "every row is in a tile");
                    assert!(rows > 1 || looked_at == expected.len(), "tiles of one row meet what they see");
                }
            }
        }
    }

    #[test]
    fn cached_keys_are_met_where_they_lie() {
        let layout = PackedLayout::in_cache(20, vec![segment(14..15, vec![10..14], true), segment(3..4, vec![], true)]);
        let lists = Lists::of_queries(&layout, Some(3), 16);
        assert_eq!(scheduled(&lists, Side::Queries, Sight::Back, Some(3)).0, [(0, 12), (0, 13), (0, 14), (1, 3)]);
    }

    #[test]
    fn both_ways_and_across_every_pair_meets_once() {
        let both_ways = PackedLayout::both_ways(vec![
            segment(0..9, vec![], true),
            segment(9..10, vec![], true),
            segment(10..13, vec![0..9], false),
        ]);
        let across = PackedLayout::across(11, [(3, 0..7), (12, 7..11), (2, 0..7)]);
        for layout in [both_ways, across] {
            for rows in [1, 4, 64] {
                let expected = pairs(&layout, None);
                let queries = Lists::of_queries(&layout, None, rows);
                let keys = Lists::of_keys(&layout, None, rows);
                for (side, lists) in [(Side::Queries, queries), (Side::Keys, keys)] {
                    let (found, looked_at) = scheduled(&lists, side, Sight::Everywhere, None);
                    assert_eq!(found, expected, "{side:?} {rows}");
                    assert_eq!(looked_at, expected.len(), "nobody meets in vain");
                }
            }
        }
    }
}
