//! Keys and values of tokens that went before, so that generating one more costs one token.

use burn::tensor::Tensor;
use mpo_kernels::{PackedLayout, write_rows};

/// Keys and values of every layer, `[rows, kv_heads · head_dim]` each; a layout says which rows are whose.
#[derive(Debug)]
pub struct KeyValueCache {
    rows: usize,
    layers: Vec<Held>,
    /// Those of what a decoder attends to across, in as many rows again.
    across: Vec<Held>,
}

/// Keys and values of a layer; nothing before the first are written.
type Held = Option<(Tensor<2>, Tensor<2>)>;

impl KeyValueCache {
    /// Room for this many tokens. Memory is taken when the first are written.
    pub fn new(rows: usize) -> Self {
        Self { rows, layers: vec![], across: vec![] }
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
        let places: Vec<u32> =
            layout.queries().flat_map(|(_, segment)| segment.rows.clone()).map(|row| row as u32).collect();
        written(&mut self.layers, layer, self.rows, &places, Some((keys, values)))
    }

    /// Writes keys and values of what is attended to across, if some are `fresh`, and returns all that the layer has.
    pub(super) fn across(
        &mut self,
        layer: usize,
        places: &[u32],
        fresh: Option<(Tensor<2>, Tensor<2>)>,
    ) -> (Tensor<2>, Tensor<2>) {
        written(&mut self.across, layer, self.rows, places, fresh)
    }
}

fn written(
    layers: &mut Vec<Held>,
    layer: usize,
    rows: usize,
    places: &[u32],
    fresh: Option<(Tensor<2>, Tensor<2>)>,
) -> (Tensor<2>, Tensor<2>) {
    if layers.len() <= layer {
        layers.resize_with(layer + 1, || None);
    }
    // Taken out, so that nobody else holds the tensors and rows are written in place.
    let held = layers[layer].take();
    let all = match fresh {
        None => held.expect("what is attended to was written before"),
        Some((keys, values)) => {
            let (all_keys, all_values) = held.unwrap_or_else(|| {
                let room = |like: &Tensor<2>| Tensor::zeros([rows, like.dims()[1]], (&like.device(), like.dtype()));
                (room(&keys), room(&values))
            });
            (write_rows(all_keys, places, keys), write_rows(all_values, places, values))
        }
    };
    layers[layer] = Some(all.clone());
    all
}
