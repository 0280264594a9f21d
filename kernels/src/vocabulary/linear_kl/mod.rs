//! KL(policy ‖ reference) of every token's next-token distribution, exact and over the whole vocabulary, straight from
//! hidden states: what the paper's KL ablation of MPO holds in place of the hidden states.

mod autodiff;
mod composition;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use kernel::LinearKlKernel;

use super::dtypes::{assert_together, output_dtype};
use super::softcap::assert_softcap;

/// A model's last hidden states `[tokens, hidden_size]` and its head `[vocabulary, hidden_size]`.
#[derive(Debug, Clone)]
pub struct HeadInputs {
    /// `[tokens, hidden_size]`
    pub hidden: Tensor<2>,
    /// `[vocabulary, hidden_size]`
    pub head: Tensor<2>,
}

/// `Σ_v p_v (log p_v − log q_v)` with p the policy's softmax and q the reference's, nats, `[tokens]`.
///
/// The two may differ in hidden size, not in tokens or vocabulary. Both models' hidden states are of one type, f32, f64, f16
/// or bf16, and the products are made in it; heads may be of others, but for f64, and are cast a tile at a time. The result
/// is f32 for the 16-bit types. With `softcap` c (Gemma 2), both models' logits z become c · tanh(z / c) first. Never more
/// than two tiles of logits are alive. A token of probability zero in the policy adds nothing. Differentiable in the policy;
/// a gradient that nobody asks for costs nothing.
///
/// # Panics
/// On other shapes or types, or if the reference asks for gradients: none would reach it.
pub fn linear_kl(policy: HeadInputs, reference: HeadInputs, softcap: Option<f64>) -> Tensor<1> {
    let dims = |inputs: &HeadInputs| (inputs.hidden.dims(), inputs.head.dims());
    let (([tokens, width], [vocabulary, head_width]), ([rows, r_width], [columns, r_head_width])) =
        (dims(&policy), dims(&reference));
    assert!(
        width == head_width
            && r_width == r_head_width
            && tokens == rows
            && vocabulary == columns
            && (vocabulary > 0 && width > 0 && r_width > 0 || tokens == 0),
        "linear_kl: policy {:?} and reference {:?} must be ([N, H], [V, H]) and ([N, R], [V, R])",
        dims(&policy),
        dims(&reference)
    );
    let dtype = policy.hidden.dtype();
    assert_together("linear_kl", dtype, policy.head.dtype());
    assert_together("linear_kl", reference.hidden.dtype(), reference.head.dtype());
    assert_softcap("linear_kl", softcap);
    assert!(
        reference.hidden.dtype() == dtype,
        "linear_kl: expected both models' hidden states to be of one type, got {dtype:?} and {:?}",
        reference.hidden.dtype()
    );
    if tokens == 0 {
        return policy.hidden.sum_dim(1).reshape([0]).cast(output_dtype(dtype));
    }
    if crate::device::wants_reference() {
        return reference::linear_kl(policy, reference, softcap).cast(output_dtype(dtype));
    }
    let (kl, _) = <Dispatch as LinearKlKernel>::linear_kl(
        policy.hidden.into_dispatch(),
        policy.head.into_dispatch(),
        reference.hidden.into_dispatch(),
        reference.head.into_dispatch(),
        softcap,
    );
    Tensor::from_dispatch(kl)
}

#[cfg(test)]
mod tests;
