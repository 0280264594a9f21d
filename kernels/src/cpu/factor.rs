//! Numbers as a factor of products.

use std::borrow::Cow;

use burn::tensor::DType;
use half::bf16;

use super::matrix::Numbers;
use super::{Element, Stored, multiplies_bf16};

/// The numbers that a type has for some stored ones, as products take them: bf16 where the CPU multiplies such, else f32.
pub(crate) enum Factor<'a> {
    F32(Cow<'a, [f32]>),
    Bf16(Cow<'a, [bf16]>),
}

impl<'a> Factor<'a> {
    pub(crate) fn of(stored: Stored<'a>, dtype: DType) -> Self {
        match stored {
            Stored::Bf16(numbers) if dtype == DType::BF16 && multiplies_bf16() => Self::Bf16(numbers.into()),
            // Rounded on the way, in one copy.
            Stored::F32(numbers) if dtype == DType::BF16 && multiplies_bf16() => Self::of_f32(numbers.into(), dtype),
            _ => Self::of_f32(stored.wide(dtype), dtype),
        }
    }

    /// Of f32 numbers, which `dtype` has or they are rounded to it.
    pub(crate) fn of_f32(numbers: Cow<'a, [f32]>, dtype: DType) -> Self {
        if dtype == DType::BF16 && multiplies_bf16() {
            let mut narrow = vec![bf16::ZERO; numbers.len()];
            bf16::narrow(&numbers, &mut narrow);
            Self::Bf16(narrow.into())
        } else {
            Self::F32(numbers)
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
        }
    }

    /// The numbers from this one on.
    pub(crate) fn from(&self, first: usize) -> Numbers<'_> {
        match self {
            Self::F32(numbers) => numbers[first..].into(),
            Self::Bf16(numbers) => numbers[first..].into(),
        }
    }
}
