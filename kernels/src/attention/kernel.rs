//! The operation as a backend extension.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
#[cfg(feature = "cube")]
use burn::{
    backend::fusion::custom::TensorSpec,
    tensor::{DType, Shape},
};

use super::{AttentionOptions, PackedLayout};

#[backend_extension(Autodiff, Fusion: cfg(feature = "cube"), Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub(crate) trait AttentionKernel: Backend {
    /// The output `[tokens, heads · head_dim]` and the log-sum-exp of every row's scores `[heads, tokens]`, f32.
    #[fusion(meta = outputs)]
    fn packed_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `q`, `k` and `v`.
    #[fusion(meta = gradients)]
    #[allow(clippy::too_many_arguments)]
    fn packed_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The first with `bias` `[heads, distances]`, f32, added to the scores of pairs by how far the key is from its query; 0 is
    /// at `zero`.
    #[fusion(meta = biased_outputs)]
    fn biased_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
        zero: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `q`, `k`, `v` and `bias`.
    #[fusion(meta = biased_gradients)]
    #[allow(clippy::too_many_arguments)]
    fn biased_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        layout: PackedLayout,
        options: AttentionOptions,
        zero: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "cube")]
fn outputs(
    q: &TensorSpec,
    _k: &TensorSpec,
    _v: &TensorSpec,
    _layout: &PackedLayout,
    options: &AttentionOptions,
) -> (TensorSpec, TensorSpec) {
    (q.clone(), TensorSpec::new(Shape::new([options.heads, q.shape[0]]), DType::F32))
}

#[cfg(feature = "cube")]
#[allow(clippy::too_many_arguments)]
fn gradients(
    q: &TensorSpec,
    k: &TensorSpec,
    v: &TensorSpec,
    _out: &TensorSpec,
    _log_sum_exp: &TensorSpec,
    _grad: &TensorSpec,
    _layout: &PackedLayout,
    _options: &AttentionOptions,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    (q.clone(), k.clone(), v.clone())
}

#[cfg(feature = "cube")]
fn biased_outputs(
    q: &TensorSpec,
    k: &TensorSpec,
    v: &TensorSpec,
    _bias: &TensorSpec,
    layout: &PackedLayout,
    options: &AttentionOptions,
    _zero: &usize,
) -> (TensorSpec, TensorSpec) {
    outputs(q, k, v, layout, options)
}

#[cfg(feature = "cube")]
#[allow(clippy::too_many_arguments)]
fn biased_gradients(
    q: &TensorSpec,
    k: &TensorSpec,
    v: &TensorSpec,
    bias: &TensorSpec,
    _out: &TensorSpec,
    _log_sum_exp: &TensorSpec,
    _grad: &TensorSpec,
    _layout: &PackedLayout,
    _options: &AttentionOptions,
    _zero: &usize,
) -> (TensorSpec, TensorSpec, TensorSpec, TensorSpec) {
    (q.clone(), k.clone(), v.clone(), bias.clone())
}
