//! The gradient, on every backend that has the kernel.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::tensor::FloatTensor;

use super::kernel::{Direction, RopeKernel};

#[derive(Debug)]
struct Rope;

impl<B: RopeKernel> Backward<B, 1> for Rope {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (cos, sin) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::rope(grad, cos, sin, Direction::Backward));
    }
}

impl<B: RopeKernel, C: CheckpointStrategy> RopeKernel for Autodiff<B, C> {
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        direction: Direction,
    ) -> FloatTensor<Self> {
        assert!(
            matches!(direction, Direction::Forward),
            "second-order gradients of rotary_embedding are not supported"
        );
        let prepared = Rope.prepare::<C>([x.node()]).compute_bound().stateful();
        let (cos, sin) = (cos.into_primitive(), sin.into_primitive());
        let out = B::rope(x.into_primitive(), cos.clone(), sin.clone(), direction);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((cos, sin), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }
}
