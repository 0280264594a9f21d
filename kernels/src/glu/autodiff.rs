//! The gradient, on every backend that has the kernel.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;

use super::Activation;
use super::kernel::GluKernel;
use crate::gradient::register;

#[derive(Debug)]
struct Glu;

impl<B: GluKernel> Backward<B, 2> for Glu {
    type State = (FloatTensor<B>, FloatTensor<B>, Activation);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (gate, up, activation) = ops.state;
        let (gate_grad, up_grad) = B::glu_backward(gate, up, grad, activation);
        register::<B, 2>(grads, ops.parents.map(|node| node.map(|node| node.id)), [gate_grad, up_grad]);
    }
}

impl<B: GluKernel, C: CheckpointStrategy> GluKernel for Autodiff<B, C> {
    fn glu(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let prepared = Glu.prepare::<C>([gate.node(), up.node()]).compute_bound().stateful();
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let out = B::glu(gate.clone(), up.clone(), activation);
                prepared.finish((gate, up, activation), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::glu(gate, up, activation)),
        }
    }

    fn glu_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("second-order gradients of gated_linear_unit are not supported")
    }
}
