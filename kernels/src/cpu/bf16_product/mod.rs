//! Products of bf16 numbers, with sums in f32, by the instruction that x86 has for them (AVX-512 BF16): two products a
//! lane, so twice as many a cycle as in f32.
//!
//! Both factors are packed into panels of pairs along the inner dimension, and rounded to bf16 on the way if they are f32.
//! Numbers below 2⁻¹²⁶ count as zero. A row's result does not depend on the rows beside it.

#[cfg(not(target_arch = "x86_64"))]
mod other;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::{multiplies_bf16, product};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{multiplies_bf16, product};

#[cfg(test)]
mod tests;
