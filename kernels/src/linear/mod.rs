//! The linear map with weights as checkpoints store them.

#[cfg(feature = "flex")]
mod autodiff;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::tensor::Tensor;

/// `x · weightᵀ`: `x` `[rows, inputs]`, `weight` `[outputs, inputs]` (the Hugging Face layout), result `[rows, outputs]`.
///
/// Differentiable in both. The weight's gradient comes out in the weight's own layout, so that the optimizer reads
/// all four of its tensors in order.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::device::is_native(&x) {
        use burn::backend::Dispatch;
        return Tensor::from_dispatch(<Dispatch as native::LinearKernel>::linear_product(
            x.into_dispatch(),
            weight.into_dispatch(),
        ));
    }
    reference::linear(x, weight)
}

#[cfg(test)]
mod tests {
    use super::{linear, reference};
    use crate::testing::{check_gradients, check_kernel, native, random};

    #[test]
    fn native_is_no_worse_than_the_composition() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 47, 31), (31, 123, 7), (130, 64, 200)] {
            check_kernel(
                &native(),
                &[random(&[rows, inputs], 1), random(&[outputs, inputs], 2)],
                |t| linear(t[0].d2(), t[1].d2()),
                |t| reference::linear(t[0].d2(), t[1].d2()),
            );
        }
    }

    #[test]
    fn reference_gradient_is_the_finite_difference() {
        check_gradients(&[random(&[3, 4], 3), random(&[5, 4], 4)], |t| {
            reference::linear(t[0].d2(), t[1].d2())
        });
    }
}
