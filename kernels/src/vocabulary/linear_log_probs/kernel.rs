//! The operation as a backend extension.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
#[cfg(feature = "cube")]
use burn::{backend::fusion::custom::TensorSpec, tensor::DType, tensor::Shape};

use super::composition;
#[cfg(feature = "cube")]
use crate::vocabulary::dtypes::{gradients_of_head, rows_and_statistics};
use crate::vocabulary::head::Wanted;

/// What the operation is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Options {
    pub(crate) softcap: Option<f64>,
    /// Bytes of logits to keep for the backward, at most. Backends that keep none make all of them again.
    pub(crate) keep: usize,
}

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait LinearLogProbsKernel: Backend {
    /// The log-probs `[tokens]`, every row's softmax statistics `[tokens, 3]`, as
    /// [`token_log_probs`](crate::vocabulary::token_log_probs::kernel::TokenLogProbsKernel::token_log_probs) has them, and the
    /// logits that are kept, as the backend lays them out.
    #[fusion(meta = outputs)]
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        options: Options,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composition::forward::<Self>(hidden, head, targets, options)
    }

    /// The gradients of `hidden` and `head`, those that are wanted; `logits` are those that the forward kept with these options,
    /// or none.
    #[fusion(meta = gradients)]
    #[allow(clippy::too_many_arguments)]
    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        _logits: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: Options,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composition::backward::<Self>(hidden, head, targets, statistics, grad, options, wanted)
    }

    /// `sum` `[rows, width]`, in the head's type, with the gradient of the head's rows from `first` on added.
    #[fusion(dtype = sum, shape = sum)]
    #[allow(clippy::too_many_arguments)]
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
        composition::add_head_grad::<Self>(sum, first, hidden, head, targets, statistics, grad, softcap)
    }
}

#[cfg(feature = "cube")]
fn outputs(
    hidden: &TensorSpec,
    _head: &TensorSpec,
    targets: &TensorSpec,
    _options: &Options,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let (log_probs, statistics) = rows_and_statistics(targets.shape[0], 3, hidden.dtype);
    (log_probs, statistics, TensorSpec::new(Shape::new([0]), DType::F32))
}

#[cfg(feature = "cube")]
#[allow(clippy::too_many_arguments)]
fn gradients(
    hidden: &TensorSpec,
    head: &TensorSpec,
    _targets: &TensorSpec,
    _softmax: &TensorSpec,
    _logits: &TensorSpec,
    _grad: &TensorSpec,
    _options: &Options,
    wanted: &Wanted,
) -> (TensorSpec, TensorSpec) {
    gradients_of_head(hidden, head, *wanted)
}
