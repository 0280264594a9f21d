//! The operation as a backend extension.

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

use super::composition;
#[cfg(feature = "cube")]
use crate::vocabulary::dtypes::{gradients_of_head, rows_and_statistics};
use crate::vocabulary::head::Wanted;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait LinearLogProbsKernel: Backend {
    /// The log-probs `[tokens]` and every row's softmax statistics `[tokens, 3]`, as
    /// [`token_log_probs`](crate::vocabulary::token_log_probs::kernel::TokenLogProbsKernel::token_log_probs) has them.
    #[fusion(meta = outputs)]
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composition::forward::<Self>(hidden, head, targets, softcap)
    }

    /// The gradients of `hidden` and `head`, those that are wanted.
    #[fusion(meta = gradients)]
    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composition::backward::<Self>(hidden, head, targets, statistics, grad, softcap, wanted)
    }
}

#[cfg(feature = "cube")]
fn outputs(
    hidden: &TensorSpec,
    _head: &TensorSpec,
    targets: &TensorSpec,
    _softcap: &Option<f64>,
) -> (TensorSpec, TensorSpec) {
    rows_and_statistics(targets.shape[0], 3, hidden.dtype)
}

#[cfg(feature = "cube")]
fn gradients(
    hidden: &TensorSpec,
    head: &TensorSpec,
    _targets: &TensorSpec,
    _softmax: &TensorSpec,
    _grad: &TensorSpec,
    _softcap: &Option<f64>,
    wanted: &Wanted,
) -> (TensorSpec, TensorSpec) {
    gradients_of_head(hidden, head, *wanted)
}
