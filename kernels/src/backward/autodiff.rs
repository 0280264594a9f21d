//! What was given is handed on.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::tensor::FloatTensor;

use super::kernel::BackwardKernel;
use crate::gradient::assert_constant;

#[derive(Debug)]
struct WithGradient;

impl<B: BackwardKernel> Backward<B, 1> for WithGradient {
    type State = FloatTensor<B>;

    /// The loss is where the backward begins, so its own gradient is one.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |_| ops.state);
    }
}

impl<B: BackwardKernel, C: CheckpointStrategy> BackwardKernel for Autodiff<B, C> {
    fn with_gradient(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        assert_constant::<B, C>("backward_from: the gradient", &gradient);
        let prepared = WithGradient.prepare::<C>([output.node()]).compute_bound().stateful();
        let (output, gradient) = (output.into_primitive(), gradient.into_primitive());
        let loss = B::with_gradient(output, gradient.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(gradient, loss),
            OpsKind::UnTracked(prepared) => prepared.finish(loss),
        }
    }
}
