//! The gradient, on every backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::kernel::TokenLogProbsKernel;
use crate::gradient::constant;

#[derive(Debug)]
struct TokenLogProbs;

/// What the backward needs again.
#[derive(Debug, Clone)]
struct Saved<F, I> {
    logits: F,
    targets: I,
    statistics: F,
    softcap: Option<f64>,
}

impl<B: TokenLogProbsKernel> Backward<B, 1> for TokenLogProbs {
    type State = Saved<FloatTensor<B>, IntTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let Saved { logits, targets, statistics, softcap } = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::token_log_probs_backward(logits, targets, statistics, grad, softcap)
        });
    }
}

impl<B: TokenLogProbsKernel, C: CheckpointStrategy> TokenLogProbsKernel for Autodiff<B, C> {
    fn token_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = TokenLogProbs.prepare::<C>([logits.node()]).compute_bound().stateful();
        let logits = logits.into_primitive();
        let (log_probs, statistics) = B::token_log_probs(logits.clone(), targets.clone(), softcap);
        let aside = constant::<B, C>(statistics.clone());
        let log_probs = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { logits, targets, statistics, softcap }, log_probs),
            OpsKind::UnTracked(prepared) => prepared.finish(log_probs),
        };
        (log_probs, aside)
    }

    fn token_log_probs_backward(
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Option<f64>,
    ) -> FloatTensor<Self> {
        panic!("second-order gradients of token_log_probs are not supported")
    }
}
