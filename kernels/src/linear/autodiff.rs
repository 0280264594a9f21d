//! The gradient, on every backend. What is frozen costs nothing: no product is made and nothing saved for its sake.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::DType;

use super::kernel::LinearKernel;

#[derive(Debug)]
struct Linear;

/// What the backward needs again.
#[derive(Debug, Clone)]
struct Saved<F> {
    /// If the weight learns, for its gradient.
    x: Option<F>,
    /// If the input is tracked, for its gradient.
    weight: Option<F>,
    weight_dtype: DType,
}

impl<B: LinearKernel> Backward<B, 2> for Linear {
    type State = Saved<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let Saved { x, weight, weight_dtype } = ops.state;
        let [x_node, weight_node] = ops.parents;
        if let (Some(node), Some(x)) = (weight_node, x) {
            grads.register::<B>(node.id, B::linear_weight_grad(x, grad.clone(), weight_dtype));
        }
        if let (Some(node), Some(weight)) = (x_node, weight) {
            grads.register::<B>(node.id, B::linear_input_grad(weight, grad));
        }
    }
}

impl<B: LinearKernel, C: CheckpointStrategy> LinearKernel for Autodiff<B, C> {
    fn linear_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let [x_tracked, weight_tracked] = [x.is_tracked(), weight.is_tracked()];
        let prepared = Linear.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let saved = Saved {
                    x: weight_tracked.then(|| x.clone()),
                    weight: x_tracked.then(|| weight.clone()),
                    weight_dtype: weight.dtype(),
                };
                prepared.finish(saved, B::linear_product(x, weight))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_product(x, weight)),
        }
    }

    fn linear_input_grad(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("second-order gradients of linear are not supported")
    }

    fn linear_weight_grad(_: FloatTensor<Self>, _: FloatTensor<Self>, _: DType) -> FloatTensor<Self> {
        panic!("second-order gradients of linear are not supported")
    }
}
