//! The operation as a backend extension.

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

#[cfg(feature = "cube")]
use crate::vocabulary::dtypes::rows_and_statistics;
use crate::vocabulary::softmax::composition;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait TokenLogProbsKernel: Backend {
    /// The log-probs `[tokens]` and the statistics of every row's softmax, `[tokens, 3]`. Both of [`output_dtype`](crate::vocabulary::dtypes::output_dtype).
    #[fusion(meta = outputs)]
    fn token_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composition::forward::<Self>(logits, targets, softcap)
    }

    /// The gradient of the logits; written over the logits if nothing else holds them.
    #[fusion(dtype = logits, shape = logits)]
    fn token_log_probs_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        composition::backward::<Self>(logits, targets, statistics, grad, softcap)
    }
}

#[cfg(feature = "cube")]
fn outputs(logits: &TensorSpec, targets: &TensorSpec, _softcap: &Option<f64>) -> (TensorSpec, TensorSpec) {
    rows_and_statistics(targets.shape[0], 3, logits.dtype)
}
