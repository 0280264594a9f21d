//! Keys and values of tokens that went before, so that generating one more costs one token.

use burn::tensor::Tensor;
use mpo_kernels::{PackedLayout, write_rows};

/// Keys and values of every layer, `[rows, kv_heads · head_dim]` each; a layout says which rows are whose.
#[derive(Debug)]
pub struct KeyValueCache {
    rows: usize,
    layers: Vec<Option<(Tensor<2>, Tensor<2>)>>,
}

impl KeyValueCache {
    /// Room for this many tokens. Memory is taken when the first are written.
    pub fn new(rows: usize) -> Self {
        Self { rows, layers: vec![] }
    }

    /// Tokens that there is room for.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes a batch's keys and values where its layout says, and returns all that the layer has.
    pub(super) fn write(
        &mut self,
        layer: usize,
        layout: &PackedLayout,
        keys: Tensor<2>,
        values: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, || None);
        }
        // Taken out, so that nobody else holds the tensors and rows are written in place.
        let held = self.layers[layer].take();
        let (mut all_keys, mut all_values) = held.unwrap_or_else(|| {
            let room = |like: &Tensor<2>| Tensor::zeros([self.rows, like.dims()[1]], (&like.device(), like.dtype()));
            (room(&keys), room(&values))
        });
        let places: Vec<u32> =
            layout.queries().flat_map(|(_, segment)| segment.rows.clone()).map(|row| row as u32).collect();
        all_keys = write_rows(all_keys, &places, keys);
        all_values = write_rows(all_values, &places, values);
        self.layers[layer] = Some((all_keys.clone(), all_values.clone()));
        (all_keys, all_values)
    }
}
