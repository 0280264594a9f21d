//! Which kernels a tensor can take.

use burn::tensor::{DType, Tensor};

/// Whether `tensor` lives on Burn's CPU backend in f32, where our native kernels run.
pub(crate) fn is_native<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_flex(tensor)
}

#[cfg(feature = "flex")]
fn on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

#[cfg(not(feature = "flex"))]
fn on_flex<const D: usize>(_tensor: &Tensor<D>) -> bool {
    false
}
