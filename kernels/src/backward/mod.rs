//! A backward that begins with a gradient, where there is no loss: in the middle of a model.

mod autodiff;
mod kernel;

use burn::backend::Dispatch;
use burn::tensor::{Gradients, Tensor};

/// The gradients of whatever `output` was made from, if `gradient` is that of `output`: the vector-Jacobian product.
///
/// The same as `(output * gradient).sum().backward()`, without making a product and a sum that nobody reads.
///
/// # Panics
/// On other shapes, or if `gradient` asks for a gradient.
pub fn backward_from<const D: usize>(output: Tensor<D>, gradient: Tensor<D>) -> Gradients {
    assert_eq!(output.dims(), gradient.dims(), "backward_from: expected a gradient of the output's shape");
    let loss = <Dispatch as kernel::BackwardKernel>::with_gradient(output.into_dispatch(), gradient.into_dispatch());
    Tensor::<1>::from_dispatch(loss).backward()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::backward_from;
    use crate::testing::{everywhere, random};

    #[test]
    fn as_through_a_product_and_a_sum() {
        for case in everywhere() {
            let device = case.device.clone().autodiff();
            let tensor = |seed| random(&[5, 7], seed).on(&device).d2().cast(case.dtype);
            let through = |backward: fn(Tensor<2>, Tensor<2>) -> _| {
                let input = tensor(1).require_grad();
                let mut gradients = backward(input.clone().exp(), tensor(2));
                input.grad_remove(&mut gradients).unwrap().into_data()
            };
            let by_hand = through(|output, gradient| (output * gradient).sum().backward());
            assert_eq!(through(backward_from), by_hand, "{case:?}");
        }
    }

    #[test]
    #[should_panic(expected = "the gradient must not ask for gradients")]
    fn a_gradient_that_learns_is_refused() {
        let device = burn::tensor::Device::flex().autodiff();
        let tensor = |seed| random(&[2, 3], seed).on(&device).d2().require_grad();
        backward_from(tensor(1), tensor(2));
    }
}
