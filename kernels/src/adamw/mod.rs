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
use burn::tensor::{DType, Tensor};

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
/// All without autodiff. In place, where nothing else holds the tensors. The moments may have a type of their own: they are
/// computed in f32, the parameter is updated with what was computed, and then they are rounded to nearest.
///
/// In bf16, which has numbers 0.4 to 0.8 % apart, a second moment cannot shrink by the 0.1 % a step of β₂ = 0.999. It makes
/// no difference for as long as its average is young; after thousands of steps it is too large.
///
/// # Panics
/// If they are not of one shape, or parameter and gradient, or the two moments, are not of one type.
pub fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    momentum: Tensor<D>,
    variance: Tensor<D>,
    step: AdamWStep,
) -> Updated<D> {
    let shapes = [grad.dims(), momentum.dims(), variance.dims()];
    let dtypes = [param.dtype(), grad.dtype(), momentum.dtype(), variance.dtype()];
    assert!(
        shapes.iter().all(|shape| *shape == param.dims()) && dtypes[0] == dtypes[1] && dtypes[2] == dtypes[3],
        "adamw_step: expected four tensors of one shape, the first two and the last two of one type, got {:?}, {shapes:?} \
         {dtypes:?}",
        param.dims(),
    );
    if crate::device::has_kernel(&param) && momentum.dtype() != DType::F64 {
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

/// Numbers whose squares the CPU sums by themselves, before it adds up the sums.
pub const SQUARES_BLOCK: usize = 65_536;

/// Σ x², for the global norm; `[1]`, left on the device so that the sums over all parameters can be read at once.
pub fn squared_l2_norm<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    squared_l2_norm_of([tensor]).expect("one part")
}

/// The same of a tensor that comes in parts, each of which is dropped before the next is asked for; none if there are no parts.
/// On the CPU it is that of the whole to the bit, where all parts but the last have a multiple of [`SQUARES_BLOCK`] numbers.
pub fn squared_l2_norm_of<const D: usize>(parts: impl IntoIterator<Item = Tensor<D>>) -> Option<Tensor<1>> {
    unrounded_squares(parts).map(|sum| sum.cast(DType::F32))
}

/// The same as it was summed: in f64 on the CPU, so that parts of a tensor that lie in several processes come to what the whole
/// of it does, once their sum is rounded.
pub fn unrounded_squares<const D: usize>(parts: impl IntoIterator<Item = Tensor<D>>) -> Option<Tensor<1>> {
    let mut sum: Option<Tensor<1>> = None;
    for part in parts {
        let device = part.device();
        let is_narrow = matches!(part.dtype(), DType::F16 | DType::BF16) && !crate::device::has_kernel(&part);
        let part = if is_narrow { part.cast(DType::F32) } else { part };
        sum = Some(if crate::device::has_kernel(&part) {
            // The CPU sums in f64.
            let dtype = if crate::device::is_native(&part) { DType::F64 } else { DType::F32 };
            let so_far = sum.unwrap_or_else(|| Tensor::zeros([1], (&device, dtype)));
            Tensor::from_dispatch(<Dispatch as kernel::AdamWKernel>::add_squares(
                so_far.into_dispatch(),
                part.into_dispatch(),
            ))
        } else {
            let squares = part.square().sum();
            match sum {
                Some(sum) => sum + squares,
                None => squares,
            }
        });
    }
    sum
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
    use burn::tensor::{Device, TensorData};

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

    /// Numbers of `scale` and what moments of such gradients are, in a type of their own, rounded so that it has them.
    fn inputs(scale: f64, device: &Device, moments: DType) -> [Tensor<2>; 4] {
        const SHAPE: [usize; 2] = [37, 1_001];
        let tensor = |values: Vec<f64>| {
            let data = TensorData::new(values, SHAPE).convert_dtype(DType::F32);
            Tensor::<2>::from_data(data, (device, DType::F32))
        };
        let numbers = |seed, scale| random(&SHAPE, seed).scaled(scale).values();
        let squares = numbers(4, scale).iter().map(|x| x * x).collect();
        let [param, grad] = [tensor(numbers(1, 1.0)), tensor(numbers(2, scale))];
        [param, grad, tensor(numbers(3, scale)).cast(moments), tensor(squares).cast(moments)]
    }

    fn updated(inputs: [Tensor<2>; 4]) -> [Tensor<2>; 3] {
        let [param, grad, momentum, variance] = inputs;
        let updated = adamw_step(param, grad, momentum, variance, AdamWStep { step: 7, ..STEP });
        [updated.param, updated.momentum, updated.variance]
    }

    fn bits(tensor: Tensor<2>) -> Vec<u32> {
        let values = tensor.cast(DType::F32).into_data().try_to_vec::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn moments_of_16_bits_are_those_of_32_rounded() {
        let half = everywhere().into_iter().filter(|case| case.dtype != DType::F32);
        for (case, scale) in half.flat_map(|case| [1.0, 1e-2, 50.0].map(|scale| (case.clone(), scale))) {
            let narrow = inputs(scale, &case.device, case.dtype);
            let wide = narrow.clone().map(|tensor| tensor.cast(DType::F32));
            let [param, momentum, variance] = updated(wide);
            let [p, m, v] = updated(narrow);
            assert_eq!([p.dtype(), m.dtype(), v.dtype()], [DType::F32, case.dtype, case.dtype]);
            assert!(bits(p) == bits(param), "{case:?}: the parameter is updated with what was computed");
            assert!(bits(m) == bits(momentum.cast(case.dtype)), "{case:?}: first moment, {scale}");
            assert!(bits(v) == bits(variance.cast(case.dtype)), "{case:?}: second moment, {scale}");
        }
    }

    #[test]
    fn kernels_are_as_near_to_f64_as_the_composition() {
        let cases = everywhere().into_iter();
        for (case, scale) in cases.flat_map(|case| [1.0, 1e-2, 50.0].map(|scale| (case.clone(), scale))) {
            let inputs = inputs(scale, &case.device, case.dtype);
            let composed = |[param, grad, momentum, variance]: [Tensor<2>; 4]| {
                let step = AdamWStep { step: 7, ..STEP };
                let updated = reference::adamw_step(param, grad, momentum, variance, step);
                [updated.param, updated.momentum, updated.variance]
            };
            let exact = composed(inputs.clone().map(|tensor| {
                let data = tensor.into_data().convert_dtype(DType::F64);
                Tensor::from_data(data, (&Device::flex(), DType::F64))
            }));
            let (plain, ours) = (composed(inputs.clone()), updated(inputs));
            for (result, ((exact, plain), ours)) in exact.into_iter().zip(plain).zip(ours).enumerate() {
                let floats = |tensor: Tensor<2>| tensor.into_data().convert::<f64>().try_to_vec::<f64>().unwrap();
                let (exact, plain, ours) = (floats(exact), floats(plain), floats(ours));
                let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
                let apart = |of: &[f64]| norm(&mut of.iter().zip(&exact).map(|(x, exact)| x - exact));
                let allowed = 2.0 * apart(&plain) + 7e-7 * norm(&mut exact.iter().copied());
                assert!(
                    apart(&ours) <= allowed,
                    "{case:?}, {scale}, result {result}: {:e} of {allowed:e}",
                    apart(&ours)
                );
            }
        }
    }

    #[test]
    fn the_norm_is_that_in_f64_and_the_same_bits_in_every_run() {
        for case in everywhere() {
            // One number, rows that no vector divides, and more than one part with a rest.
            for shape in [[1, 1], [37, 1_001], [700, 10_000]] {
                let grad = random(&shape, 2).on(&case.device).d2().cast(case.dtype);
                let values = grad.clone().into_data().convert::<f64>().try_to_vec::<f64>().unwrap();
                let exact: f64 = values.iter().map(|x| x * x).sum();
                let squares = || squared_l2_norm(grad.clone()).into_scalar::<f32>();
                assert!((f64::from(squares()) / exact - 1.0).abs() < 1e-6, "{case:?} {shape:?}");
                assert_eq!(squares().to_bits(), squares().to_bits());
            }
        }
    }

    #[test]
    fn the_norm_of_parts_is_that_of_the_whole() {
        for case in everywhere().iter().filter(|case| case.dtype == DType::F32) {
            let numbers = 3 * SQUARES_BLOCK + 1_001;
            let grad = random(&[numbers], 2).on(&case.device).d1();
            let ranges = [0..SQUARES_BLOCK, SQUARES_BLOCK..3 * SQUARES_BLOCK, 3 * SQUARES_BLOCK..numbers];
            let parts = squared_l2_norm_of(ranges.map(|range| grad.clone().slice([range]))).unwrap();
            let (parts, whole): (f32, f32) = (parts.into_scalar(), squared_l2_norm(grad).into_scalar());
            assert!((parts / whole - 1.0).abs() < 1e-6, "{parts} {whole}");
            if case.device == Device::flex() {
                assert_eq!(parts.to_bits(), whole.to_bits());
            }
        }
        assert!(squared_l2_norm_of(Vec::<Tensor<1>>::new()).is_none());
    }
}
