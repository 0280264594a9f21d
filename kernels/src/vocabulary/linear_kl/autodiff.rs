//! The gradient, on every backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;

use super::kernel::LinearKlKernel;
use crate::gradient::{assert_constant, constant, register};
use crate::vocabulary::head::Wanted;

#[derive(Debug)]
struct LinearKl;

/// What the backward needs again.
#[derive(Debug, Clone)]
struct Saved<F> {
    hidden: F,
    head: F,
    reference_hidden: F,
    reference_head: F,
    statistics: F,
    softcap: Option<f64>,
}

impl<B: LinearKlKernel> Backward<B, 2> for LinearKl {
    type State = Saved<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted = Wanted::by(&ops.parents);
        let saved = ops.state;
        let (hidden, head) = B::linear_kl_backward(
            saved.hidden,
            saved.head,
            saved.reference_hidden,
            saved.reference_head,
            saved.statistics,
            grad,
            saved.softcap,
            wanted,
        );
        register::<B, 2>(grads, ops.parents.map(|node| node.map(|node| node.id)), [hidden, head]);
    }
}

impl<B: LinearKlKernel, C: CheckpointStrategy> LinearKlKernel for Autodiff<B, C> {
    fn linear_kl(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        reference_hidden: FloatTensor<Self>,
        reference_head: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        assert_constant::<B, C>("linear_kl: the reference's hidden states", &reference_hidden);
        assert_constant::<B, C>("linear_kl: the reference's head", &reference_head);
        let prepared = LinearKl.prepare::<C>([hidden.node(), head.node()]).compute_bound().stateful();
        let [hidden, head, reference_hidden, reference_head] =
            [hidden, head, reference_hidden, reference_head].map(|tensor| tensor.into_primitive());
        let (kl, statistics) =
            B::linear_kl(hidden.clone(), head.clone(), reference_hidden.clone(), reference_head.clone(), softcap);
        let aside = constant::<B, C>(statistics.clone());
        let kl = match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish(Saved { hidden, head, reference_hidden, reference_head, statistics, softcap }, kl)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(kl),
        };
        (kl, aside)
    }

    fn linear_kl_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Option<f64>,
        _: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("second-order gradients of linear_kl are not supported")
    }
}
