//! One pass over each row; the backward needs the row, its weight and one saved number.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use super::kernel::RmsNormKernel;
use crate::cpu::{ROWS_PER_TASK, contiguous, dot, floats, tensor};

impl RmsNormKernel for Flex {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        offset: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let (x, weight) = (floats(&x), floats(&weight));
        let width = weight.len();
        let rows = x.len() / width;
        let mut out = vec![0.0; x.len()];
        let mut inverse_rms = vec![0.0; rows];
        out.par_chunks_mut(ROWS_PER_TASK * width)
            .zip(x.par_chunks(ROWS_PER_TASK * width))
            .zip(inverse_rms.par_chunks_mut(ROWS_PER_TASK))
            .for_each(|((out, x), inverse_rms)| forward(x, weight, eps as f32, offset, out, inverse_rms));
        (tensor(out, [rows, width]), tensor(inverse_rms, [rows]))
    }

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        inverse_rms: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        offset: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, weight, grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let (x, weight, grad, inverse_rms) = (floats(&x), floats(&weight), floats(&grad), floats(&inverse_rms));
        let width = weight.len();
        let rows = x.len() / width;
        let mut x_grad = vec![0.0; x.len()];
        let partial: Vec<Vec<f32>> = x_grad
            .par_chunks_mut(ROWS_PER_TASK * width)
            .zip(x.par_chunks(ROWS_PER_TASK * width))
            .zip(grad.par_chunks(ROWS_PER_TASK * width))
            .zip(inverse_rms.par_chunks(ROWS_PER_TASK))
            .map(|(((x_grad, x), grad), inverse_rms)| backward(x, weight, inverse_rms, grad, offset, x_grad))
            .collect();
        let mut weight_grad = vec![0.0; width];
        for task in partial {
            weight_grad.iter_mut().zip(task).for_each(|(sum, value)| *sum += value);
        }
        (tensor(x_grad, [rows, width]), tensor(weight_grad, [width]))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn forward(x: &[f32], weight: &[f32], eps: f32, offset: f32, out: &mut [f32], inverse_rms: &mut [f32]) {
    let width = weight.len();
    for ((x, out), inverse_rms) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(inverse_rms) {
        let scale = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
        *inverse_rms = scale;
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * (offset + weight);
        }
    }
}

/// Writes the gradient of `x`, returns these rows' share of the weight's.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn backward(x: &[f32], weight: &[f32], inverse_rms: &[f32], grad: &[f32], offset: f32, x_grad: &mut [f32]) -> Vec<f32> {
    let width = weight.len();
    let mut weight_grad = vec![0.0; width];
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(x_grad.chunks_exact_mut(width));
    for (((x, grad), x_grad), &scale) in rows.zip(inverse_rms) {
        for ((x_grad, grad), weight) in x_grad.iter_mut().zip(grad).zip(weight) {
            *x_grad = grad * (offset + weight);
        }
        // y = x·r, dr/dx = −r³ x / width: the gradient loses its component along x.
        let along = dot(x_grad, x) * scale * scale / width as f32;
        for (((x_grad, x), grad), weight_grad) in x_grad.iter_mut().zip(x).zip(grad).zip(&mut weight_grad) {
            *x_grad = scale * (*x_grad - along * x);
            *weight_grad += grad * x * scale;
        }
    }
    weight_grad
}
