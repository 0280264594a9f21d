//! CPUs that have no such instruction.

use crate::cpu::matrix::{Matrix, MatrixMut, Threads};

pub(crate) fn multiplies_bf16() -> bool {
    false
}

pub(crate) fn product(_: MatrixMut<'_>, _: bool, _: f32, _: Matrix<'_>, _: Matrix<'_>, _: Threads) {
    panic!("bf16 factors are for CPUs that multiply them");
}
