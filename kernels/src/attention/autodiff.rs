//! The gradient of the native kernel.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;

use super::kernel::AttentionKernel;
use super::{AttentionOptions, PackedLayout};
use crate::gradient::{constant, register};

#[derive(Debug)]
struct Attention;

/// What the backward needs again.
#[derive(Debug, Clone)]
struct Saved<T> {
    q: T,
    k: T,
    v: T,
    out: T,
    log_sum_exp: T,
    layout: PackedLayout,
    options: AttentionOptions,
}

impl<B: AttentionKernel> Backward<B, 3> for Attention {
    type State = Saved<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let Saved { q, k, v, out, log_sum_exp, layout, options } = ops.state;
        let (q, k, v) = B::packed_attention_backward(q, k, v, out, log_sum_exp, grad, layout, options);
        register::<B, 3>(grads, ops.parents.map(|node| node.map(|node| node.id)), [q, k, v]);
    }
}

#[derive(Debug)]
struct BiasedAttention;

/// The same with a bias, and where its distance 0 is.
#[derive(Debug, Clone)]
struct SavedBiased<T> {
    saved: Saved<T>,
    bias: T,
    zero: usize,
}

impl<B: AttentionKernel> Backward<B, 4> for BiasedAttention {
    type State = SavedBiased<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let SavedBiased { saved, bias, zero } = ops.state;
        let Saved { q, k, v, out, log_sum_exp, layout, options } = saved;
        let (q, k, v, bias) =
            B::biased_attention_backward(q, k, v, bias, out, log_sum_exp, grad, layout, options, zero);
        register::<B, 4>(grads, ops.parents.map(|node| node.map(|node| node.id)), [q, k, v, bias]);
    }
}

impl<B: AttentionKernel, C: CheckpointStrategy> AttentionKernel for Autodiff<B, C> {
    fn packed_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = Attention.prepare::<C>([q.node(), k.node(), v.node()]).compute_bound().stateful();
        let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
        let (out, log_sum_exp) = B::packed_attention(q.clone(), k.clone(), v.clone(), layout.clone(), options.clone());
        let aside = constant::<B, C>(log_sum_exp.clone());
        let out = match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish(Saved { q, k, v, out: out.clone(), log_sum_exp, layout, options }, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        };
        (out, aside)
    }

    fn packed_attention_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: PackedLayout,
        _: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("second-order gradients of attention are not supported")
    }

    fn biased_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
        zero: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [q.node(), k.node(), v.node(), bias.node()];
        let prepared = BiasedAttention.prepare::<C>(nodes).compute_bound().stateful();
        let [q, k, v, bias] = [q, k, v, bias].map(|tensor| tensor.into_primitive());
        let (out, log_sum_exp) =
            B::biased_attention(q.clone(), k.clone(), v.clone(), bias.clone(), layout.clone(), options.clone(), zero);
        let aside = constant::<B, C>(log_sum_exp.clone());
        let out = match prepared {
            OpsKind::Tracked(prepared) => {
                let saved = Saved { q, k, v, out: out.clone(), log_sum_exp, layout, options };
                prepared.finish(SavedBiased { saved, bias, zero }, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        };
        (out, aside)
    }

    fn biased_attention_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: PackedLayout,
        _: AttentionOptions,
        _: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("second-order gradients of attention are not supported")
    }
}
