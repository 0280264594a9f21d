//! What a decoder attends to of its encoder.

use burn::tensor::Tensor;
use mpo_kernels::PackedLayout;

use crate::decoder::KeyValueCache;

/// What a decoder attends to across.
pub(in crate::decoder) struct Memory<'a> {
    /// The encoder's states after its norm; where there is a cache, those that are not in it yet.
    pub(in crate::decoder) states: Option<Tensor<2>>,
    /// Where in the cache they go.
    pub(in crate::decoder) places: Vec<u32>,
    /// Which of the states, or rows of the cache, each of the decoder's tokens sees.
    pub(in crate::decoder) layout: &'a PackedLayout,
}

impl Memory<'_> {
    /// Keys and values of all that a layer attends to: `made` of the states, and of those before that lie in the cache.
    pub(in crate::decoder) fn keys_and_values(
        &self,
        layer: usize,
        cache: Option<&mut KeyValueCache>,
        made: impl FnOnce(Tensor<2>) -> (Tensor<2>, Tensor<2>),
    ) -> (Tensor<2>, Tensor<2>) {
        let fresh = self.states.clone().map(made);
        match cache {
            None => fresh.expect("without a cache all states are there"),
            Some(cache) => cache.across(layer, &self.places, fresh),
        }
    }
}
