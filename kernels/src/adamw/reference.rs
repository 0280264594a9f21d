//! The plain composition.

use burn::tensor::Tensor;

use super::{AdamWStep, Updated};

pub(super) fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    momentum: Tensor<D>,
    variance: Tensor<D>,
    step: AdamWStep,
) -> Updated<D> {
    let stored = momentum.dtype();
    let [momentum, variance] = [momentum, variance].map(|moment| moment.cast(param.dtype()));
    let grad = grad.mul_scalar(step.grad_scale);
    let momentum = momentum.mul_scalar(step.beta1) + grad.clone().mul_scalar(1.0 - step.beta1);
    let variance = variance.mul_scalar(step.beta2) + grad.square().mul_scalar(1.0 - step.beta2);
    let (first, second) = step.bias_corrections();
    let root = variance.clone().sqrt().div_scalar(second.sqrt()).add_scalar(step.eps);
    let param =
        param.mul_scalar(1.0 - step.lr * step.weight_decay) - (momentum.clone() / root).mul_scalar(step.lr / first);
    Updated { param, momentum: momentum.cast(stored), variance: variance.cast(stored) }
}
