//! Matrix products on slices.

use half::bf16;

use super::bf16_product;

/// What a factor's numbers are stored as.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a> {
    F32(&'a [f32]),
    /// Only where the CPU [multiplies them itself](super::multiplies_bf16). The other factor is rounded to them.
    Bf16(&'a [bf16]),
}

impl Numbers<'_> {
    fn len(self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
        }
    }
}

impl<'a> From<&'a [f32]> for Numbers<'a> {
    fn from(numbers: &'a [f32]) -> Self {
        Self::F32(numbers)
    }
}

impl<'a> From<&'a [bf16]> for Numbers<'a> {
    fn from(numbers: &'a [bf16]) -> Self {
        Self::Bf16(numbers)
    }
}

/// A matrix inside a slice: `rows × cols`, element (i, j) at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(super) data: Numbers<'a>,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix.
    pub(crate) fn new(data: impl Into<Numbers<'a>>, rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows `row_stride` elements apart: a block of columns of a wider matrix.
    pub(crate) fn strided(data: impl Into<Numbers<'a>>, rows: usize, cols: usize, row_stride: usize) -> Self {
        let data = data.into();
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
    pub(super) data: &'a mut [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
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
        let (Numbers::F32(left), Numbers::F32(right)) = (lhs.data, rhs.data) else {
            return bf16_product::product(self, accumulate, scale, lhs, rhs, threads);
        };
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
                left.as_ptr(),
                lhs.col_stride as isize,
                lhs.row_stride as isize,
                right.as_ptr(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_blocks_and_transposes() {
        // [[1,2],[3,4]] inside rows three apart, times its transpose: [[5,11],[11,25]]
        let data = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let a = Matrix::strided(&data[..], 2, 2, 3);
        let mut out = [0.0; 4];
        MatrixMut::new(&mut out, 2, 2).assign(1.0, a, a.transposed(), Threads::One);
        assert_eq!(out, [5.0, 11.0, 11.0, 25.0]);
        MatrixMut::new(&mut out, 2, 2).add(2.0, a, a.transposed(), Threads::All);
        assert_eq!(out, [15.0, 33.0, 33.0, 75.0]);
    }
}
