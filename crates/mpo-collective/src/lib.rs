//! What processes that train one model together say to each other: one trait for all ways of saying it.
//!
//! Each process is a rank. All ranks make the same calls in the same order, and a call returns when what it gives is there.
//! Sums are made in the order of ranks, so they are the same bits on every rank and in every run.
//!
//! ```
//! use mpo_collective::{Collective, among_threads};
//!
//! let sums = among_threads(3, |ranks| {
//!     let mut sum = [ranks.rank() as f64];
//!     ranks.sum(&mut sum);
//!     sum[0]
//! });
//! assert_eq!(sums, [3.0; 3]);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alone;
mod sent;
mod threads;

use std::fmt::Debug;

pub use alone::Alone;
pub use sent::Sent;
pub use threads::among_threads;

/// The sum of as many parts as there are ranks, `own` numbers each, in their order.
pub fn added_up(mut parts: Vec<f32>, own: usize) -> Vec<f32> {
    let (sum, others) = parts.split_at_mut(own);
    for values in others.chunks_exact(own.max(1)) {
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    parts.truncate(own);
    parts
}

/// The ranks that train one model, as one of them sees them.
pub trait Collective: Debug {
    /// Which one this is, from 0 on. The first one has the run's folder and speaks for all.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Bytes that this rank has given to others: what a method hands over, once for each rank that it is for, whatever a
    /// transport makes of it.
    fn sent(&self) -> u64;

    /// Returns when all ranks have come here.
    fn barrier(&self);

    /// Gives everybody the bytes of the first rank.
    fn broadcast(&self, bytes: &mut Vec<u8>);

    /// Everybody's bytes, by rank; meant for little.
    fn share(&self, own: &[u8]) -> Vec<Vec<u8>>;

    /// The sum over ranks of the part of `values` that is this rank's: `lengths` are those of the parts, one behind the other.
    fn reduce_scatter(&self, values: &[f32], lengths: &[usize]) -> Vec<f32>;

    /// Everybody's numbers, one rank's behind the other's; each has as many as `lengths` says.
    fn all_gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32>;

    /// The same on the first rank; nothing on the others.
    fn gather(&self, own: &[f32], lengths: &[usize]) -> Vec<f32>;

    /// Sums a few numbers over ranks.
    fn sum(&self, numbers: &mut [f64]) {
        let all = self.share(bytemuck::cast_slice(numbers));
        numbers.fill(0.0);
        for bytes in all {
            for (sum, number) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                *sum += f64::from_ne_bytes(*number);
            }
        }
    }

    /// Whether it is so on any rank.
    fn any(&self, is_so: bool) -> bool {
        let mut count = [f64::from(u8::from(is_so))];
        self.sum(&mut count);
        count[0] > 0.0
    }

    /// Whether this is the rank that speaks for all.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether there are others.
    fn is_many(&self) -> bool {
        self.size() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_added_up_in_their_order() {
        // In another order the large numbers would swallow the small one.
        assert_eq!(added_up(vec![1e8, 1.0, -1e8, 2.0, 1.0, 4.0], 2), [1.0, 7.0]);
        assert_eq!(added_up(vec![3.0, 4.0], 2), [3.0, 4.0]);
        assert_eq!(added_up(vec![], 0), []);
    }
}
