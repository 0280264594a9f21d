//! Which numbers of each parameter are whose.

use std::collections::HashMap;
use std::ops::Range;

use mpo_models::CausalLm;

/// Numbers that stay together: those of which squares are summed in one go, so that the norm of a gradient in slices is that of
/// the whole to the bit.
const UNIT: usize = 1024;

/// For each parameter that is trained, what each rank has of it. Every parameter is dealt out by itself, so that a rank has its
/// share of each part of the model, whatever part is at work.
#[derive(Debug)]
pub(crate) struct Slices {
    of: HashMap<String, Vec<Range<usize>>>,
}

impl Slices {
    pub(crate) fn new(model: &CausalLm, ranks: usize) -> Self {
        let mut of = HashMap::new();
        model.each_parameter(|parameter| {
            if parameter.is_trained {
                let elements = parameter.shape.iter().product();
                of.insert(parameter.name, deal(elements, ranks, of.len()));
            }
        });
        Self { of }
    }

    /// The slices of a parameter, one for each rank; none if it is frozen.
    pub(crate) fn of(&self, name: &str) -> Option<&[Range<usize>]> {
        self.of.get(name).map(Vec::as_slice)
    }
}

/// Blocks of whole units, dealt out from another rank for each turn: what cannot be divided does not all come to one.
fn deal(elements: usize, ranks: usize, turn: usize) -> Vec<Range<usize>> {
    let units = elements.div_ceil(UNIT);
    let end = |block: usize| (units * block / ranks * UNIT).min(elements);
    let block = |rank: usize| (rank + turn) % ranks;
    (0..ranks).map(|rank| end(block(rank))..end(block(rank) + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_somebodys_and_shares_are_even() {
        for elements in [1, 1023, 1024, 1025, 10_000, 1 << 20] {
            for ranks in 1..6 {
                for turn in 0..3 {
                    let mut slices = deal(elements, ranks, turn);
                    let even = elements / ranks;
                    assert!(slices.iter().all(|slice| slice.len().abs_diff(even) <= UNIT), "{slices:?}");
                    slices.sort_by_key(|slice| (slice.start, slice.end));
                    assert!(slices.iter().all(|slice| slice.start.is_multiple_of(UNIT) || slice.is_empty()));
                    let all: Vec<usize> = slices.into_iter().flatten().collect();
                    assert_eq!(all, (0..elements).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn small_ones_come_to_everybody() {
        let owners = (0..4).map(|turn| deal(10, 2, turn).iter().position(|slice| !slice.is_empty()).unwrap());
        assert_eq!(owners.collect::<Vec<_>>(), [1, 0, 1, 0]);
    }
}
