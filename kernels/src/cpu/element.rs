//! The types that tensors hold.

use std::borrow::Cow;
use std::ops::Range;

use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

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

    /// Lets `compute` fill f32 zeros, then has them in `to`, which holds zeros.
    fn fill(to: &mut [Self], compute: impl FnOnce(&mut [f32])) {
        let mut wide = vec![0.0; to.len()];
        compute(&mut wide);
        Self::narrow(&wide, to);
    }

    /// Lets `change` change numbers in f32, and rounds them to this type.
    fn change(numbers: &mut [Self], change: impl FnOnce(&mut [f32])) {
        let mut wide = vec![0.0; numbers.len()];
        Self::widen(numbers, &mut wide);
        change(&mut wide);
        Self::narrow(&wide, numbers);
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

    fn fill(to: &mut [Self], compute: impl FnOnce(&mut [f32])) {
        compute(to);
    }

    fn change(numbers: &mut [Self], change: impl FnOnce(&mut [f32])) {
        change(numbers);
    }
}

impl Element for f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

impl Element for bf16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

/// The elements of a contiguous tensor of one of these types.
#[derive(Clone, Copy)]
pub(crate) enum Stored<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> Stored<'a> {
    pub(crate) fn of(tensor: &'a FlexTensor) -> Self {
        match tensor.dtype() {
            DType::F32 => Self::F32(Element::slice(tensor)),
            DType::F16 => Self::F16(Element::slice(tensor)),
            DType::BF16 => Self::Bf16(Element::slice(tensor)),
            other => panic!("native kernels are given f32, f16 or bf16, got {other:?}"),
        }
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::F16(elements) => elements.len(),
            Self::Bf16(elements) => elements.len(),
        }
    }

    /// Some of the elements.
    pub(crate) fn slice(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(elements) => Self::F32(&elements[range]),
            Self::F16(elements) => Self::F16(&elements[range]),
            Self::Bf16(elements) => Self::Bf16(&elements[range]),
        }
    }

    /// Every element as f32, rounded to `dtype` if that has not room for it.
    pub(crate) fn read(self, dtype: DType, to: &mut [f32]) {
        match self {
            Self::F32(elements) => f32::widen(elements, to),
            Self::F16(elements) => f16::widen(elements, to),
            Self::Bf16(elements) => bf16::widen(elements, to),
        }
        match (self, dtype) {
            (Self::Bf16(_), DType::BF16) | (Self::F16(_), DType::F16) => {}
            _ => round(dtype, to),
        }
    }

    /// The same, without a copy where there is nothing to change.
    pub(crate) fn wide(self, dtype: DType) -> Cow<'a, [f32]> {
        match (self, dtype) {
            (Self::F32(elements), DType::F32) => elements.into(),
            _ => {
                let mut wide = vec![0.0; self.len()];
                self.read(dtype, &mut wide);
                wide.into()
            }
        }
    }
}

/// Rounds numbers to those that `dtype` has.
pub(crate) fn round(dtype: DType, numbers: &mut [f32]) {
    match dtype {
        DType::BF16 => numbers.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32()),
        DType::F16 => numbers.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32()),
        _ => {}
    }
}

/// A tensor of `values` rounded to `dtype`, one of [`Stored`].
pub(crate) fn rounded<const D: usize>(values: Vec<f32>, shape: [usize; D], dtype: DType) -> FlexTensor {
    fn narrow<E: Element>(values: &[f32]) -> Vec<E> {
        let mut narrow = vec![E::default(); values.len()];
        E::narrow(values, &mut narrow);
        narrow
    }
    FlexTensor::from_data(match dtype {
        DType::F32 => TensorData::new(values, shape),
        DType::F16 => TensorData::new(narrow::<f16>(&values), shape),
        DType::BF16 => TensorData::new(narrow::<bf16>(&values), shape),
        other => panic!("native kernels make f32, f16 or bf16, not {other:?}"),
    })
}
