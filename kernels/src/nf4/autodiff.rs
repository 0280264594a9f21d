//! The gradient of the input, on every backend. The weight has none: nothing could be done with it.

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::kernel::Nf4Kernel;
use super::layout::Layout;
use crate::gradient::{assert_constant, constant, register};

#[derive(Debug)]
struct Product;

impl<B: Nf4Kernel> Backward<B, 1> for Product {
    /// The packed matrix, which is unpacked again.
    type State = (IntTensor<B>, FloatTensor<B>, Layout);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (words, floats, layout) = ops.state;
        let input_grad = B::nf4_input_grad(grad, words, floats, layout);
        register::<B, 1>(grads, ops.parents.map(|node| node.map(|node| node.id)), [input_grad]);
    }
}

impl<B: Nf4Kernel, C: CheckpointStrategy> Nf4Kernel for Autodiff<B, C> {
    fn nf4_values(words: IntTensor<Self>, floats: FloatTensor<Self>, layout: Layout) -> FloatTensor<Self> {
        assert_constant::<B, C>("the scales of NF4", &floats);
        constant::<B, C>(B::nf4_values(words, floats.into_primitive(), layout))
    }

    fn nf4_product(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        floats: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        assert_constant::<B, C>("the scales of NF4", &floats);
        let prepared = Product.prepare::<C>([x.node()]).compute_bound().stateful();
        let (x, floats) = (x.into_primitive(), floats.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let out = B::nf4_product(x, words.clone(), floats.clone(), layout);
                prepared.finish((words, floats, layout), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::nf4_product(x, words, floats, layout)),
        }
    }

    fn nf4_input_grad(_: FloatTensor<Self>, _: IntTensor<Self>, _: FloatTensor<Self>, _: Layout) -> FloatTensor<Self> {
        panic!("second-order gradients of linear_nf4 are not supported")
    }
}
