//! The gradient, on every backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::tensor::FloatTensor;

use super::kernel::SegmentKernel;

#[derive(Debug)]
struct SegmentSums;

impl<B: SegmentKernel> Backward<B, 1> for SegmentSums {
    type State = Vec<usize>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let lengths = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::segment_repeat(grad, lengths));
    }
}

impl<B: SegmentKernel, C: CheckpointStrategy> SegmentKernel for Autodiff<B, C> {
    fn segment_sums(x: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        let prepared = SegmentSums.prepare::<C>([x.node()]).compute_bound().stateful();
        let sums = B::segment_sums(x.into_primitive(), lengths.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(lengths, sums),
            OpsKind::UnTracked(prepared) => prepared.finish(sums),
        }
    }

    fn segment_repeat(_: FloatTensor<Self>, _: Vec<usize>) -> FloatTensor<Self> {
        panic!("second-order gradients of sequence_log_probs are not supported")
    }
}
