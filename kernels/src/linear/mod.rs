//! The linear map with weights as checkpoints store them.

#[cfg(feature = "flex")]
mod autodiff;
#[cfg(feature = "flex")]
mod few_rows;
#[cfg(feature = "flex")]
mod kernel;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::tensor::{Device, Tensor};

/// `x · weightᵀ`: `x` `[rows, inputs]`, `weight` `[outputs, inputs]` (the Hugging Face layout), result `[rows, outputs]`.
///
/// Differentiable in both. The weight's gradient comes out in the weight's own layout, so that the optimizer reads
/// all four of its tensors in order.
///
/// Where [`linear_widens`] says so, `weight` may be bf16 beside an f32 `x`; then there is no gradient, and asking for one
/// panics.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::device::is_native(&x) {
        use burn::backend::Dispatch;
        return Tensor::from_dispatch(<Dispatch as kernel::LinearKernel>::linear_product(
            x.into_dispatch(),
            weight.into_dispatch(),
        ));
    }
    reference::linear(x, weight)
}

/// Whether [`linear`] on this device takes bf16 weights for f32 rows, and widens them as it reads.
pub fn linear_widens(device: &Device) -> bool {
    crate::device::is_flex(device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::{linear, reference};
    use crate::testing::{check_gradients, check_kernel, native, random};

    #[test]
    fn native_is_no_worse_than_the_composition() {
        for (rows, inputs, outputs) in
            [(1, 1, 1), (1, 40, 700), (3, 47, 31), (8, 33, 300), (31, 123, 7), (130, 64, 200)]
        {
            check_kernel(
                &native(),
                &[random(&[rows, inputs], 1), random(&[outputs, inputs], 2)],
                |t| linear(t[0].d2(), t[1].d2()),
                |t| reference::linear(t[0].d2(), t[1].d2()),
            );
        }
    }

    #[test]
    fn bf16_weights_are_widened() {
        let device = Device::flex();
        for (rows, inputs, outputs) in [(1, 1, 1), (1, 40, 700), (6, 33, 300), (40, 64, 1_500)] {
            let weight = random(&[outputs, inputs], 1).on(&device).d2().cast(DType::BF16);
            let x = random(&[rows, inputs], 2).on(&device).d2();
            let want = linear(x.clone(), weight.clone().cast(DType::F32));
            let apart: f32 = (linear(x, weight) - want).abs().max().into_scalar();
            assert!(apart < 1e-4, "{rows} rows: {apart}");
        }
    }

    #[test]
    #[should_panic(expected = "f32")]
    fn gradients_through_bf16_weights_are_refused() {
        let device = Device::flex().autodiff();
        let weight = random(&[5, 4], 1).on(&device).d2().cast(DType::BF16);
        let x = random(&[3, 4], 2).on(&device).d2().require_grad();
        linear(x, weight).sum().backward();
    }

    #[test]
    fn reference_gradient_is_the_finite_difference() {
        check_gradients(&[random(&[3, 4], 3), random(&[5, 4], 4)], |t| reference::linear(t[0].d2(), t[1].d2()));
    }
}
