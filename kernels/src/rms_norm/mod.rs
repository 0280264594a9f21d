//! Root-mean-square normalisation of rows (Zhang & Sennrich, 2019), with Gemma's `1 + w` as an option.

mod autodiff;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// `x / sqrt(mean(x²) + eps) · (offset + weight)`, row by row.
///
/// `x` is `[rows, width]`, `weight` `[width]`; `offset` is 1 for Gemma, whose weights are stored around zero, and 0
/// elsewhere. Differentiable in `x` and `weight`.
///
/// # Panics
/// If the weight is of another width or type.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64, offset: f32) -> Tensor<2> {
    assert!(
        x.dims()[1] == weight.dims()[0] && x.dtype() == weight.dtype(),
        "rms_norm: expected x [rows, width] and weight [width] of one type, got {:?} {:?} and {:?} {:?}",
        x.dims(),
        x.dtype(),
        weight.dims(),
        weight.dtype()
    );
    if crate::device::has_kernel(&x) {
        let (out, _) =
            <Dispatch as kernel::RmsNormKernel>::rms_norm(x.into_dispatch(), weight.into_dispatch(), eps, offset);
        return Tensor::from_dispatch(out);
    }
    reference::rms_norm(x, weight, eps, offset)
}

#[cfg(test)]
mod tests {
    use super::{reference, rms_norm};
    use crate::testing::{check_gradients, check_kernel, everywhere, random};

    #[test]
    fn by_hand() {
        // mean(3², 4²) = 12.5; the row over √12.5 is (0.848528, 1.131371).
        let device = burn::tensor::Device::flex();
        let x = burn::tensor::Tensor::<2>::from_data([[3.0, 4.0]], &device);
        let w = burn::tensor::Tensor::<1>::from_data([1.0, 0.5], &device);
        let y = rms_norm(x, w, 0.0, 1.0).into_data().try_to_vec::<f32>().unwrap();
        assert!((y[0] - 1.697_056).abs() < 1e-5 && (y[1] - 1.697_056).abs() < 1e-5, "{y:?}");
    }

    #[test]
    fn no_worse_than_the_composition() {
        for (rows, width) in [(1, 1), (3, 47), (31, 123), (130, 64), (1_100, 8)] {
            for offset in [0.0, 1.0] {
                check_kernel(
                    &everywhere(),
                    &[random(&[rows, width], 1), random(&[width], 2)],
                    |t| rms_norm(t[0].d2(), t[1].d1(), 1e-6, offset),
                    |t| reference::rms_norm(t[0].d2(), t[1].d1(), 1e-6, offset),
                );
            }
        }
    }

    #[test]
    fn reference_gradient_is_the_finite_difference() {
        check_gradients(&[random(&[3, 5], 3), random(&[5], 4)], |t| {
            reference::rms_norm(t[0].d2(), t[1].d1(), 1e-6, 1.0)
        });
    }
}
