//! The instruction's blocks: a tile of the result stays in registers while pairs of the inner dimension go by.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _mm256_mask_storeu_epi16, _mm256_maskz_loadu_epi16, _mm512_add_ps,
    _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_mask_storeu_epi32,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32,
};
use std::mem::transmute;
use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::matrix::{Matrix, MatrixMut, Numbers, Threads};
use crate::pieces::pieces;

/// f32 lanes of a register.
const LANES: usize = 16;
/// Registers across a tile, and its rows: 24 running sums, and what is multiplied, in 32 registers.
const ACROSS: usize = 3;
const HIGH: usize = 8;
const WIDE: usize = ACROSS * LANES;
/// Numbers of the inner dimension that are met at once: a panel of `HIGH` rows stays in the first-level cache.
const INNER: usize = 512;
/// Columns whose panels are packed together: they stay in the second-level cache, and no more of a weight is held twice.
const TOGETHER: usize = 16 * WIDE;
/// Rows that a task packs, and columns that it meets if there are few rows.
const TASK_ROWS: usize = 8 * HIGH;
const TASK_COLUMNS: usize = 4 * WIDE;

/// Whether this CPU multiplies bf16 numbers: it has what is used here of AVX-512.
pub(crate) fn multiplies_bf16() -> bool {
    std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512bf16")
}

/// `out = scale · lhs · rhs`, or that added to it.
///
/// # Panics
/// Where this CPU does not [multiply](multiplies_bf16) such numbers.
pub(crate) fn product(
    out: MatrixMut<'_>,
    accumulate: bool,
    scale: f32,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    threads: Threads,
) {
    assert!(multiplies_bf16(), "bf16 factors are for CPUs that multiply them");
    let (rows, columns, inner) = (out.rows, out.cols, lhs.cols);
    if !accumulate && inner == 0 {
        (0..rows).for_each(|row| out.data[row * out.row_stride..][..columns].fill(0.0));
    }
    let [lhs, rhs] = [Entries::rows(lhs), Entries::rows(rhs.transposed())];
    let out = Out { data: out.data.as_mut_ptr(), row_stride: out.row_stride };
    let mut panels = vec![0; TOGETHER.min(columns.next_multiple_of(WIDE)) * INNER.min(inner).div_ceil(2)];
    for columns in pieces(0..columns, TOGETHER) {
        for inner in pieces(0..inner, INNER) {
            let pairs = inner.len().div_ceil(2);
            let panels = &mut panels[..columns.len().next_multiple_of(WIDE) * pairs];
            let pack = |(panel, to): (Range<usize>, &mut [u32])| {
                // SAFETY: the CPU has the instructions, as asserted above.
                unsafe { rhs.pack::<WIDE>(panel, inner.clone(), to) }
            };
            let shares: Vec<_> = pieces(columns.clone(), WIDE).zip(panels.chunks_mut(WIDE * pairs)).collect();
            match threads {
                Threads::One => shares.into_iter().for_each(pack),
                Threads::All => shares.into_par_iter().for_each(pack),
            }
            let added = accumulate || inner.start > 0;
            let task = |(rows, run): (Range<usize>, Range<usize>)| {
                let mut lhs_panels = vec![0; rows.len().next_multiple_of(HIGH) * pairs];
                for (rows, to) in pieces(rows.clone(), HIGH).zip(lhs_panels.chunks_mut(HIGH * pairs)) {
                    // SAFETY: as above.
                    unsafe { lhs.pack::<HIGH>(rows, inner.clone(), to) };
                }
                for place in pieces(run, WIDE) {
                    let panel = &panels[(place.start - columns.start) * pairs..][..WIDE * pairs];
                    for (rows, lhs) in pieces(rows.clone(), HIGH).zip(lhs_panels.chunks(HIGH * pairs)) {
                        // SAFETY: as above, and tasks own disjoint places of `out`, which the constructor of `MatrixMut` checked
                        // to lie inside its slice.
                        unsafe { out.write((rows, place.clone()), scale, added, &tile(lhs, panel)) };
                    }
                }
            };
            let tasks = tasks(rows, columns.clone());
            match threads {
                Threads::One => tasks.into_iter().for_each(task),
                Threads::All => tasks.into_par_iter().for_each(task),
            }
        }
    }
}

/// Rows and columns of each task: all columns at once where there are rows enough to go round.
fn tasks(rows: usize, columns: Range<usize>) -> Vec<(Range<usize>, Range<usize>)> {
    let across = if rows > 8 * TASK_ROWS { TOGETHER } else { TASK_COLUMNS };
    pieces(0..rows, TASK_ROWS)
        .flat_map(|rows| pieces(columns.clone(), across).map(move |run| (rows.clone(), run)))
        .collect()
}

/// Where the result goes.
#[derive(Clone, Copy)]
struct Out {
    data: *mut f32,
    row_stride: usize,
}

// SAFETY: whoever writes says how places are shared out.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Out {
    /// # Safety
    /// The place lies inside the matrix, nobody else has it, and the CPU has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn write(
        self,
        (rows, columns): (Range<usize>, Range<usize>),
        scale: f32,
        added: bool,
        sums: &[[__m512; ACROSS]; HIGH],
    ) {
        let scale = _mm512_set1_ps(scale);
        for (row, sums) in rows.zip(sums) {
            for (first, &sum) in columns.clone().step_by(LANES).zip(sums) {
                let mask = mask(columns.end - first);
                // SAFETY: the caller's word; the mask leaves out what lies beyond the place.
                unsafe {
                    let to = self.data.add(row * self.row_stride + first);
                    let mut sum = _mm512_mul_ps(scale, sum);
                    if added {
                        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum);
                    }
                    _mm512_mask_storeu_ps(to, mask, sum);
                }
            }
        }
    }
}

/// The products of `HIGH` rows with `WIDE` columns, both packed.
#[target_feature(enable = "avx512f,avx512bf16")]
fn tile(lhs: &[u32], rhs: &[u32]) -> [[__m512; ACROSS]; HIGH] {
    let mut sums = [[_mm512_setzero_ps(); ACROSS]; HIGH];
    for (lhs, rhs) in lhs.chunks_exact(HIGH).zip(rhs.chunks_exact(WIDE)) {
        let mut columns = [_mm512_setzero_si512(); ACROSS];
        for (to, from) in columns.iter_mut().zip(rhs.chunks_exact(LANES)) {
            // SAFETY: sixteen lanes of 32 bits.
            *to = unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
        }
        for (sums, &pair) in sums.iter_mut().zip(lhs) {
            // SAFETY: the same 512 bits.
            let row: __m512bh = unsafe { transmute(_mm512_set1_epi32(pair.cast_signed())) };
            for (sum, column) in sums.iter_mut().zip(columns) {
                // SAFETY: the same 512 bits.
                *sum = _mm512_dpbf16_ps(*sum, row, unsafe { transmute::<__m512i, __m512bh>(column) });
            }
        }
    }
    sums
}

/// A factor as so many vectors along the inner dimension: the left one's rows, the right one's columns.
#[derive(Clone, Copy)]
struct Entries<'a> {
    numbers: Numbers<'a>,
    stride: usize,
    inner_stride: usize,
}

impl<'a> Entries<'a> {
    fn rows(matrix: Matrix<'a>) -> Self {
        Self { numbers: matrix.data, stride: matrix.row_stride, inner_stride: matrix.col_stride }
    }

    /// Writes some vectors' pairs `[pairs, WIDTH]`; zeros beyond them and for the odd number's partner.
    ///
    /// # Safety
    /// The CPU has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pack<const WIDTH: usize>(self, entries: Range<usize>, inner: Range<usize>, to: &mut [u32]) {
        if self.inner_stride == 1 {
            let mut row = [0; INNER];
            for (lane, entry) in entries.clone().enumerate() {
                let start = entry * self.stride + inner.start;
                self.numbers.read(start, &mut row[..inner.len()]);
                row[inner.len()..inner.len().next_multiple_of(2)].fill(0);
                for (to, pair) in to.chunks_exact_mut(WIDTH).zip(row.chunks_exact(2)) {
                    to[lane] = u32::from(pair[0]) | u32::from(pair[1]) << 16;
                }
            }
            to.chunks_exact_mut(WIDTH).for_each(|to| to[entries.len()..].fill(0));
        } else {
            assert_eq!(self.stride, 1, "a factor's rows or columns are contiguous");
            for (to, first) in to.chunks_exact_mut(WIDTH).zip(inner.clone().step_by(2)) {
                for lane in (0..WIDTH).step_by(LANES) {
                    let count = entries.len().saturating_sub(lane);
                    let half = |at: usize| {
                        if at >= inner.end || count == 0 {
                            return _mm512_setzero_si512();
                        }
                        _mm512_cvtepu16_epi32(self.numbers.halves(at * self.inner_stride + entries.start + lane, count))
                    };
                    let pair = _mm512_or_si512(half(first), _mm512_slli_epi32::<16>(half(first + 1)));
                    // SAFETY: the mask leaves out what lies beyond the panel's row.
                    unsafe { _mm512_mask_storeu_epi32(to[lane..].as_mut_ptr().cast(), mask(WIDTH - lane), pair) };
                }
            }
        }
    }
}

impl Numbers<'_> {
    /// The bits of so many numbers in bf16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn read(self, start: usize, to: &mut [u16]) {
        match self {
            Self::Bf16(numbers) => to.copy_from_slice(bytemuck::cast_slice(&numbers[start..start + to.len()])),
            Self::F32(_) => {
                for (at, to) in (start..).step_by(LANES).zip(to.chunks_mut(LANES)) {
                    let mask = mask(to.len());
                    // SAFETY: the mask leaves out what lies beyond the slice.
                    unsafe { _mm256_mask_storeu_epi16(to.as_mut_ptr().cast(), mask, self.halves(at, to.len())) };
                }
            }
        }
    }

    /// The bits of at most sixteen numbers in bf16, one a lane, and zeros.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn halves(self, start: usize, count: usize) -> __m256i {
        let count = count.min(LANES);
        let mask = mask(count);
        match self {
            Self::Bf16(numbers) => {
                let numbers = &numbers[start..start + count];
                // SAFETY: the mask leaves out what lies beyond the slice.
                unsafe { _mm256_maskz_loadu_epi16(mask, numbers.as_ptr().cast()) }
            }
            Self::F32(numbers) => {
                let numbers = &numbers[start..start + count];
                // SAFETY: the mask leaves out what lies beyond the slice, and both types are 256 bits.
                unsafe {
                    transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, numbers.as_ptr())))
                }
            }
        }
    }
}

/// The lanes of the first so many numbers.
fn mask(count: usize) -> u16 {
    if count < LANES { (1 << count) - 1 } else { u16::MAX }
}
