//! Three products in f32, each straight into the layout its reader wants.
//!
//! A weight that is stored in another type than it is multiplied in is read block by block, forward and backward, so that
//! no more than a block of it is ever held twice. Sixteen-bit rows give what tensor cores give: products of rounded
//! numbers, summed in f32 and rounded once.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::kernel::LinearKernel;
use super::{FEW_ROWS, composition, few_rows};
use crate::cpu::{
    Factor, Matrix, MatrixMut, Numbers, Stored, Threads, contiguous, floats, multiplies_bf16, rounded, tensor,
};

/// Rows of a weight that are read into f32 at once: a few megabytes, which the cache holds.
const BLOCK: usize = 1024;

impl LinearKernel for Flex {
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype();
        if dtype == DType::F64 {
            return composition::product::<Self>(x, weight);
        }
        let (x, weight) = (contiguous(x), contiguous(weight));
        let ([rows, inputs], [outputs, _]) = (dims(&x), dims(&weight));
        if dtype == DType::F32 && rows <= FEW_ROWS {
            match Stored::of(&weight) {
                Stored::F32(weight) => return tensor(few_rows::product(floats(&x), weight, inputs), [rows, outputs]),
                Stored::Bf16(weight) => return tensor(few_rows::product(floats(&x), weight, inputs), [rows, outputs]),
                Stored::F16(_) => {}
            }
        }
        product(&x, &Dense::of(&weight))
    }

    fn linear_input_grad(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = grad.dtype();
        if dtype == DType::F64 {
            return composition::input_grad::<Self>(weight, grad);
        }
        let (weight, grad) = (contiguous(weight), contiguous(grad));
        input_grad(&grad, &Dense::of(&weight))
    }

    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self> {
        if x.dtype() == DType::F64 {
            return composition::weight_grad::<Self>(x, grad, dtype);
        }
        let (x, grad) = (contiguous(x), contiguous(grad));
        let ([rows, inputs], [_, outputs]) = (dims(&x), dims(&grad));
        let [x, grad] = [&x, &grad].map(|rows| Factor::of(Stored::of(rows), rows.dtype()));
        let mut out = vec![0.0; outputs * inputs];
        MatrixMut::new(&mut out, outputs, inputs).assign(
            1.0,
            Matrix::new(grad.from(0), rows, outputs).transposed(),
            Matrix::new(x.from(0), rows, inputs),
            Threads::All,
        );
        rounded(out, [outputs, inputs], dtype)
    }
}

/// A matrix whose rows are read into f32 for a product.
pub(crate) trait Rows: Sync {
    /// Rows and columns.
    fn dims(&self) -> [usize; 2];

    /// The numbers that `dtype` has for a row.
    fn read(&self, row: usize, dtype: DType, to: &mut [f32]);

    /// All numbers, where a product in `dtype` can take them as they are stored.
    fn whole(&self, _dtype: DType) -> Option<Numbers<'_>> {
        None
    }
}

/// A tensor's rows.
struct Dense<'a> {
    stored: Stored<'a>,
    dims: [usize; 2],
}

impl<'a> Dense<'a> {
    fn of(weight: &'a FlexTensor) -> Self {
        Self { stored: Stored::of(weight), dims: dims(weight) }
    }
}

impl Rows for Dense<'_> {
    fn dims(&self) -> [usize; 2] {
        self.dims
    }

    fn read(&self, row: usize, dtype: DType, to: &mut [f32]) {
        let [_, columns] = self.dims;
        self.stored.slice(row * columns..(row + 1) * columns).read(dtype, to);
    }

    fn whole(&self, dtype: DType) -> Option<Numbers<'_>> {
        match (self.stored, dtype) {
            (Stored::F32(weight), DType::F32) => Some(weight.into()),
            (Stored::F32(weight), DType::BF16) if multiplies_bf16() => Some(weight.into()),
            (Stored::Bf16(weight), DType::BF16) if multiplies_bf16() => Some(weight.into()),
            _ => None,
        }
    }
}

/// `x · weightᵀ` for a contiguous `x` of at most 32 bits, in its type.
pub(crate) fn product(x: &FlexTensor, weight: &impl Rows) -> FlexTensor {
    let (dtype, [rows, inputs], [outputs, _]) = (x.dtype(), dims(x), weight.dims());
    let x = Factor::of(Stored::of(x), dtype);
    let x = Matrix::new(x.from(0), rows, inputs);
    let mut out = vec![0.0; rows * outputs];
    each_block(weight, dtype, |columns, block| {
        // Without rows there is no place for later columns.
        let out = out.get_mut(columns.start..).unwrap_or_default();
        MatrixMut::strided(out, rows, columns.len(), outputs).assign(1.0, x, block.transposed(), Threads::All);
    });
    rounded(out, [rows, outputs], dtype)
}

/// `grad · weight` for a contiguous `grad` of at most 32 bits, in its type.
pub(crate) fn input_grad(grad: &FlexTensor, weight: &impl Rows) -> FlexTensor {
    let (dtype, [rows, outputs], [_, inputs]) = (grad.dtype(), dims(grad), weight.dims());
    let grad = Factor::of(Stored::of(grad), dtype);
    let mut out = vec![0.0; rows * inputs];
    each_block(weight, dtype, |columns, block| {
        let grad = Matrix::strided(grad.from(columns.start), rows, columns.len(), outputs);
        let out = MatrixMut::new(&mut out, rows, inputs);
        if columns.start == 0 {
            out.assign(1.0, grad, block, Threads::All);
        } else {
            out.add(1.0, grad, block, Threads::All);
        }
    });
    rounded(out, [rows, inputs], dtype)
}

/// Hands over the rows of `weight` in f32, with the numbers that `dtype` has for them: all at once where a product takes
/// them as they are stored.
fn each_block(weight: &impl Rows, dtype: DType, mut f: impl FnMut(Range<usize>, Matrix<'_>)) {
    let [rows, columns] = weight.dims();
    if let Some(weight) = weight.whole(dtype) {
        return f(0..rows, Matrix::new(weight, rows, columns));
    }
    let mut block = vec![];
    for start in (0..rows).step_by(BLOCK) {
        let range = start..(start + BLOCK).min(rows);
        block.resize(range.len() * columns, 0.0);
        block.par_chunks_mut(columns.max(1)).zip(range.clone()).for_each(|(to, row)| weight.read(row, dtype, to));
        f(range.clone(), Matrix::new(&block[..], range.len(), columns));
    }
}

fn dims(tensor: &FlexTensor) -> [usize; 2] {
    tensor.layout().shape().dims()
}
