//! The operation as a backend extension.

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use super::composition;
#[cfg(feature = "cube")]
use crate::vocabulary::dtypes::{gradients_of_head, rows_and_statistics};
use crate::vocabulary::head::Wanted;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait LinearKlKernel: Backend {
    /// The divergences `[tokens]` and what the backward needs of every row, `[tokens, 5]`. With z the policy's logits
    /// and r the reference's: max z, Σ e^(z − max z), Σ e^(z − max z) ((z − max z) − (r − max r)), max r, Σ e^(r − max r).
    #[fusion(meta = outputs)]
    fn linear_kl(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        reference_hidden: FloatTensor<Self>,
        reference_head: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composition::forward::<Self>(hidden, head, reference_hidden, reference_head, softcap)
    }

    /// The gradients of `hidden` and `head`, those that are wanted.
    #[fusion(meta = gradients)]
    #[allow(clippy::too_many_arguments)]
    fn linear_kl_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        reference_hidden: FloatTensor<Self>,
        reference_head: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composition::backward::<Self>(hidden, head, reference_hidden, reference_head, statistics, grad, softcap, wanted)
    }
}

#[cfg(feature = "cube")]
fn outputs(
    hidden: &TensorSpec,
    _head: &TensorSpec,
    _reference_hidden: &TensorSpec,
    _reference_head: &TensorSpec,
    _softcap: &Option<f64>,
) -> (TensorSpec, TensorSpec) {
    rows_and_statistics(hidden.shape[0], 5, hidden.dtype)
}

#[cfg(feature = "cube")]
#[allow(clippy::too_many_arguments)]
fn gradients(
    hidden: &TensorSpec,
    head: &TensorSpec,
    _reference_hidden: &TensorSpec,
    _reference_head: &TensorSpec,
    _statistics: &TensorSpec,
    _grad: &TensorSpec,
    _softcap: &Option<f64>,
    wanted: &Wanted,
) -> (TensorSpec, TensorSpec) {
    gradients_of_head(hidden, head, *wanted)
}
