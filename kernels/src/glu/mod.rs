//! Gated linear units (Shazeer, 2020): SwiGLU for LLaMA and Qwen, GeGLU with the tanh approximation for Gemma.

mod autodiff;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

/// √(2/π)
#[cfg(any(feature = "flex", feature = "cube"))]
const GELU_SCALE: f32 = 0.797_884_6;
#[cfg(any(feature = "flex", feature = "cube"))]
const GELU_CUBIC: f32 = 0.044_715;

/// The gate's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x · σ(x)
    Silu,
    /// x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    GeluTanh,
}

/// `activation(gate) · up`, all `[rows, width]`. Differentiable in both; the activation itself is not saved.
///
/// # Panics
/// If the two differ in shape or type.
pub fn gated_linear_unit(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    assert!(
        gate.dims() == up.dims() && gate.dtype() == up.dtype(),
        "gated_linear_unit: expected two tensors of one shape and type, got {:?} {:?} and {:?} {:?}",
        gate.dims(),
        gate.dtype(),
        up.dims(),
        up.dtype()
    );
    if crate::device::has_kernel(&gate) {
        return Tensor::from_dispatch(<Dispatch as kernel::GluKernel>::glu(
            gate.into_dispatch(),
            up.into_dispatch(),
            activation,
        ));
    }
    if crate::device::is_native_once_wide(&gate) {
        let dtype = gate.dtype();
        return gated_linear_unit(gate.cast(DType::F32), up.cast(DType::F32), activation).cast(dtype);
    }
    reference::gated_linear_unit(gate, up, activation)
}

#[cfg(test)]
mod tests {
    use super::{Activation, gated_linear_unit, reference};
    use crate::testing::{check_gradients, check_kernel, everywhere, random};

    #[test]
    fn by_hand() {
        // silu(1) = 1/(1+e⁻¹) = 0.731059; gelu_tanh(1) = (1 + tanh(0.797885·1.044715))/2 = 0.841192
        let device = burn::tensor::Device::flex();
        let at = |x: f32| burn::tensor::Tensor::<2>::from_data([[x]], &device);
        for (activation, want) in [(Activation::Silu, 0.731_059), (Activation::GeluTanh, 0.841_192)] {
            let got: f32 = gated_linear_unit(at(1.0), at(2.0), activation).into_scalar();
            assert!((got - 2.0 * want).abs() < 2e-6, "{activation:?}: {got}");
        }
    }

    #[test]
    fn no_worse_than_the_composition() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            for (rows, width) in [(1, 1), (3, 47), (31, 123)] {
                check_kernel(
                    &everywhere(),
                    &[random(&[rows, width], 1), random(&[rows, width], 2)],
                    |t| gated_linear_unit(t[0].d2(), t[1].d2(), activation),
                    |t| reference::gated_linear_unit(t[0].d2(), t[1].d2(), activation),
                );
            }
        }
    }

    #[test]
    fn reference_gradient_is_the_finite_difference() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            check_gradients(&[random(&[2, 5], 3), random(&[2, 5], 4)], |t| {
                reference::gated_linear_unit(t[0].d2(), t[1].d2(), activation)
            });
        }
    }
}
