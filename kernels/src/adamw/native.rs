//! One pass over all four tensors, in place.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use half::{bf16, f16};
use multiversion::multiversion;
use rayon::prelude::*;

use super::kernel::AdamWKernel;
use super::{AdamWStep, Factors, SQUARES_BLOCK};
use crate::cpu::{Element, contiguous, dot, floats, own_memory};

/// Elements one task takes.
const BLOCK: usize = 65_536;

impl AdamWKernel for Flex {
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        momentum: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match momentum.dtype() {
            DType::F32 => with_moments::<f32>(param, grad, momentum, variance, step),
            DType::F16 => with_moments::<f16>(param, grad, momentum, variance, step),
            DType::BF16 => with_moments::<bf16>(param, grad, momentum, variance, step),
            other => panic!("adamw: expected moments of at most 32 bits, got {other:?}"),
        }
    }

    fn add_squares(sum: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = contiguous(x);
        let blocks: Vec<f64> = floats(&x).par_chunks(SQUARES_BLOCK).map(square_block).collect();
        let so_far = contiguous(sum).storage::<f64>()[0];
        FlexTensor::from_data(TensorData::new(vec![blocks.iter().fold(so_far, |sum, block| sum + block)], [1]))
    }
}

fn with_moments<M: Element>(
    param: FlexTensor,
    grad: FlexTensor,
    momentum: FlexTensor,
    variance: FlexTensor,
    step: AdamWStep,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let (mut param, mut momentum, mut variance) = (own_memory(param), own_memory(momentum), own_memory(variance));
    let grad = contiguous(grad);
    let factors = step.factors();
    param
        .storage_mut::<f32>()
        .par_chunks_mut(BLOCK)
        .zip(momentum.storage_mut::<M>().par_chunks_mut(BLOCK))
        .zip(variance.storage_mut::<M>().par_chunks_mut(BLOCK))
        .zip(floats(&grad).par_chunks(BLOCK))
        .for_each(|(((param, momentum), variance), grad)| {
            M::change(momentum, |momentum| {
                M::change(variance, |variance| update(param, momentum, variance, grad, factors));
            });
        });
    (param, momentum, variance)
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn update(param: &mut [f32], momentum: &mut [f32], variance: &mut [f32], grad: &[f32], by: Factors) {
    for (((param, momentum), variance), grad) in param.iter_mut().zip(momentum).zip(variance).zip(grad) {
        let grad = grad * by.grad_scale;
        *momentum = by.beta1 * *momentum + by.new1 * grad;
        *variance = by.beta2 * *variance + by.new2 * grad * grad;
        *param = *param * by.keep - by.rate * *momentum / (variance.sqrt() * by.inverse_root + by.eps);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn square_block(block: &[f32]) -> f64 {
    block.chunks(1_024).map(|part| f64::from(dot(part, part))).sum()
}
