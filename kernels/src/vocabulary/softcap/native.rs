//! On the CPU.

use multiversion::multiversion;

use crate::cpu::tanh_and_slope;

/// `cap · tanh(z / cap)` of every logit.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(crate) fn soft_cap(logits: &mut [f32], cap: f32) {
    logits.iter_mut().for_each(|z| *z = cap * tanh_and_slope(*z / cap).0);
}
