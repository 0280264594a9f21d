//! The gradient, on every backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::kernel::LinearLogProbsKernel;
use crate::gradient::{constant, register};
use crate::vocabulary::head::Wanted;

#[derive(Debug)]
struct LinearTokenLogProbs;

/// What the backward needs again.
#[derive(Debug, Clone)]
struct Saved<F, I> {
    hidden: F,
    head: F,
    targets: I,
    statistics: F,
    softcap: Option<f64>,
}

impl<B: LinearLogProbsKernel> Backward<B, 2> for LinearTokenLogProbs {
    type State = Saved<FloatTensor<B>, IntTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let Saved { hidden, head, targets, statistics, softcap } = ops.state;
        let wanted = Wanted::by(&ops.parents);
        let (hidden, head) =
            B::linear_token_log_probs_backward(hidden, head, targets, statistics, grad, softcap, wanted);
        register::<B, 2>(grads, ops.parents.map(|node| node.map(|node| node.id)), [hidden, head]);
    }
}

impl<B: LinearLogProbsKernel, C: CheckpointStrategy> LinearLogProbsKernel for Autodiff<B, C> {
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = LinearTokenLogProbs.prepare::<C>([hidden.node(), head.node()]).compute_bound().stateful();
        let (hidden, head) = (hidden.into_primitive(), head.into_primitive());
        let (log_probs, statistics) = B::linear_token_log_probs(hidden.clone(), head.clone(), targets.clone(), softcap);
        let aside = constant::<B, C>(statistics.clone());
        let log_probs = match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish(Saved { hidden, head, targets, statistics, softcap }, log_probs)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(log_probs),
        };
        (log_probs, aside)
    }

    fn linear_token_log_probs_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Option<f64>,
        _: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("second-order gradients of linear_token_log_probs are not supported")
    }
}
