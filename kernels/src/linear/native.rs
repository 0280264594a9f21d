//! Three products, each straight into the layout its reader wants.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::bf16;
use rayon::prelude::*;

use super::few_rows;
use super::kernel::LinearKernel;
use crate::cpu::{Element, Matrix, MatrixMut, Threads, contiguous, floats, tensor};

/// Rows of bf16 weights that are widened at once: a few megabytes, which the cache holds.
const BLOCK: usize = 1024;

impl LinearKernel for Flex {
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let shape = [rows(&x), rows(&weight)];
        let few = shape[0] <= few_rows::MOST;
        if weight.dtype() == DType::BF16 {
            let weight = <bf16 as Element>::slice(&weight);
            return if few {
                tensor(few_rows::product(floats(&x), weight, columns(&x)), shape)
            } else {
                widened_product(matrix(&x), weight, columns(&x), shape)
            };
        }
        if few {
            let out = few_rows::product(floats(&x), floats(&weight), columns(&x));
            return tensor(out, shape);
        }
        product(matrix(&x), matrix(&weight).transposed(), [rows(&x), rows(&weight)])
    }

    fn linear_input_grad(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (weight, grad) = (contiguous(weight), contiguous(grad));
        product(matrix(&grad), matrix(&weight), [rows(&grad), columns(&weight)])
    }

    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, grad) = (contiguous(x), contiguous(grad));
        product(matrix(&grad).transposed(), matrix(&x), [columns(&grad), columns(&x)])
    }
}

/// `x · weightᵀ`, block by block of weights, so that no more than a block is ever held in f32.
fn widened_product(x: Matrix<'_>, weight: &[bf16], inputs: usize, [rows, outputs]: [usize; 2]) -> FlexTensor {
    let mut out = vec![0.0; rows * outputs];
    let mut block = vec![];
    for (number, weight) in weight.chunks(BLOCK * inputs).enumerate() {
        let columns = weight.len() / inputs;
        block.resize(weight.len(), 0.0);
        block.par_chunks_mut(inputs).zip(weight.par_chunks(inputs)).for_each(|(to, from)| bf16::widen(from, to));
        MatrixMut::strided(&mut out[number * BLOCK..], rows, columns, outputs).assign(
            1.0,
            x,
            Matrix::new(&block, columns, inputs).transposed(),
            Threads::All,
        );
    }
    tensor(out, [rows, outputs])
}

fn product(lhs: Matrix<'_>, rhs: Matrix<'_>, shape: [usize; 2]) -> FlexTensor {
    let mut out = vec![0.0; shape[0] * shape[1]];
    MatrixMut::new(&mut out, shape[0], shape[1]).assign(1.0, lhs, rhs, Threads::All);
    tensor(out, shape)
}

fn matrix(tensor: &FlexTensor) -> Matrix<'_> {
    Matrix::new(floats(tensor), rows(tensor), columns(tensor))
}

fn rows(tensor: &FlexTensor) -> usize {
    tensor.layout().shape()[0]
}

fn columns(tensor: &FlexTensor) -> usize {
    tensor.layout().shape()[1]
}
