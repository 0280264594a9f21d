//! Ranges cut up.

use std::ops::Range;

/// Pieces of this length, the last of which may be shorter.
pub(crate) fn pieces(range: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(length).map(move |start| start..(start + length).min(range.end))
}
