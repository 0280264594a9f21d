//! One pass; the backward is the turn the other way.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use super::kernel::{Direction, RopeKernel};
use crate::cpu::{ROWS_PER_TASK, contiguous, floats, tensor};

impl RopeKernel for Flex {
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        direction: Direction,
    ) -> FloatTensor<Self> {
        let (x, cos, sin) = (contiguous(x), contiguous(cos), contiguous(sin));
        let [tokens, width]: [usize; 2] = x.layout().shape().dims();
        let half = cos.layout().shape()[1];
        let sign = direction.sign();
        let mut out = vec![0.0; tokens * width];
        out.par_chunks_mut(ROWS_PER_TASK * width)
            .zip(floats(&x).par_chunks(ROWS_PER_TASK * width))
            .zip(floats(&cos).par_chunks(ROWS_PER_TASK * half))
            .zip(floats(&sin).par_chunks(ROWS_PER_TASK * half))
            .for_each(|(((out, x), cos), sin)| rotate(x, cos, sin, sign, width, out));
        tensor(out, [tokens, width])
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn rotate(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, width: usize, out: &mut [f32]) {
    let half = cos.len() * width / x.len();
    let tokens = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for ((x, out), (cos, sin)) in tokens.zip(cos.chunks_exact(half).zip(sin.chunks_exact(half))) {
        for (x, out) in x.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)) {
            let (a, b) = x.split_at(half);
            let (out_a, out_b) = out.split_at_mut(half);
            for i in 0..half {
                let sin = sign * sin[i];
                out_a[i] = a[i] * cos[i] - b[i] * sin;
                out_b[i] = b[i] * cos[i] + a[i] * sin;
            }
        }
    }
}
