//! The gradient, on every backend that has the kernel.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;

use super::kernel::RmsNormKernel;
use crate::gradient::{constant, register};

#[derive(Debug)]
struct RmsNorm;

impl<B: RmsNormKernel> Backward<B, 2> for RmsNorm {
    /// x, weight, 1/rms, offset
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, f32);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, weight, inverse_rms, offset) = ops.state;
        let (x_grad, weight_grad) = B::rms_norm_backward(x, weight, inverse_rms, grad, offset);
        register::<B, 2>(grads, ops.parents.map(|node| node.map(|node| node.id)), [x_grad, weight_grad]);
    }
}

impl<B: RmsNormKernel, C: CheckpointStrategy> RmsNormKernel for Autodiff<B, C> {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        offset: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = RmsNorm.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let (out, inverse_rms) = B::rms_norm(x.clone(), weight.clone(), eps, offset);
        let saved = constant::<B, C>(inverse_rms.clone());
        let out = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, weight, inverse_rms, offset), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        };
        (out, saved)
    }

    fn rms_norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("second-order gradients of rms_norm are not supported")
    }
}
