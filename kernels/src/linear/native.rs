//! Three products, each straight into the layout its reader wants.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use burn_flex::FlexTensor;

use crate::cpu::{Matrix, MatrixMut, Threads, contiguous, floats, tensor};

#[backend_extension(Autodiff, Flex)]
pub(crate) trait LinearKernel: Backend {
    /// `x · weightᵀ`.
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `grad · weight`: the gradient of `x`.
    fn linear_input_grad(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `gradᵀ · x`: the gradient of `weight`.
    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl LinearKernel for Flex {
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, weight) = (contiguous(x), contiguous(weight));
        product(
            matrix(&x),
            matrix(&weight).transposed(),
            [rows(&x), rows(&weight)],
        )
    }

    fn linear_input_grad(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (weight, grad) = (contiguous(weight), contiguous(grad));
        product(
            matrix(&grad),
            matrix(&weight),
            [rows(&grad), columns(&weight)],
        )
    }

    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, grad) = (contiguous(x), contiguous(grad));
        product(
            matrix(&grad).transposed(),
            matrix(&x),
            [columns(&grad), columns(&x)],
        )
    }
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
