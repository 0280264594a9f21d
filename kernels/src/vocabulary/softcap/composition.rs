//! In Burn's own operations.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

/// `cap · tanh(logits / cap)`.
pub(crate) fn capped<B: Backend>(logits: FloatTensor<B>, softcap: Option<f64>) -> FloatTensor<B> {
    match softcap {
        None => logits,
        Some(cap) => B::float_mul_scalar(B::float_tanh(B::float_div_scalar(logits, cap.into())), cap.into()),
    }
}

/// The gradient of logits before the cap, from that of the `capped` ones.
pub(crate) fn through_cap<B: Backend>(
    gradient: FloatTensor<B>,
    capped: FloatTensor<B>,
    softcap: Option<f64>,
) -> FloatTensor<B> {
    let Some(cap) = softcap else {
        return gradient;
    };
    // d (c tanh(z/c)) / dz = 1 − (capped / c)²
    let ratio = B::float_div_scalar(capped, cap.into());
    let square = B::float_mul(ratio.clone(), ratio);
    let slope = B::float_add_scalar(B::float_neg(square), 1.0.into());
    B::float_mul(gradient, slope)
}
