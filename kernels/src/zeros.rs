//! Tensors of zeros.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Zeros. Those that Burn makes for the CPU are copied once, so that for a moment they take twice their memory.
pub fn zeros<const D: usize>(shape: [usize; D], device: &Device, dtype: DType) -> Tensor<D> {
    match on_cpu(shape, device, dtype) {
        Some(data) => Tensor::from_data(data, (device, dtype)),
        None => Tensor::zeros(shape, (device, dtype)),
    }
}

#[cfg(feature = "flex")]
fn on_cpu<const D: usize>(shape: [usize; D], device: &Device, dtype: DType) -> Option<TensorData> {
    let elements = shape.iter().product();
    match dtype {
        _ if !crate::device::is_flex(device) => None,
        DType::F32 => Some(TensorData::new(of(0f32, elements), shape)),
        DType::BF16 => Some(TensorData::new(of(half::bf16::ZERO, elements), shape)),
        _ => None,
    }
}

/// So many of these numbers, which may be moments that last.
#[cfg(feature = "flex")]
fn of<T: Clone>(zero: T, elements: usize) -> Vec<T> {
    let mut all = crate::allocator::lasting(elements);
    all.resize(elements, zero);
    all
}

#[cfg(not(feature = "flex"))]
fn on_cpu<const D: usize>(_shape: [usize; D], _device: &Device, _dtype: DType) -> Option<TensorData> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::everywhere;

    #[test]
    fn of_any_type_on_any_device() {
        for case in everywhere() {
            let made = zeros([3, 5], &case.device, case.dtype);
            assert_eq!((made.dims(), made.dtype()), ([3, 5], case.dtype));
            let numbers = made.into_data().convert::<f32>().try_to_vec::<f32>().unwrap();
            assert_eq!(numbers, [0.0; 15], "{case:?}");
        }
    }
}
