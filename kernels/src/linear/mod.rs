//! The linear map with weights as checkpoints store them.

mod autodiff;
mod composition;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
pub(crate) mod few_rows;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
pub(crate) mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor};

/// Up to so many rows, as generating has, [`linear`] on the CPU adds in another order than beyond: the fastest for them, and the
/// same for a row whatever stands beside it. Who compares rows of small and large batches to the bit gives it more.
pub const FEW_ROWS: usize = 16;

/// `x · weightᵀ`: `x` `[rows, inputs]`, `weight` `[outputs, inputs]` (the Hugging Face layout), result `[rows, outputs]`.
///
/// The type of `x` says what is computed in, and is that of the result: a weight of another type is cast for the product,
/// forward and backward, and its gradient comes out in the weight's own type. So bf16 rows beside f32 weights are bf16
/// compute on f32 parameters, and f32 rows beside bf16 weights are a frozen model in half the memory. Sums are in f32, and the
/// factors of an f32 product are not rounded (as to TF32), on any device.
///
/// Differentiable in both. The weight's gradient is in the weight's own layout, so that the optimizer reads all four of its
/// tensors in order. An argument that asks for no gradient costs no product, and nothing is saved for its sake.
///
/// # Panics
/// On other shapes, or on f64 beside another type.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    assert!(
        x.dims()[1] == weight.dims()[1] && (x.dtype() == DType::F64) == (weight.dtype() == DType::F64),
        "linear: expected x [rows, inputs] and weight [outputs, inputs], both or neither f64, got {:?} {:?} and {:?} {:?}",
        x.dims(),
        x.dtype(),
        weight.dims(),
        weight.dtype()
    );
    if crate::device::wants_reference() {
        return reference::linear(x, weight);
    }
    Tensor::from_dispatch(<Dispatch as kernel::LinearKernel>::linear_product(x.into_dispatch(), weight.into_dispatch()))
}

/// Whether [`linear`] on this device reads bf16 weights block by block, so that beside f32 rows they take no more than
/// themselves.
pub fn linear_widens(device: &Device) -> bool {
    crate::device::is_flex(device)
}

#[cfg(test)]
mod tests;
