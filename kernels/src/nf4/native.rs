//! On the CPU the matrix is unpacked row by row while it is multiplied: no more than a block of it is ever there in f32.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::composition;
use super::kernel::Nf4Kernel;
use super::layout::{Layout, Packed};
use crate::cpu::{contiguous, floats, round, tensor};
use crate::linear::native::{Rows, input_grad, product};
use crate::linear::{FEW_ROWS, few_rows};

/// Numbers that one task unpacks.
const TASK: usize = 1 << 16;

impl Rows for Packed<'_> {
    fn dims(&self) -> [usize; 2] {
        self.layout.shape
    }

    fn read(&self, row: usize, dtype: DType, to: &mut [f32]) {
        self.unpack(row * self.layout.shape[1], to);
        round(dtype, to);
    }
}

impl Nf4Kernel for Flex {
    fn nf4_values(words: IntTensor<Self>, scales: FloatTensor<Self>, layout: Layout) -> FloatTensor<Self> {
        let (words, scales) = (contiguous(words), contiguous(scales));
        let packed = packed(&words, &scales, layout);
        let mut values = vec![0.0; layout.elements()];
        values.par_chunks_mut(TASK).enumerate().for_each(|(at, to)| packed.unpack(at * TASK, to));
        tensor(values, layout.shape)
    }

    fn nf4_product(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        if x.dtype() == DType::F64 {
            return composition::product::<Self>(x, words, scales, layout);
        }
        let (x, words, scales) = (contiguous(x), contiguous(words), contiguous(scales));
        let weight = packed(&words, &scales, layout);
        let rows = x.shape()[0];
        if x.dtype() == DType::F32 && rows <= FEW_ROWS {
            return tensor(few_rows::product_of_rows(floats(&x), &weight), [rows, layout.shape[0]]);
        }
        product(&x, &weight)
    }

    fn nf4_input_grad(
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        if grad.dtype() == DType::F64 {
            return composition::input_grad::<Self>(grad, words, scales, layout);
        }
        let (grad, words, scales) = (contiguous(grad), contiguous(words), contiguous(scales));
        input_grad(&grad, &packed(&words, &scales, layout))
    }
}

fn packed<'a>(words: &'a FlexTensor, scales: &'a FlexTensor, layout: Layout) -> Packed<'a> {
    let words = words.as_slice::<u32>().expect("codes are packed in words of 32 bits");
    Packed { words, floats: floats(scales), layout }
}
