//! Slices on their way between ranks, a piece at a time: as large as a parameter is, its copies for the way are not.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_collective::Collective;
use mpo_kernels::allocator::lasting;
use mpo_models::{TokenGradients, add_token_gradients};

use crate::reference::values;

/// Numbers on the way at a time, of all ranks together.
const AT_A_TIME: usize = 1 << 24;

/// What this rank has of the sum of everybody's `values`.
pub(crate) fn reduced(ranks: &dyn Collective, values: &[f32], slices: &[Range<usize>]) -> Vec<f32> {
    let mut own = lasting(slices[ranks.rank()].len());
    for pieces in pieces(slices) {
        let lengths: Vec<usize> = pieces.iter().map(Range::len).collect();
        let mut all = Vec::with_capacity(lengths.iter().sum());
        pieces.into_iter().for_each(|piece| all.extend_from_slice(&values[piece]));
        own.extend(ranks.reduce_scatter(&all, &lengths));
    }
    own
}

/// All of what everybody has a slice of.
pub(crate) fn gathered(ranks: &dyn Collective, own: &[f32], slices: &[Range<usize>]) -> Vec<f32> {
    assembled(ranks, own, slices, |own, lengths| ranks.all_gather(own, lengths))
}

/// The same for the first rank; zeros for the others.
pub(crate) fn gathered_by_first(ranks: &dyn Collective, own: &[f32], slices: &[Range<usize>]) -> Vec<f32> {
    assembled(ranks, own, slices, |own, lengths| ranks.gather(own, lengths))
}

fn assembled(
    ranks: &dyn Collective,
    own: &[f32],
    slices: &[Range<usize>],
    gather: impl Fn(&[f32], &[usize]) -> Vec<f32>,
) -> Vec<f32> {
    let elements = slices.iter().map(|slice| slice.end).max().unwrap_or(0);
    let mut whole = lasting(elements);
    whole.resize(elements, 0.0);
    let start = slices[ranks.rank()].start;
    for pieces in pieces(slices) {
        let lengths: Vec<usize> = pieces.iter().map(Range::len).collect();
        let piece = &pieces[ranks.rank()];
        let all = gather(&own[piece.start - start..piece.end - start], &lengths);
        let mut rest = &all[..];
        for piece in pieces {
            // Nothing comes to a rank that only gives.
            if let Some((values, after)) = rest.split_at_checked(piece.len()) {
                whole[piece].copy_from_slice(values);
                rest = after;
            }
        }
    }
    whole
}

/// The slices in pieces: one of each rank's at a time.
fn pieces(slices: &[Range<usize>]) -> impl Iterator<Item = Vec<Range<usize>>> {
    let step = (AT_A_TIME / slices.len()).max(1);
    let longest = slices.iter().map(Range::len).max().unwrap_or(0);
    (0..longest).step_by(step).map(move |from| {
        let piece = |slice: &Range<usize>| {
            let start = (slice.start + from).min(slice.end);
            start..(start + step).min(slice.end)
        };
        slices.iter().map(piece).collect()
    })
}

/// What comes of tokens on all ranks, in their order: that of the rows of a batch.
pub(crate) fn tokens_of_all(ranks: &dyn Collective, own: TokenGradients, device: &Device) -> TokenGradients {
    // Ids of every pass, each after how many there are; and the width of what comes of them, if anything does.
    let numbers = own.iter().flat_map(|(ids, _)| std::iter::once(ids.len() as u32).chain(ids.iter().copied()));
    let width = own.first().map_or(0, |(_, gradient)| gradient.dims()[1] as u32);
    let said: Vec<u8> = std::iter::once(width).chain(numbers).flat_map(u32::to_le_bytes).collect();
    let gradients: Vec<f32> = own.into_iter().flat_map(|(_, gradient)| values(flat(gradient))).collect();
    let (mut passes, mut slices, mut width) = (vec![], vec![], 0);
    for said in ranks.share(&said) {
        let numbers: Vec<u32> = said.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let [of_rank, rest @ ..] = &numbers[..] else { continue };
        width = width.max(*of_rank as usize);
        let (before, mut rest) = (passes.len(), rest);
        while let [count, ids @ ..] = rest {
            let (ids, after) = ids.split_at(*count as usize);
            passes.push(ids.to_vec());
            rest = after;
        }
        let tokens: usize = passes[before..].iter().map(Vec::len).sum();
        let start = slices.last().map_or(0, |slice: &Range<usize>| slice.end);
        slices.push(start..start + tokens * width);
    }
    let all = gathered(ranks, &gradients, &slices);
    let mut rest = &all[..];
    let mut with_gradient = |ids: Vec<u32>| {
        let (own, after) = rest.split_at(ids.len() * width);
        rest = after;
        let own = TensorData::new(own.to_vec(), [ids.len(), width]);
        (ids, Tensor::from_data(own, (device, DType::F32)))
    };
    passes.into_iter().map(&mut with_gradient).collect()
}

/// A slice of the embedding's gradient, of which `known` has what does not come of tokens; none if nothing comes to it.
pub(crate) fn with_tokens(
    known: Option<Tensor<1>>,
    slice: &Range<usize>,
    tokens: &[(Vec<u32>, Tensor<2>)],
) -> Option<Tensor<1>> {
    let Some((_, gradient)) = tokens.first() else {
        return known;
    };
    let [_, width] = gradient.dims();
    // A slice begins and ends within a row.
    let rows = slice.start / width..slice.end.div_ceil(width);
    let own = slice.start - rows.start * width..slice.end - rows.start * width;
    let known = known.map(|known| {
        let place = (&known.device(), known.dtype());
        let zeros = |count: usize| (count > 0).then(|| Tensor::zeros([count], place));
        let parts = [zeros(own.start), Some(known), zeros(rows.len() * width - own.end)];
        Tensor::cat(parts.into_iter().flatten().collect(), 0).reshape([rows.len(), width])
    });
    add_token_gradients(known, rows, tokens).map(|sum| flat(sum).slice([own]))
}

fn flat(tensor: Tensor<2>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.reshape([elements])
}

#[cfg(test)]
mod tests {
    use mpo_collective::among_threads;

    use super::*;

    /// Slices of a vector, the second rank's behind the third's.
    const SLICES: [Range<usize>; 3] = [0..3, 5..9, 3..5];

    #[test]
    fn a_slice_is_the_sum_of_everybodys_and_all_is_put_together_again() {
        let whole: Vec<f32> = (0..9).map(|at| (at * 100 * 3 + 3) as f32).collect();
        among_threads(3, |ranks| {
            let values: Vec<f32> = (0..9).map(|at| (at * 100 + ranks.rank()) as f32).collect();
            let own = reduced(ranks, &values, &SLICES);
            assert_eq!(own, whole[SLICES[ranks.rank()].clone()]);
            assert_eq!(gathered(ranks, &own, &SLICES), whole);
            let first = gathered_by_first(ranks, &own, &SLICES);
            assert_eq!(first, if ranks.is_first() { whole.clone() } else { vec![0.0; 9] });
        });
    }

    #[test]
    fn pieces_are_all_of_every_slice() {
        // One rank with more than goes at a time, and one with nothing.
        let slices = [7..7 + AT_A_TIME, 0..7, 0..0];
        let mut ends = slices.clone().map(|slice| slice.start);
        for pieces in pieces(&slices) {
            assert!(pieces.iter().map(Range::len).sum::<usize>() <= AT_A_TIME);
            for (piece, end) in pieces.iter().zip(&mut ends) {
                assert!(piece.is_empty() || piece.start == *end);
                *end = piece.end;
            }
        }
        assert_eq!(ends, slices.map(|slice| slice.end));
    }

    #[test]
    fn tokens_of_all_add_up_in_every_slice() {
        const WIDTH: usize = 2;
        let (device, of) = (Device::flex(), [vec![vec![0, 2]], vec![], vec![vec![2], vec![1]]]);
        let gradient = |ids: &[u32]| {
            let values: Vec<f32> = ids.iter().flat_map(|id| [*id as f32 + 1.0, 10.0]).collect();
            Tensor::<2>::from_data(TensorData::new(values, [ids.len(), WIDTH]), &device)
        };
        among_threads(3, |ranks| {
            let own = of[ranks.rank()].iter().map(|ids| (ids.clone(), gradient(ids))).collect();
            let all = tokens_of_all(ranks, own, &device);
            assert_eq!(all.iter().map(|(ids, _)| &**ids).collect::<Vec<_>>(), [&[0, 2][..], &[2], &[1]]);
            // Rows 0 to 2: 1, 10; 2, 10; 6, 20. From within the first row to within the last.
            let expected = [10.0, 2.0, 10.0, 6.0];
            let sum = with_tokens(None, &(1..5), &all).unwrap();
            assert_eq!(values(sum), expected);
            let known = Tensor::<1>::from_data([0.5_f32, 0.25, 0.0, 1.0], &device);
            let sum = with_tokens(Some(known), &(1..5), &all).unwrap();
            assert_eq!(values(sum), [10.5, 2.25, 10.0, 7.0]);
        });
    }
}
