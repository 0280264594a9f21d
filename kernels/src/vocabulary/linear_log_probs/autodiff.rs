//! The gradient, on every backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::kernel::{LinearLogProbsKernel, Options};
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
    logits: F,
    options: Options,
}

impl<B: LinearLogProbsKernel> Backward<B, 2> for LinearTokenLogProbs {
    type State = Saved<FloatTensor<B>, IntTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let Saved { hidden, head, targets, statistics, logits, options } = ops.state;
        let wanted = Wanted::by(&ops.parents);
        let (hidden, head) =
            B::linear_token_log_probs_backward(hidden, head, targets, statistics, logits, grad, options, wanted);
        register::<B, 2>(grads, ops.parents.map(|node| node.map(|node| node.id)), [hidden, head]);
    }
}

impl<B: LinearLogProbsKernel, C: CheckpointStrategy> LinearLogProbsKernel for Autodiff<B, C> {
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        options: Options,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = LinearTokenLogProbs.prepare::<C>([hidden.node(), head.node()]).compute_bound().stateful();
        let (hidden, head) = (hidden.into_primitive(), head.into_primitive());
        let forward = |options| B::linear_token_log_probs(hidden.clone(), head.clone(), targets.clone(), options);
        let (log_probs, statistics, logits) = match prepared {
            OpsKind::Tracked(prepared) => {
                let (log_probs, statistics, logits) = forward(options);
                let aside = [&statistics, &logits].map(Clone::clone);
                let saved = Saved {
                    statistics,
                    logits,
                    options,
                    hidden: hidden.clone(),
                    head: head.clone(),
                    targets: targets.clone(),
                };
                let [statistics, logits] = aside;
                (prepared.finish(saved, log_probs), statistics, logits)
            }
            OpsKind::UnTracked(prepared) => {
                // There will be no backward to keep anything for.
                let (log_probs, statistics, logits) = forward(Options { keep: 0, ..options });
                (prepared.finish(log_probs), statistics, logits)
            }
        };
        (log_probs, constant::<B, C>(statistics), constant::<B, C>(logits))
    }

    fn linear_token_log_probs_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Options,
        _: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("second-order gradients of linear_token_log_probs are not supported")
    }

    fn add_linear_token_log_probs_head_grad(
        _: FloatTensor<Self>,
        _: usize,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Option<f64>,
    ) -> FloatTensor<Self> {
        panic!("gradients do not flow through the gradients of linear_token_log_probs")
    }
}
