//! The operation as a backend extension: every backend has the chunked composition, `flex` a native kernel.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};

use super::chunked;

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait LogProbKernel: Backend {
    /// The log-probs and the log-sum-exps, both `[tokens]`.
    #[fusion(default)]
    fn linear_token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        chunked::forward::<Self>(hidden, head, targets, softcap)
    }

    /// The gradients of `hidden` and `head`.
    #[fusion(default)]
    fn linear_token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        chunked::backward::<Self>(hidden, head, targets, log_sum_exp, grad, softcap)
    }
}

#[cfg(feature = "cube")]
impl LogProbKernel for burn_cubecl::CubeBackend {}
