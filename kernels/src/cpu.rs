//! What the native CPU kernels share: f32 views of flex tensors, matrix products and elementary functions that the
//! compiler can vectorise.

use std::borrow::Cow;

use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use half::slice::HalfFloatSliceExt;

/// How many rows one task takes: enough work to pay for scheduling it, and a fixed number, so that sums over tasks
/// come out the same whatever the number of threads.
pub(crate) const ROWS_PER_TASK: usize = 32;

/// The tensor with its elements in row-major order (a copy only if they are not).
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The elements of a contiguous f32 tensor.
pub(crate) fn floats(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("native kernels are given contiguous f32 tensors")
}

/// Float types our kernels read and write; they compute in f32.
pub(crate) trait Element: burn::tensor::Element + bytemuck::Pod + Default {
    /// f32 of every element.
    fn widen(from: &[Self], to: &mut [f32]);

    /// Every number rounded to this type.
    fn narrow(from: &[f32], to: &mut [Self]);

    /// The elements as f32: themselves, or widened into `scratch`.
    fn widened<'a>(from: &'a [Self], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        scratch.resize(from.len(), 0.0);
        Self::widen(from, scratch);
        scratch
    }

    /// All elements as f32, kept for long.
    fn wide(from: &[Self]) -> Cow<'_, [f32]> {
        let mut wide = vec![0.0; from.len()];
        Self::widen(from, &mut wide);
        wide.into()
    }

    /// Lets `compute` fill f32 zeros, then has them in `to`, which holds zeros.
    fn fill(to: &mut [Self], compute: impl FnOnce(&mut [f32])) {
        let mut wide = vec![0.0; to.len()];
        compute(&mut wide);
        Self::narrow(&wide, to);
    }

    /// The elements of a contiguous tensor of this type.
    fn slice(tensor: &FlexTensor) -> &[Self] {
        tensor.as_slice::<Self>().expect("native kernels are given contiguous tensors of the type they ask for")
    }
}

impl Element for f32 {
    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn widened<'a>(from: &'a [Self], _: &'a mut Vec<f32>) -> &'a [f32] {
        from
    }

    fn wide(from: &[Self]) -> Cow<'_, [f32]> {
        from.into()
    }

    fn fill(to: &mut [Self], compute: impl FnOnce(&mut [f32])) {
        compute(to);
    }
}

impl Element for half::f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

impl Element for half::bf16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

/// A tensor whose memory holds its elements and nothing else: what may be written in place.
pub(crate) fn own_memory(tensor: FlexTensor) -> FlexTensor {
    let bytes = tensor.layout().num_elements() * tensor.dtype().size();
    let whole = tensor.is_contiguous() && tensor.layout().start_offset() == 0 && tensor.bytes().len() == bytes;
    if whole { tensor } else { FlexTensor::from_data(tensor.into_data()) }
}

/// The elements of an integer tensor.
pub(crate) fn integers(tensor: &FlexTensor) -> Vec<i64> {
    let tensor = tensor.to_contiguous();
    match tensor.dtype() {
        DType::I32 => tensor.as_slice::<i32>().map(|s| s.iter().map(|&i| i64::from(i)).collect()),
        DType::U32 => tensor.as_slice::<u32>().map(|s| s.iter().map(|&i| i64::from(i)).collect()),
        DType::I64 => tensor.as_slice::<i64>().map(<[i64]>::to_vec),
        other => panic!("targets must be i32, u32 or i64, got {other:?}"),
    }
    .expect("a contiguous tensor is one slice")
}

/// A tensor owning `values`.
pub(crate) fn tensor<E: Element, const D: usize>(values: Vec<E>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A matrix inside a slice: `rows × cols`, element (i, j) at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows `row_stride` elements apart: a block of columns of a wider matrix.
    pub(crate) fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= data.len());
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transpose, without a copy.
    pub(crate) fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// The matrix a product is written to.
pub(crate) struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// A row-major matrix.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows `row_stride` elements apart: a block of columns of a wider matrix.
    pub(crate) fn strided(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= data.len());
        Self { data, rows, cols, row_stride }
    }

    /// `self = scale · lhs · rhs`.
    pub(crate) fn assign(self, scale: f32, lhs: Matrix<'_>, rhs: Matrix<'_>, threads: Threads) {
        self.product(false, scale, lhs, rhs, threads);
    }

    /// `self += scale · lhs · rhs`.
    pub(crate) fn add(self, scale: f32, lhs: Matrix<'_>, rhs: Matrix<'_>, threads: Threads) {
        self.product(true, scale, lhs, rhs, threads);
    }

    fn product(self, accumulate: bool, scale: f32, lhs: Matrix<'_>, rhs: Matrix<'_>, threads: Threads) {
        assert_eq!((self.rows, self.cols, lhs.cols), (lhs.rows, rhs.cols, rhs.rows));
        let parallelism = match threads {
            Threads::One => gemm::Parallelism::None,
            Threads::All => gemm::Parallelism::Rayon(0),
        };
        // SAFETY: the constructors checked that every (row, column) of the three matrices lies inside its slice, the
        // assertion above that the shapes agree, and the borrow rules that the output overlaps neither input.
        unsafe {
            gemm::gemm(
                self.rows,
                self.cols,
                lhs.cols,
                self.data.as_mut_ptr(),
                1,
                self.row_stride as isize,
                accumulate,
                lhs.data.as_ptr(),
                lhs.col_stride as isize,
                lhs.row_stride as isize,
                rhs.data.as_ptr(),
                rhs.col_stride as isize,
                rhs.row_stride as isize,
                1.0,
                scale,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// Whether a product may use every core, or runs inside a task that already has one of them.
#[derive(Clone, Copy)]
pub(crate) enum Threads {
    One,
    All,
}

/// e^x to within one unit in the last place, in a form that vectorises (the C library's does not): x = n ln 2 + r,
/// a polynomial for e^r on |r| ≤ ln 2 / 2, and 2^n by exponent bits. Zero below −87.3; NaN stays NaN.
///
/// The fused multiply-adds are instructions wherever [`multiversion`] has compiled the caller for AVX2 or AVX-512, and on
/// ARM; on older processors each is a slow call.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest integer in the low mantissa bits
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const SMALLEST: f32 = -87.336_54;
    let clamped = x.clamp(SMALLEST, 88.376_26);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, clamped));
    // Taylor coefficients adjusted to the interval (the classical minimax set for single precision).
    let p = 1.987_569_1e-4_f32
        .mul_add(r, 1.398_2e-3)
        .mul_add(r, 8.333_452e-3)
        .mul_add(r, 4.166_579_6e-2)
        .mul_add(r, 1.666_666_5e-1)
        .mul_add(r, 0.5);
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let y = ((p * r).mul_add(r, r) + 1.0) * power;
    if x < SMALLEST { 0.0 } else { y }
}

/// tanh x through [`exp`].
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// tanh x and 1 − tanh² x. The slope is not made of the tanh: beside 1 that would lose all its digits.
#[inline(always)]
pub(crate) fn tanh_and_slope(x: f32) -> (f32, f32) {
    let e = exp(-2.0 * x.abs());
    let inverse = 1.0 / (1.0 + e);
    (((1.0 - e) * inverse).copysign(x), 4.0 * e * inverse * inverse)
}

/// Σ aᵢ·bᵢ in sixteen running sums: the compiler may not reorder a single one, and sixteen also lose less to rounding.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// The largest element, in sixteen running maxima; NaN if there is one.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    // `f32::max` drops NaN; this comparison keeps it, since it is false for one on either side.
    let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    let mut maxima = [f32::NEG_INFINITY; 16];
    let chunks = values.chunks_exact(16);
    let tail = chunks.remainder().iter().fold(f32::NEG_INFINITY, |m, &x| larger(m, x));
    for chunk in chunks {
        for lane in 0..16 {
            maxima[lane] = larger(maxima[lane], chunk[lane]);
        }
    }
    maxima.iter().fold(tail, |m, &x| larger(m, x))
}

/// `values[i] = e^(values[i] − shift)`; returns their sum.
#[inline(always)]
pub(crate) fn exp_and_sum(values: &mut [f32], shift: f32) -> f32 {
    let mut sums = [0.0f32; 16];
    let mut chunks = values.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for lane in 0..16 {
            chunk[lane] = exp(chunk[lane] - shift);
            sums[lane] += chunk[lane];
        }
    }
    let mut tail = 0.0;
    for value in chunks.into_remainder() {
        *value = exp(*value - shift);
        tail += *value;
    }
    sums.iter().sum::<f32>() + tail
}

/// Σ e^(values[i] − shift).
#[inline(always)]
pub(crate) fn exp_sum(values: &[f32], shift: f32) -> f32 {
    let mut sums = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let tail: f32 = chunks.remainder().iter().map(|x| exp(x - shift)).sum();
    for chunk in chunks {
        for lane in 0..16 {
            sums[lane] += exp(chunk[lane] - shift);
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_a_unit_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in -870_000..880_000 {
            let x = step as f32 * 1e-4;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - want).abs() / want / f64::from(f32::EPSILON));
        }
        assert!(worst < 1.0, "{worst}");
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn max_keeps_nan() {
        let mut values = vec![1.0f32; 40];
        values[3] = 7.0;
        assert_eq!(max(&values), 7.0);
        for at in [0, 20, 39] {
            let mut with_nan = values.clone();
            with_nan[at] = f32::NAN;
            assert!(max(&with_nan).is_nan(), "{at}");
        }
    }

    #[test]
    fn products_of_blocks_and_transposes() {
        // [[1,2],[3,4]] inside rows three apart, times its transpose: [[5,11],[11,25]]
        let data = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let a = Matrix::strided(&data, 2, 2, 3);
        let mut out = [0.0; 4];
        MatrixMut::new(&mut out, 2, 2).assign(1.0, a, a.transposed(), Threads::One);
        assert_eq!(out, [5.0, 11.0, 11.0, 25.0]);
        MatrixMut::new(&mut out, 2, 2).add(2.0, a, a.transposed(), Threads::All);
        assert_eq!(out, [15.0, 33.0, 33.0, 75.0]);
    }
}
