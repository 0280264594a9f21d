use std::io::{self, Write};

use half::bf16;

use super::multiplies_bf16;
use crate::cpu::{Matrix, MatrixMut, Numbers, Threads};
use crate::testing::random;

/// Rows, columns and inner dimension: less than a tile, tiles and a rest, an odd inner dimension, more than is met at once.
const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (1, 48, 2),
    (8, 48, 16),
    (3, 50, 7),
    (9, 97, 513),
    (64, 40, 1),
    (65, 400, 33),
    (130, 31, 1100),
    (600, 20, 30),
];

fn numbers(length: usize, seed: u64) -> Vec<f32> {
    random(&[length], seed).values().into_iter().map(|x| x as f32).collect()
}

fn rounded(numbers: &[f32]) -> Vec<bf16> {
    numbers.iter().map(|&x| bf16::from_f32(x)).collect()
}

/// A factor as it is stored, in both orders and types.
fn stored<'a>(wide: &'a [f32], narrow: &'a [bf16]) -> [Numbers<'a>; 2] {
    [wide.into(), narrow.into()]
}

fn to_be_tested() -> bool {
    if !multiplies_bf16() {
        // Not by `eprintln`, which is shown of failed tests only.
        writeln!(io::stderr(), "not tested: products of bf16, which this CPU lacks").unwrap();
    }
    multiplies_bf16()
}

#[test]
fn products_in_every_order_and_type() {
    if !to_be_tested() {
        return;
    }
    for (rows, columns, inner) in SHAPES {
        let (left, right) = (numbers(rows * inner, 1), numbers(inner * columns, 2));
        let transposed = |from: &[f32], rows: usize, columns: usize| -> Vec<f32> {
            (0..from.len()).map(|i| from[i % rows * columns + i / rows]).collect()
        };
        let (left_t, right_t) = (transposed(&left, rows, inner), transposed(&right, inner, columns));
        let narrow = [&left, &right, &left_t, &right_t].map(|numbers| rounded(numbers));
        let exact = |row: usize, column: usize| -> f64 {
            let product = |i: usize| narrow[0][row * inner + i].to_f64() * narrow[1][i * columns + column].to_f64();
            (0..inner).map(product).sum()
        };
        for threads in [Threads::One, Threads::All] {
            for case in 0..16 {
                let [l, r] = [case & 1, case >> 1 & 1];
                if l + r == 0 {
                    continue;
                }
                let lhs = if case & 4 == 0 {
                    Matrix::new(stored(&left, &narrow[0])[l], rows, inner)
                } else {
                    Matrix::new(stored(&left_t, &narrow[2])[l], inner, rows).transposed()
                };
                let rhs = if case & 8 == 0 {
                    Matrix::new(stored(&right, &narrow[1])[r], inner, columns)
                } else {
                    Matrix::new(stored(&right_t, &narrow[3])[r], columns, inner).transposed()
                };
                // Inside a wider matrix, whose other columns stay.
                let stride = columns + 3;
                let mut out = vec![7.0; rows * stride];
                MatrixMut::strided(&mut out, rows, columns, stride).assign(2.0, lhs, rhs, threads);
                MatrixMut::strided(&mut out, rows, columns, stride).add(-0.5, lhs, rhs, threads);
                for (i, &ours) in out.iter().enumerate() {
                    let (row, column) = (i / stride, i % stride);
                    let exact = if column < columns { 1.5 * exact(row, column) } else { 7.0 };
                    let bound = 1e-6 * (1.0 + inner as f64);
                    assert!(
                        (f64::from(ours) - exact).abs() <= bound,
                        "{rows} {columns} {inner}, {case}, {row} {column}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    if !to_be_tested() {
        return;
    }
    let (rows, columns, inner) = (70, 100, 700);
    let (left, right) = (rounded(&numbers(rows * inner, 1)), numbers(inner * columns, 2));
    let product = |first: usize, count: usize| {
        let mut out = vec![0.0; count * columns];
        let lhs = Matrix::new(&left[first * inner..], count, inner);
        MatrixMut::new(&mut out, count, columns).assign(
            1.0,
            lhs,
            Matrix::new(&right[..], inner, columns),
            Threads::All,
        );
        out
    };
    let all = product(0, rows);
    for (first, count) in [(0, 1), (69, 1), (5, 9), (13, 57)] {
        assert_eq!(product(first, count), all[first * columns..(first + count) * columns]);
    }
}

#[test]
fn nothing_and_what_no_number_is() {
    if !to_be_tested() {
        return;
    }
    let mut out = [3.0; 4];
    let none: &[bf16] = &[];
    MatrixMut::new(&mut out, 2, 2).add(1.0, Matrix::new(none, 2, 0), Matrix::new(none, 0, 2), Threads::One);
    assert_eq!(out, [3.0; 4]);
    MatrixMut::new(&mut out, 2, 2).assign(1.0, Matrix::new(none, 2, 0), Matrix::new(none, 0, 2), Threads::One);
    assert_eq!(out, [0.0; 4]);
    let lhs = [1.0, f32::NAN, 1.0, f32::INFINITY].map(bf16::from_f32);
    let one = [1.0f32];
    let mut out = [0.0; 4];
    MatrixMut::new(&mut out, 4, 1).assign(1.0, Matrix::new(&lhs[..], 4, 1), Matrix::new(&one[..], 1, 1), Threads::One);
    assert_eq!((out[0], out[1].is_nan(), out[2], out[3]), (1.0, true, 1.0, f32::INFINITY));
}
