//! Who does which part of what all have to do.

use std::ops::Range;

use mpo_collective::Collective;

/// Shares of items that follow each other, one for each rank. The largest is as small as it can be, and none is empty while
/// there are as many items.
pub(crate) fn shares(sizes: &[usize], ranks: usize) -> Vec<Range<usize>> {
    let bound = bound(sizes, ranks);
    let mut start = 0;
    let share = |rank: usize| {
        let (from, later) = (start, ranks - rank - 1);
        let mut sum = 0;
        let mut end = from;
        while let Some(size) = sizes.get(end) {
            sum += size;
            // One for each rank to come.
            if end > from && (sum > bound || sizes.len() - end <= later) {
                break;
            }
            end += 1;
        }
        start = end;
        from..end
    };
    (0..ranks).map(share).collect()
}

/// The least that a share may have at most, so that there are no more shares than ranks.
fn bound(sizes: &[usize], ranks: usize) -> usize {
    let count = |bound: usize| {
        let (mut count, mut sum) = (1, 0);
        for size in sizes {
            if sum + size > bound {
                (count, sum) = (count + 1, 0);
            }
            sum += size;
        }
        count
    };
    let (mut low, mut high) = (sizes.iter().copied().max().unwrap_or(0), sizes.iter().sum());
    while low < high {
        let middle = low.midpoint(high);
        if count(middle) <= ranks {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// This rank's share of items of these sizes.
pub(crate) fn own_share<'i, T>(ranks: &dyn Collective, items: &'i [T], size: impl Fn(&T) -> usize) -> &'i [T] {
    if !ranks.is_many() {
        return items;
    }
    let sizes: Vec<usize> = items.iter().map(size).collect();
    &items[shares(&sizes, ranks.size())[ranks.rank()].clone()]
}

/// The numbers that ranks made of their shares, in the order of what they were made of.
pub(crate) fn merged(ranks: &dyn Collective, own: Vec<f64>) -> Vec<f64> {
    if !ranks.is_many() {
        return own;
    }
    let bytes: Vec<u8> = own.into_iter().flat_map(f64::to_le_bytes).collect();
    let number = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
    ranks.share(&bytes).iter().flat_map(|bytes| bytes.as_chunks().0).map(number).collect()
}

#[cfg(test)]
mod tests {
    use mpo_collective::among_threads;

    use super::*;

    #[test]
    fn shares_are_even_and_follow_each_other() {
        for (sizes, ranks, expected) in [
            (vec![4, 4, 4, 4], 2, vec![0..2, 2..4]),
            (vec![100, 10, 10], 3, vec![0..1, 1..2, 2..3]),
            (vec![10, 10, 100], 2, vec![0..2, 2..3]),
            // Nine and nine would be even, but items stay in their order.
            (vec![5, 2, 7, 4], 2, vec![0..2, 2..4]),
            (vec![7, 7], 3, vec![0..1, 1..2, 2..2]),
            (vec![], 2, vec![0..0, 0..0]),
            (vec![3, 3, 3], 1, vec![0..3]),
        ] {
            assert_eq!(shares(&sizes, ranks), expected, "{sizes:?}");
        }
    }

    /// Against all ways of cutting.
    #[test]
    fn no_cut_has_a_smaller_largest_share() {
        let sizes: Vec<usize> = (0..9_usize).map(|at| (at * at * 7 + 3) % 23 + 1).collect();
        let sum = |range: &Range<usize>| sizes[range.clone()].iter().sum::<usize>();
        let all = sizes.len();
        let mut best = usize::MAX;
        for first in 1..all - 1 {
            for second in first + 1..all {
                let cut = [0..first, first..second, second..all];
                best = best.min(cut.iter().map(&sum).max().unwrap());
            }
        }
        assert_eq!(shares(&sizes, 3).iter().map(sum).max(), Some(best));
    }

    #[test]
    fn what_is_made_of_shares_is_in_order() {
        let items = [5, 1, 1, 9, 2];
        let merged = among_threads(3, |ranks| {
            let own = own_share(ranks, &items, |item| *item);
            merged(ranks, own.iter().map(|item| *item as f64).collect())
        });
        assert_eq!(merged, [(); 3].map(|()| vec![5.0, 1.0, 1.0, 9.0, 2.0]));
    }
}
