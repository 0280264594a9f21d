//! Products of bf16 numbers, with sums in f32, by the instruction that x86 has for them (AVX-512 BF16): two products a
//! lane, so twice as many a cycle as in f32.
//!
//! Both factors are packed into panels of pairs along the inner dimension, and rounded to bf16 on the way if they are f32.
//! Numbers below 2⁻¹²⁶ count as zero. A row's result does not depend on the rows beside it.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::matrix::{Matrix, MatrixMut, Threads};

/// Whether this CPU multiplies bf16 numbers.
pub(crate) fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = x86::has_the_instructions();
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

/// `out = scale · lhs · rhs`, or that added to it.
///
/// # Panics
/// Where this CPU does not [multiply](multiplies_bf16) such numbers.
pub(super) fn product(
    out: MatrixMut<'_>,
    accumulate: bool,
    scale: f32,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    threads: Threads,
) {
    assert!(multiplies_bf16(), "bf16 factors are for CPUs that multiply them");
    #[cfg(target_arch = "x86_64")]
    x86::product(out, accumulate, scale, lhs, rhs, threads);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (out, accumulate, scale, lhs, rhs, threads);
}

#[cfg(test)]
mod tests;
