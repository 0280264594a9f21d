//! The gradient of the native kernel.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;

use super::kernel::LinearKernel;

#[derive(Debug)]
struct Linear;

impl<B: LinearKernel> Backward<B, 2> for Linear {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let [x_node, weight_node] = ops.parents;
        // Each product is a third of the step: none is made for a parent that asks for no gradient.
        if let Some(node) = weight_node {
            grads.register::<B>(node.id, B::linear_weight_grad(x, grad.clone()));
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::linear_input_grad(weight, grad));
        }
    }
}

impl<B: LinearKernel, C: CheckpointStrategy> LinearKernel for Autodiff<B, C> {
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = Linear.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let out = B::linear_product(x.clone(), weight.clone());
                prepared.finish((x, weight), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_product(x, weight)),
        }
    }

    fn linear_input_grad(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("second-order gradients of linear are not supported")
    }

    fn linear_weight_grad(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("second-order gradients of linear are not supported")
    }
}
