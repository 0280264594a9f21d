//! All columns at once, wherever the rows lie.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::kernel::TokenLogProbsKernel;
use crate::cube::dims;
use crate::vocabulary::softmax::composition;
use crate::vocabulary::softmax::cube::{RowGradients, RunningSoftmax};

impl TokenLogProbsKernel for CubeBackend {
    fn token_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if logits.dtype == DType::F64 {
            return composition::forward::<Self>(logits, targets, softcap);
        }
        let [_, vocabulary] = dims(&logits);
        let mut softmax = RunningSoftmax::new(into_contiguous(targets), vocabulary, softcap);
        softmax.add(with_whole_rows(logits), 0);
        softmax.finish()
    }

    fn token_log_probs_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        if logits.dtype == DType::F64 {
            return composition::backward::<Self>(logits, targets, statistics, grad, softcap);
        }
        let dtype = logits.dtype;
        let rows = RowGradients::new(targets, statistics, grad, softcap);
        rows.of(with_whole_rows(logits), 0, dtype)
    }
}

/// The matrix as it is if its rows lie in one piece each, however far apart; else a copy. Matrix products pad rows on
/// some devices, and this kernel is there to avoid a copy of all logits.
fn with_whole_rows(matrix: CubeTensor) -> CubeTensor {
    match matrix.meta.strides()[1] {
        1 => matrix,
        _ => into_contiguous(matrix),
    }
}
