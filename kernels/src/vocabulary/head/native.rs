//! The head met tile by tile on the CPU: logits of a block of rows and columns at a time, and what their gradients add
//! to those of `hidden` and of the head.

use std::borrow::Cow;
use std::ops::Range;

use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::{bf16, f16};
use rayon::prelude::*;

use super::Wanted;
use super::kept::Kept;
use crate::cpu::{Element, Factor, Matrix, MatrixMut, Stored, Threads, tensor};
use crate::pieces::pieces;

/// Runs of columns that go to threads of their own: a fixed number, summed in order, so that sums come out the same on
/// any machine. Each costs one more gradient of `hidden` while the backward lasts.
const RUNS: usize = 16;
/// Columns (rows of the head) and rows of `hidden` in a block of logits: 1 MiB, to stay in the second-level cache.
pub(super) const COLUMNS: usize = 256;
const ROWS: usize = 512;

/// `[vocabulary, width]`, row-major, with the numbers that `dtype` has for it.
pub(crate) struct Head<'a> {
    weights: Stored<'a>,
    dtype: DType,
    pub(crate) width: usize,
}

/// Which logits.
pub(crate) struct Block {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl<'a> Head<'a> {
    /// Of a contiguous tensor, to be multiplied with hidden states of `dtype`.
    pub(crate) fn new(head: &'a FlexTensor, dtype: DType) -> Self {
        let [_, width]: [usize; 2] = head.layout().shape().dims();
        Self { weights: Stored::of(head), dtype, width }
    }

    pub(crate) fn vocabulary(&self) -> usize {
        self.weights.len() / self.width
    }

    /// The columns of each run.
    pub(crate) fn runs(&self) -> Vec<Range<usize>> {
        pieces(0..self.vocabulary(), self.run_length()).collect()
    }

    /// Whole tiles, unless there are too few to go round.
    pub(super) fn run_length(&self) -> usize {
        let share = self.vocabulary().div_ceil(RUNS);
        if share > COLUMNS { share.next_multiple_of(COLUMNS) } else { share }
    }

    /// These columns, ready to be multiplied.
    pub(crate) fn tile(&self, columns: Range<usize>) -> Tile<'a> {
        let weights = self.weights.slice(columns.start * self.width..columns.end * self.width);
        Tile { weights: Factor::of(weights, self.dtype), width: self.width }
    }

    /// The gradients of `hidden` `[rows, width]` and, in its own type, of the head; those that are wanted. `gradient` turns
    /// the logits of a block, taken from `kept` where they are there, into their gradients.
    pub(crate) fn gradients(
        &self,
        hidden: &Rows<'_>,
        wanted: Wanted,
        kept: Kept<'_>,
        gradient: impl Fn(&Block, &mut [f32]) + Sync,
    ) -> (Vec<f32>, FlexTensor) {
        match self.weights {
            Stored::F32(_) => self.gradients_as::<f32>(hidden, wanted, kept, &gradient),
            Stored::F16(_) => self.gradients_as::<f16>(hidden, wanted, kept, &gradient),
            Stored::Bf16(_) => self.gradients_as::<bf16>(hidden, wanted, kept, &gradient),
        }
    }

    fn gradients_as<E: Element>(
        &self,
        hidden: &Rows<'_>,
        wanted: Wanted,
        kept: Kept<'_>,
        gradient: &(impl Fn(&Block, &mut [f32]) + Sync),
    ) -> (Vec<f32>, FlexTensor) {
        let rows = if wanted.head { self.vocabulary() } else { 0 };
        let mut head_grad = vec![E::default(); rows * self.width];
        let runs = self.runs();
        let mut shares = head_grad.chunks_mut(self.run_length() * self.width);
        let runs: Vec<_> = runs.into_iter().map(|run| (run, shares.next())).collect();
        let parts: Vec<Vec<f32>> = runs
            .into_par_iter()
            .map(|(run, head_grad)| self.run_gradients(hidden, run, wanted.hidden, head_grad, kept, gradient))
            .collect();
        let mut parts = parts.into_iter();
        let mut hidden_grad = parts.next().unwrap_or_default();
        for part in parts {
            hidden_grad
                .par_chunks_mut(COLUMNS)
                .zip(part.par_chunks(COLUMNS))
                .for_each(|(sum, part)| sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x));
        }
        (hidden_grad, tensor(head_grad, [rows, self.width]))
    }

    /// Writes the gradient of these columns if there is room for it, and returns their share of that of `hidden` if it is
    /// wanted.
    fn run_gradients<E: Element>(
        &self,
        hidden: &Rows<'_>,
        run: Range<usize>,
        hidden_wanted: bool,
        head_grad: Option<&mut [E]>,
        kept: Kept<'_>,
        gradient: &impl Fn(&Block, &mut [f32]),
    ) -> Vec<f32> {
        let mut hidden_grad = vec![0.0; if hidden_wanted { hidden.count() * self.width } else { 0 }];
        let mut buffer = vec![0.0; buffer_size(hidden.count(), run.len())];
        let mut shares = head_grad.map(|grad| grad.chunks_mut(COLUMNS * self.width));
        for columns in pieces(run, COLUMNS) {
            let mut add = |head_grad: Option<&mut [f32]>| {
                let sums = [hidden_wanted.then_some(&mut hidden_grad[..]), head_grad];
                self.add_tile(hidden, columns.clone(), kept, gradient, &mut buffer, sums);
            };
            match shares.as_mut().and_then(Iterator::next) {
                Some(share) => E::fill(share, |share| add(Some(share))),
                None => add(None),
            }
        }
        hidden_grad
    }

    /// Adds the gradient of the head's rows from `first` on to as many rows of `sum`, a tile's after it is whole: in f32 the sum
    /// of two operations' gradients is the same to the bit as if each had been kept.
    pub(crate) fn add_gradient<E: Element>(
        &self,
        hidden: &Rows<'_>,
        first: usize,
        sum: &mut [E],
        gradient: impl Fn(&Block, &mut [f32]) + Sync,
    ) {
        let columns = COLUMNS.min(self.run_length());
        sum.par_chunks_mut(columns * self.width).enumerate().for_each_init(
            || [vec![0.0; buffer_size(hidden.count(), columns)], vec![]],
            |[buffer, whole], (tile, sum)| {
                let first = first + tile * columns;
                whole.clear();
                whole.resize(sum.len(), 0.0);
                let columns = first..first + sum.len() / self.width;
                self.add_tile(hidden, columns, Kept::NONE, &gradient, buffer, [None, Some(whole)]);
                E::change(sum, |sum| sum.iter_mut().zip(whole).for_each(|(sum, x)| *sum += *x));
            },
        );
    }

    /// Adds what the logits of a tile give to the gradients of `hidden` and of the tile's rows of the head.
    fn add_tile(
        &self,
        hidden: &Rows<'_>,
        columns: Range<usize>,
        kept: Kept<'_>,
        gradient: &impl Fn(&Block, &mut [f32]),
        buffer: &mut [f32],
        [mut hidden_grad, mut head_grad]: [Option<&mut [f32]>; 2],
    ) {
        let width = self.width;
        let tile = self.tile(columns.clone());
        for rows in pieces(0..hidden.count(), ROWS) {
            let (n, elements) = (rows.len(), rows.start * width..rows.end * width);
            let block = Block { rows, columns: columns.clone() };
            let logits = &mut buffer[..n * columns.len()];
            match kept.of(&block) {
                Some(kept) => logits.copy_from_slice(kept),
                None => tile.logits(hidden, block.rows.clone(), logits),
            }
            gradient(&block, logits);
            let gradient = Matrix::new(&*logits, n, columns.len());
            if let Some(hidden_grad) = &mut hidden_grad {
                let sum = MatrixMut::new(&mut hidden_grad[elements.clone()], n, width);
                sum.add(1.0, gradient, tile.matrix(), Threads::One);
            }
            if let Some(head_grad) = &mut head_grad {
                let rows = Matrix::new(hidden.rows.from(elements.start), n, width);
                MatrixMut::new(head_grad, columns.len(), width).add(1.0, gradient.transposed(), rows, Threads::One);
            }
        }
    }
}

/// `hidden` `[rows, width]` in numbers that `dtype` has, and its transpose where products are in f32.
pub(crate) struct Rows<'a> {
    rows: Factor<'a>,
    transposed: Vec<f32>,
    count: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(rows: Cow<'a, [f32]>, width: usize, dtype: DType) -> Self {
        let count = rows.len() / width;
        let rows = Factor::of_f32(rows, dtype);
        let mut transposed = vec![];
        if let Factor::F32(rows) = &rows {
            transposed.resize(rows.len(), 0.0);
            transpose(rows, count, width, &mut transposed);
        }
        Self { rows, transposed, count }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// `[rows, columns]` → `[columns, rows]`, in squares that stay in the cache.
fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    const SIDE: usize = 32;
    for row in (0..rows).step_by(SIDE) {
        for column in (0..columns).step_by(SIDE) {
            for i in row..(row + SIDE).min(rows) {
                for j in column..(column + SIDE).min(columns) {
                    to[j * rows + i] = from[i * columns + j];
                }
            }
        }
    }
}

/// A few rows of the head.
pub(crate) struct Tile<'a> {
    weights: Factor<'a>,
    width: usize,
}

impl Tile<'_> {
    /// `hidden · tileᵀ` for some rows of `hidden`.
    ///
    /// In f32 the product is made the other way round, from a transposed copy of `hidden`: the side that a matrix product
    /// reads in vectors is then contiguous, and need not be gathered row by row out of a tile met only once.
    pub(crate) fn logits(&self, hidden: &Rows<'_>, rows: Range<usize>, out: &mut [f32]) {
        let (n, columns) = (rows.len(), self.weights.len() / self.width);
        if let Factor::Bf16(_) = &hidden.rows {
            let rows = Matrix::new(hidden.rows.from(rows.start * self.width), n, self.width);
            return MatrixMut::new(out, n, columns).assign(1.0, rows, self.matrix().transposed(), Threads::One);
        }
        let mut transposed = vec![0.0; out.len()];
        let side = Matrix::strided(&hidden.transposed[rows.start..], self.width, n, hidden.count);
        MatrixMut::new(&mut transposed, columns, n).assign(1.0, self.matrix(), side, Threads::One);
        transpose(&transposed, columns, n, out);
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.weights.from(0), self.weights.len() / self.width, self.width)
    }
}

/// Every block of these columns: tile by tile, and in each all rows.
pub(crate) fn blocks(rows: usize, run: Range<usize>) -> impl Iterator<Item = Block> {
    pieces(run, COLUMNS)
        .flat_map(move |columns| pieces(0..rows, ROWS).map(move |rows| Block { rows, columns: columns.clone() }))
}

/// Logits of the largest block.
pub(crate) fn buffer_size(rows: usize, columns: usize) -> usize {
    ROWS.min(rows) * COLUMNS.min(columns)
}
