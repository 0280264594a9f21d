//! Which kernels a tensor can take.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{DType, Device, Tensor};

static REFERENCE: AtomicBool = AtomicBool::new(false);

/// Runs the plain compositions of Burn operations in place of our kernels from now on, or our kernels again.
///
/// For the whole process: to measure what the kernels are worth, and to tell a kernel's fault from a model's.
pub fn use_reference(reference: bool) {
    REFERENCE.store(reference, Ordering::Relaxed);
}

/// What kind of device this is for products in `dtype`: its backend and, of a GPU, the part and what kernels are compiled for
/// there; of a CPU, whether it has an instruction for them. Numbers computed on one kind are not those of another to the bit.
pub fn device_kind(device: &Device, dtype: DType) -> String {
    #[cfg(feature = "cube")]
    if let Some(identity) = device.identity() {
        return format!("{} {}", identity.fingerprint, identity.name);
    }
    let kind = format!("{:?}", device.clone().inner());
    #[cfg(feature = "flex")]
    if is_flex(device) && dtype == DType::BF16 && crate::cpu::multiplies_bf16() {
        return format!("{kind} that multiplies bf16");
    }
    #[cfg(not(feature = "flex"))]
    let _ = dtype;
    kind
}

/// A device for people: as [`device_kind`], and Burn's CPU backend as `flex`.
pub fn device_name(device: &Device) -> String {
    if is_flex(device) { "flex".into() } else { device_kind(device, DType::F32) }
}

/// Burn's CPU backend, for what is computed or kept on the CPU whatever the device; none in a build without it.
pub fn host() -> Option<Device> {
    #[cfg(feature = "flex")]
    return Some(Device::flex());
    #[cfg(not(feature = "flex"))]
    None
}

/// What a GPU's memory takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// All of it, bytes, where the driver says; WebGPU does not.
    pub total: Option<u64>,
    /// The largest tensor, bytes.
    pub largest: u64,
}

/// What the memory of a GPU takes; none of the CPU, whose memory is the machine's.
pub fn device_memory(device: &Device) -> Option<DeviceMemory> {
    #[cfg(feature = "cube")]
    if let burn::backend::DispatchDevice::Cube(device) = device.clone().inner().as_dispatch() {
        let client = device.client();
        let memory = &client.properties().memory;
        return Some(DeviceMemory { total: memory.max_memory(), largest: memory.max_page_size });
    }
    #[cfg(not(feature = "cube"))]
    let _ = device;
    None
}

/// Whether [`use_reference`] asked for the compositions.
pub(crate) fn wants_reference() -> bool {
    REFERENCE.load(Ordering::Relaxed)
}

/// Whether `tensor` is where the kernels with a CubeCL version run: any type up to 32 bits on a CubeCL device, or where
/// [`is_native`] says.
pub(crate) fn has_kernel<const D: usize>(tensor: &Tensor<D>) -> bool {
    let on_cube =
        on_cube(tensor) && matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) && !wants_reference();
    on_cube || is_native(tensor)
}

/// Whether `tensor` lives on Burn's CPU backend in f32, where our native kernels run.
pub(crate) fn is_native<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_flex(tensor) && !wants_reference()
}

/// Whether `tensor` is of 16 bits on Burn's CPU backend. Our native kernels take it widened, so that it is rounded where the
/// kernels of a GPU round: what goes in and what comes out, and nothing between.
pub(crate) fn is_native_once_wide<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::F16 | DType::BF16) && on_flex(tensor) && !wants_reference()
}

fn on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_flex(&tensor.device())
}

/// Whether a device is Burn's CPU backend, with or without autodiff.
#[cfg(feature = "flex")]
pub(crate) fn is_flex(device: &Device) -> bool {
    let device = device.clone().inner();
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

#[cfg(not(feature = "flex"))]
pub(crate) fn is_flex(_device: &Device) -> bool {
    false
}

/// Whether `tensor` is on a CubeCL device.
#[cfg(feature = "cube")]
pub(crate) fn on_cube<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Cube(_))
}

#[cfg(not(feature = "cube"))]
pub(crate) fn on_cube<const D: usize>(_tensor: &Tensor<D>) -> bool {
    false
}
