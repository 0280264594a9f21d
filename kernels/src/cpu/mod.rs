//! What the native CPU kernels share: views of flex tensors, matrix products and elementary functions that the compiler
//! can vectorise.

mod bf16_product;
mod element;
mod factor;
mod math;
mod matrix;

use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;

pub(crate) use bf16_product::multiplies_bf16;
pub(crate) use element::{Element, Stored, round, rounded};
pub(crate) use factor::Factor;
pub(crate) use math::{dot, exp, exp_and_sum, exp_sum, max, tanh, tanh_and_slope};
pub(crate) use matrix::{Matrix, MatrixMut, Numbers, Threads};

/// How many rows one task takes: enough work to pay for scheduling it, and a fixed number, so that sums over tasks
/// come out the same whatever the number of threads.
pub(crate) const ROWS_PER_TASK: usize = 32;

/// The tensor with its elements in row-major order (a copy only if they are not).
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The elements of a contiguous f32 tensor.
pub(crate) fn floats(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("native kernels are given contiguous f32 tensors")
}

/// A tensor whose memory holds its elements and nothing else: what may be written in place.
pub(crate) fn own_memory(tensor: FlexTensor) -> FlexTensor {
    let bytes = tensor.layout().num_elements() * tensor.dtype().size();
    let whole = tensor.is_contiguous() && tensor.layout().start_offset() == 0 && tensor.bytes().len() == bytes;
    if whole { tensor } else { FlexTensor::from_data(tensor.into_data()) }
}

/// The elements of an integer tensor.
pub(crate) fn integers(tensor: &FlexTensor) -> Vec<i64> {
    let tensor = tensor.to_contiguous();
    match tensor.dtype() {
        DType::I32 => tensor.as_slice::<i32>().map(|s| s.iter().map(|&i| i64::from(i)).collect()),
        DType::U32 => tensor.as_slice::<u32>().map(|s| s.iter().map(|&i| i64::from(i)).collect()),
        DType::I64 => tensor.as_slice::<i64>().map(<[i64]>::to_vec),
        other => panic!("targets must be i32, u32 or i64, got {other:?}"),
    }
    .expect("a contiguous tensor is one slice")
}

/// A tensor owning `values`.
pub(crate) fn tensor<E: Element, const D: usize>(values: Vec<E>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
