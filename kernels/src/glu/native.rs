//! One pass forward, one backward.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use super::kernel::GluKernel;
use super::{Activation, GELU_CUBIC, GELU_SCALE};
use crate::cpu::{contiguous, exp, floats, tanh, tensor};

/// Elements one task takes.
const BLOCK: usize = 16_384;

impl GluKernel for Flex {
    fn glu(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let (gate, up) = (contiguous(gate), contiguous(up));
        let shape: [usize; 2] = gate.layout().shape().dims();
        let (gate, up) = (floats(&gate), floats(&up));
        let mut out = vec![0.0; gate.len()];
        out.par_chunks_mut(BLOCK).zip(gate.par_chunks(BLOCK)).zip(up.par_chunks(BLOCK)).for_each(
            |((out, gate), up)| match activation {
                Activation::Silu => silu_forward(gate, up, out),
                Activation::GeluTanh => gelu_forward(gate, up, out),
            },
        );
        tensor(out, shape)
    }

    fn glu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (gate, up, grad) = (contiguous(gate), contiguous(up), contiguous(grad));
        let shape: [usize; 2] = gate.layout().shape().dims();
        let (gate, up, grad) = (floats(&gate), floats(&up), floats(&grad));
        let (mut gate_grad, mut up_grad) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
        let inputs = gate.par_chunks(BLOCK).zip(up.par_chunks(BLOCK)).zip(grad.par_chunks(BLOCK));
        let outputs = gate_grad.par_chunks_mut(BLOCK).zip(up_grad.par_chunks_mut(BLOCK));
        inputs.zip(outputs).for_each(|(((gate, up), grad), (gate_grad, up_grad))| match activation {
            Activation::Silu => silu_backward(gate, up, grad, gate_grad, up_grad),
            Activation::GeluTanh => gelu_backward(gate, up, grad, gate_grad, up_grad),
        });
        (tensor(gate_grad, shape), tensor(up_grad, shape))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn silu_forward(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
        *out = g / (1.0 + exp(-g)) * u;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn gelu_forward(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
        *out = 0.5 * g * (1.0 + tanh(GELU_SCALE * (g + GELU_CUBIC * g * g * g))) * u;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn silu_backward(gate: &[f32], up: &[f32], grad: &[f32], gate_grad: &mut [f32], up_grad: &mut [f32]) {
    let inputs = gate.iter().zip(up).zip(grad);
    for (((&g, &u), &dy), (dg, du)) in inputs.zip(gate_grad.iter_mut().zip(up_grad)) {
        let sigmoid = 1.0 / (1.0 + exp(-g));
        *du = dy * g * sigmoid;
        *dg = dy * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn gelu_backward(gate: &[f32], up: &[f32], grad: &[f32], gate_grad: &mut [f32], up_grad: &mut [f32]) {
    let inputs = gate.iter().zip(up).zip(grad);
    for (((&g, &u), &dy), (dg, du)) in inputs.zip(gate_grad.iter_mut().zip(up_grad)) {
        let t = tanh(GELU_SCALE * (g + GELU_CUBIC * g * g * g));
        let inner = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * g * g);
        *du = dy * 0.5 * g * (1.0 + t);
        *dg = dy * u * 0.5 * (1.0 + t + g * (1.0 - t * t) * inner);
    }
}
