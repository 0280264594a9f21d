//! The types that tensors hold.

use std::borrow::Cow;

use burn_flex::FlexTensor;
use half::slice::HalfFloatSliceExt;

/// Float types our kernels read and write; they compute in f32.
pub(crate) trait Element: burn::tensor::Element + bytemuck::Pod + Default {
    /// f32 of every element.
    fn widen(from: &[Self], to: &mut [f32]);

    /// Every number rounded to this type.
    fn narrow(from: &[f32], to: &mut [Self]);

    /// The elements as f32: themselves, or widened into `scratch`.
    fn widened<'a>(from: &'a [Self], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        scratch.resize(from.len(), 0.0);
        Self::widen(from, scratch);
        scratch
    }

    /// All elements as f32, kept for long.
    fn wide(from: &[Self]) -> Cow<'_, [f32]> {
        let mut wide = vec![0.0; from.len()];
        Self::widen(from, &mut wide);
        wide.into()
    }

    /// Lets `compute` fill f32 zeros, then has them in `to`, which holds zeros.
    fn fill(to: &mut [Self], compute: impl FnOnce(&mut [f32])) {
        let mut wide = vec![0.0; to.len()];
        compute(&mut wide);
        Self::narrow(&wide, to);
    }

    /// The elements of a contiguous tensor of this type.
    fn slice(tensor: &FlexTensor) -> &[Self] {
        tensor.as_slice::<Self>().expect("native kernels are given contiguous tensors of the type they ask for")
    }
}

impl Element for f32 {
    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn widened<'a>(from: &'a [Self], _: &'a mut Vec<f32>) -> &'a [f32] {
        from
    }

    fn wide(from: &[Self]) -> Cow<'_, [f32]> {
        from.into()
    }

    fn fill(to: &mut [Self], compute: impl FnOnce(&mut [f32])) {
        compute(to);
    }
}

impl Element for half::f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

impl Element for half::bf16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}
