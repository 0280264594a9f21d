//! AdamW (Loshchilov & Hutter, 2019) over one tensor, and the norm that clipping needs.
//!
//! Burn's own optimizer makes a dozen passes over every parameter and clips each tensor by itself; a step of MPO wants
//! one pass, in place, and the norm over all of them.

#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// One update's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, a fraction of the weight times `lr`.
    pub weight_decay: f64,
    /// Steps taken, this one included: 1 at the first.
    pub step: u64,
    /// Factor on the gradient: clipping, and the mean over an accumulated batch.
    pub grad_scale: f64,
}

/// A parameter and its moments after a step.
#[derive(Debug, Clone)]
pub struct Updated<const D: usize> {
    /// The parameter.
    pub param: Tensor<D>,
    /// First moment.
    pub momentum: Tensor<D>,
    /// Second moment.
    pub variance: Tensor<D>,
}

/// `variance = β₂ v + (1 − β₂) g²`, `momentum = β₁ m + (1 − β₁) g`, `param −= lr (m̂ / (√v̂ + eps) + weight_decay · param)`.
///
/// All without autodiff. In place, where nothing else holds the tensors.
///
/// # Panics
/// If they are not of one shape and type.
pub fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    momentum: Tensor<D>,
    variance: Tensor<D>,
    step: AdamWStep,
) -> Updated<D> {
    let shapes = [grad.dims(), momentum.dims(), variance.dims()];
    let dtypes = [grad.dtype(), momentum.dtype(), variance.dtype()];
    assert!(
        shapes.iter().all(|shape| *shape == param.dims()) && dtypes.iter().all(|dtype| *dtype == param.dtype()),
        "adamw_step: expected four tensors of one shape and type, got {:?} {:?} and {shapes:?} {dtypes:?}",
        param.dims(),
        param.dtype()
    );
    if crate::device::has_kernel(&param) {
        let (param, momentum, variance) = <Dispatch as kernel::AdamWKernel>::adamw(
            param.into_dispatch(),
            grad.into_dispatch(),
            momentum.into_dispatch(),
            variance.into_dispatch(),
            step,
        );
        return Updated {
            param: Tensor::from_dispatch(param),
            momentum: Tensor::from_dispatch(momentum),
            variance: Tensor::from_dispatch(variance),
        };
    }
    reference::adamw_step(param, grad, momentum, variance, step)
}

/// Σ x², for the global norm; `[1]`, left on the device so that the sums over all parameters can be read at once.
pub fn squared_l2_norm<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    if crate::device::has_kernel(&tensor) {
        return Tensor::from_dispatch(<Dispatch as kernel::AdamWKernel>::sum_of_squares(tensor.into_dispatch()));
    }
    tensor.square().sum()
}

/// What the update multiplies with, in the precision of the kernels.
#[cfg(any(feature = "flex", feature = "cube"))]
#[derive(Clone, Copy)]
struct Factors {
    grad_scale: f32,
    beta1: f32,
    beta2: f32,
    /// 1 − β, taken in f64: in f32 it would be off by 1e-5.
    new1: f32,
    new2: f32,
    keep: f32,
    rate: f32,
    inverse_root: f32,
    eps: f32,
}

impl AdamWStep {
    #[cfg(any(feature = "flex", feature = "cube"))]
    fn factors(&self) -> Factors {
        let (first, second) = self.bias_corrections();
        Factors {
            grad_scale: self.grad_scale as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            new1: (1.0 - self.beta1) as f32,
            new2: (1.0 - self.beta2) as f32,
            keep: (1.0 - self.lr * self.weight_decay) as f32,
            rate: (self.lr / first) as f32,
            inverse_root: (1.0 / second.sqrt()) as f32,
            eps: self.eps as f32,
        }
    }

    /// 1 − β₁ᵗ and 1 − β₂ᵗ.
    fn bias_corrections(&self) -> (f64, f64) {
        let power = |beta: f64| 1.0 - beta.powf(self.step as f64);
        (power(self.beta1), power(self.beta2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    use crate::testing::{everywhere, random};

    const STEP: AdamWStep =
        AdamWStep { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.5, step: 1, grad_scale: 2.0 };

    #[test]
    fn first_step_by_hand() {
        // g = 2·0.5 = 1; m = 0.1, v = 0.001; corrected both 1; param = 3·(1 − 0.1·0.5) − 0.1·1 = 2.75
        let device = Device::flex();
        let one = |x: f32| Tensor::<1>::from_data([x], &device);
        let updated = adamw_step(one(3.0), one(0.5), one(0.0), one(0.0), STEP);
        let close = |t: Tensor<1>, want: f32| assert!((t.into_scalar::<f32>() - want).abs() < 1e-6);
        close(updated.param, 2.75);
        close(updated.momentum, 0.1);
        close(updated.variance, 0.001);
    }

    #[test]
    fn kernels_match_the_composition() {
        for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
            kernel_is_the_composition(&case.device);
        }
    }

    fn kernel_is_the_composition(device: &Device) {
        let tensor = |seed| random(&[37, 1_001], seed).on(device).d2();
        let (param, grad, momentum, variance) = (tensor(1), tensor(2), tensor(3), tensor(4).abs());
        let step = AdamWStep { step: 7, ..STEP };
        let native = adamw_step(param.clone(), grad.clone(), momentum.clone(), variance.clone(), step);
        let plain = reference::adamw_step(param, grad.clone(), momentum, variance, step);
        let apart = |a: Tensor<2>, b: Tensor<2>| (a - b).abs().max().into_scalar::<f32>();
        // A variance near zero makes some of these updates large.
        assert!(apart(native.param, plain.param) < 1e-5);
        assert!(apart(native.momentum, plain.momentum) < 1e-6);
        assert!(apart(native.variance, plain.variance) < 1e-6);
        let sum: f32 = grad.clone().square().sum().into_scalar();
        let squares: f32 = squared_l2_norm(grad).into_scalar();
        assert!((squares / sum - 1.0).abs() < 1e-5);
    }
}
