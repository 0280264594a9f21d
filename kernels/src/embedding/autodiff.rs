//! The gradient of taken rows is added to where they were taken from.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::Shape;

use super::kernel::EmbeddingKernel;

#[derive(Debug)]
struct TakeRows;

impl<B: EmbeddingKernel> Backward<B, 1> for TakeRows {
    /// Which rows, and the shape of the matrix.
    type State = (Vec<u32>, Shape);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (ids, shape) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            let zeros = B::float_zeros(shape, &grad.device(), grad.dtype().into());
            B::add_rows(zeros, grad, ids)
        });
    }
}

impl<B: EmbeddingKernel, C: CheckpointStrategy> EmbeddingKernel for Autodiff<B, C> {
    fn take_rows(matrix: FloatTensor<Self>, ids: Vec<u32>) -> FloatTensor<Self> {
        let prepared = TakeRows.prepare::<C>([matrix.node()]).compute_bound().stateful();
        let matrix = matrix.into_primitive();
        let shape = matrix.shape();
        let rows = B::take_rows(matrix, ids.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((ids, shape), rows),
            OpsKind::UnTracked(prepared) => prepared.finish(rows),
        }
    }

    fn add_rows(_: FloatTensor<Self>, _: FloatTensor<Self>, _: Vec<u32>) -> FloatTensor<Self> {
        panic!("gradients do not flow through add_rows")
    }

    fn write_rows(_: FloatTensor<Self>, _: FloatTensor<Self>, _: Vec<u32>) -> FloatTensor<Self> {
        panic!("gradients do not flow through write_rows")
    }
}
