//! What the autodiff side of every native kernel shares.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend};

/// Hands each tracked parent its gradient.
pub(crate) fn register<B: Backend, const N: usize>(
    gradients: &mut Gradients,
    parents: [Option<NodeId>; N],
    values: [FloatTensor<B>; N],
) {
    for (parent, value) in parents.into_iter().zip(values) {
        if let Some(parent) = parent {
            gradients.register::<B>(parent, value);
        }
    }
}

/// A value that the backward pass saves and through which no gradient is asked for.
pub(crate) fn constant<B: Backend, C: CheckpointStrategy>(value: FloatTensor<B>) -> FloatTensor<Autodiff<B, C>> {
    <Autodiff<B, C> as AutodiffBackend>::from_inner(value)
}

/// Refuses a tensor that asks for gradients where none would reach it.
pub(crate) fn assert_constant<B: Backend, C: CheckpointStrategy>(what: &str, tensor: &FloatTensor<Autodiff<B, C>>) {
    assert!(!tensor.is_tracked(), "{what} must not ask for gradients: none would reach them");
}
