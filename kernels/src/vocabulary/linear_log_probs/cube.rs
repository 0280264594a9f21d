//! Tiles of the vocabulary one after the other, and the softmax's kernels over each.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;

use super::composition;
use super::kernel::{LinearLogProbsKernel, Options};
use crate::vocabulary::head::Wanted;
use crate::vocabulary::head::cube::Head;
use crate::vocabulary::softmax::cube::{RowGradients, RunningSoftmax};

impl LinearLogProbsKernel for CubeBackend {
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        options: Options,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype == DType::F64 {
            return composition::forward::<Self>(hidden, head, targets, options);
        }
        let head = Head::new(head);
        let mut softmax = RunningSoftmax::new(into_contiguous(targets), head.vocabulary(), options.softcap);
        for columns in head.tiles(&hidden) {
            softmax.add(head.logits(&hidden, &columns), columns.start);
        }
        let (log_probs, statistics) = softmax.finish();
        (log_probs, statistics, composition::nothing_kept::<Self>(&hidden.device))
    }

    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        _: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: Options,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if hidden.dtype == DType::F64 {
            return composition::backward::<Self>(hidden, head, targets, statistics, grad, options, wanted);
        }
        let dtype = hidden.dtype;
        let rows = RowGradients::new(targets, statistics, grad, options.softcap);
        Head::new(head).gradients(hidden, wanted, |logits, columns| rows.of(logits, columns.start, dtype))
    }

    fn add_linear_token_log_probs_head_grad(
        sum: FloatTensor<Self>,
        first: usize,
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        if hidden.dtype == DType::F64 {
            return composition::add_head_grad::<Self>(sum, first, hidden, head, targets, statistics, grad, softcap);
        }
        let dtype = hidden.dtype;
        let rows = RowGradients::new(targets, statistics, grad, softcap);
        Head::new(head).add_gradient(sum, first, hidden, |logits, columns| rows.of(logits, columns.start, dtype))
    }
}
