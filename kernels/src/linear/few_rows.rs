//! The product for a handful of rows, as generating tokens makes it: every weight is read once, so the time is that of
//! reading the matrix, and a general product, which first copies it into blocks, would read and write it again.
//!
//! A row's result is the same number whatever rows stand beside it: an answer does not depend on its batch.

use std::ops::Range;

use burn::tensor::DType;
use half::bf16;
use multiversion::multiversion;
use rayon::prelude::*;

use super::native::Rows;

/// Rows of `x` that are met at once, each with running sums of its own.
const TOGETHER: usize = 4;

/// Running sums of a dot product: the lanes of a vector register.
const LANES: usize = 16;

/// Weights that one task reads: enough to pay for it.
const TASK: usize = 1 << 16;

/// What a weight may be stored as.
pub(super) trait Weight: Copy + Sync {
    /// Itself in f32.
    fn wide(self) -> f32;
}

impl Weight for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

impl Weight for bf16 {
    /// The upper half of an f32. Unlike the conversion of `half` it lets a signalling NaN be one, and vectorises.
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// `x · weightᵀ`, row-major: `x` `[rows, inputs]`, `weight` `[outputs, inputs]`.
pub(super) fn product<W: Weight>(x: &[f32], weight: &[W], inputs: usize) -> Vec<f32> {
    let outputs = weight.len().checked_div(inputs).unwrap_or(0);
    each_task(x, [outputs, inputs], |columns, out| {
        task(x, &weight[columns.start * inputs..columns.end * inputs], inputs, out);
    })
}

/// The same with a weight that is read into f32.
pub(crate) fn product_of_rows(x: &[f32], weight: &impl Rows) -> Vec<f32> {
    let [outputs, inputs] = weight.dims();
    each_task(x, [outputs, inputs], |columns, out| {
        let mut wide = vec![0.0; columns.len() * inputs];
        for (to, row) in wide.chunks_exact_mut(inputs).zip(columns) {
            weight.read(row, DType::F32, to);
        }
        task(x, &wide, inputs, out);
    })
}

/// Some columns of the product at a time, which `of` writes as `[columns, rows]`.
fn each_task(x: &[f32], [outputs, inputs]: [usize; 2], of: impl Fn(Range<usize>, &mut [f32]) + Sync) -> Vec<f32> {
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    let mut columns = vec![0.0; rows * outputs];
    if columns.is_empty() {
        return columns;
    }
    let at_once = (TASK / inputs).max(1);
    columns.par_chunks_mut(at_once * rows).enumerate().for_each(|(number, out)| {
        let first = number * at_once;
        of(first..first + out.len() / rows, out);
    });
    if rows == 1 {
        return columns;
    }
    let mut out = vec![0.0; rows * outputs];
    for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
        for (out, column) in out.iter_mut().zip(columns.chunks_exact(rows)) {
            *out = column[row];
        }
    }
    out
}

/// `out` `[outputs, rows]`
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn task<W: Weight>(x: &[f32], weight: &[W], inputs: usize, out: &mut [f32]) {
    let rows = x.len() / inputs;
    for (weight, out) in weight.chunks_exact(inputs).zip(out.chunks_exact_mut(rows)) {
        let mut xs = x.chunks_exact(TOGETHER * inputs);
        let mut outs = out.chunks_exact_mut(TOGETHER);
        for (x, out) in (&mut xs).zip(&mut outs) {
            out.copy_from_slice(&dots::<TOGETHER, W>(x, weight));
        }
        let rest = xs.remainder().chunks_exact(inputs);
        for (x, out) in rest.zip(outs.into_remainder()) {
            [*out] = dots::<1, W>(x, weight);
        }
    }
}

/// The products of `R` rows with one row of weights.
#[inline(always)]
fn dots<const R: usize, W: Weight>(x: &[f32], weight: &[W]) -> [f32; R] {
    let inputs = weight.len();
    let whole = inputs - inputs % LANES;
    let mut sums = [[0.0f32; LANES]; R];
    for start in (0..whole).step_by(LANES) {
        let weight = &weight[start..start + LANES];
        let mut wide = [0.0f32; LANES];
        for lane in 0..LANES {
            wide[lane] = weight[lane].wide();
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let x = &x[row * inputs + start..row * inputs + start + LANES];
            for lane in 0..LANES {
                sums[lane] = x[lane].mul_add(wide[lane], sums[lane]);
            }
        }
    }
    let mut row = 0;
    sums.map(|sums| {
        let tail = x[row * inputs + whole..(row + 1) * inputs].iter();
        row += 1;
        let tail: f32 = tail.zip(&weight[whole..]).map(|(x, w)| x * w.wide()).sum();
        sums.iter().sum::<f32>() + tail
    })
}
