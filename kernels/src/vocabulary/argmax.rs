//! The most probable token of each row of logits.

use burn::tensor::{Int, Tensor};

use crate::device::on_cube;

/// The place of each row's largest number, `[rows, 1]`, of `[rows, columns]`; the first of equals.
///
/// Burn gives a row to one thread of a GPU, which reads it from one end to the other: 150,000 numbers for a vocabulary, while
/// the rest of the device waits. Here a row is read in pieces first where it can be cut evenly.
pub fn argmax(logits: Tensor<2>) -> Tensor<2, Int> {
    let [rows, columns] = logits.dims();
    let piece = if on_cube(&logits) { piece(columns) } else { 1 };
    if piece == 1 || rows == 0 {
        return logits.argmax(1);
    }
    let pieces: Tensor<3> = logits.reshape([rows, columns / piece, piece]);
    let places = pieces.clone().argmax(2);
    let largest: Tensor<2> = pieces.gather(2, places.clone()).squeeze_dim(2);
    let of = largest.argmax(1);
    let places: Tensor<2, Int> = places.squeeze_dim(2);
    of.clone() * piece as i64 + places.gather(1, of)
}

/// The largest divisor of `columns` up to its square root: about as many numbers in a piece as there are pieces.
fn piece(columns: usize) -> usize {
    (1..=columns.isqrt()).rev().find(|piece| columns.is_multiple_of(*piece)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{everywhere, random};

    #[test]
    fn of_rows_that_can_be_cut_and_of_others() {
        for case in everywhere() {
            for columns in [1, 7, 12, 97, 1_536] {
                let logits = random(&[5, columns], columns as u64).on(&case.device).d2().cast(case.dtype);
                let numbers = logits.clone().into_data().convert_dtype(DType::F64).try_to_vec::<f64>().unwrap();
                let places = argmax(logits).into_data().convert::<i64>().try_to_vec::<i64>().unwrap();
                assert_eq!(places.len(), 5);
                for (row, place) in numbers.chunks(columns).zip(places) {
                    let first = (0..columns).reduce(|best, one| if row[one] > row[best] { one } else { best }).unwrap();
                    assert_eq!(place, first as i64, "{case:?}: {columns} columns");
                }
            }
        }
    }

    #[test]
    fn pieces_are_even_and_about_as_long_as_there_are() {
        let by_hand = [(0, 1), (1, 1), (2, 1), (97, 1), (12, 3), (49_152, 192), (151_936, 128), (262_144, 512)];
        assert_eq!(by_hand.map(|(columns, _)| (columns, piece(columns))), by_hand);
    }
}
