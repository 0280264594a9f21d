//! Keys and values of tokens that went before, so that generating one more costs one token.

use burn::tensor::Tensor;
use mpo_kernels::{PackedLayout, write_rows};

/// Keys and values of every layer, `[rows, kv_heads · head_dim]` each; a layout says which rows are whose.
#[derive(Debug)]
pub struct KeyValueCache {
    own: Held,
    /// Those of what a decoder attends to across.
    across: Held,
}

/// Rows for the keys and values of every layer.
#[derive(Debug)]
struct Held {
    rows: usize,
    /// Nothing before the first are written.
    layers: Vec<Option<(Tensor<2>, Tensor<2>)>>,
}

impl KeyValueCache {
    /// Room for this many tokens, and behind an encoder for as many of its. Memory is taken when the first are written.
    pub fn new(rows: usize) -> Self {
        Self::with_across(rows, rows)
    }

    /// Room for this many tokens of a decoder, and for so many that it attends to across.
    pub(crate) fn with_across(rows: usize, across: usize) -> Self {
        let [own, across] = [rows, across].map(|rows| Held { rows, layers: vec![] });
        Self { own, across }
    }

    /// Tokens that there is room for.
    pub fn rows(&self) -> usize {
        self.own.rows
    }

    /// Tokens that there is room for across.
    pub(crate) fn rows_across(&self) -> usize {
        self.across.rows
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
        self.own.written(layer, &places, Some((keys, values)))
    }

    /// Writes keys and values of what is attended to across, if some are `fresh`, and returns all that the layer has.
    pub(super) fn across(
        &mut self,
        layer: usize,
        places: &[u32],
        fresh: Option<(Tensor<2>, Tensor<2>)>,
    ) -> (Tensor<2>, Tensor<2>) {
        self.across.written(layer, places, fresh)
    }
}

impl Held {
    fn written(
        &mut self,
        layer: usize,
        places: &[u32],
        fresh: Option<(Tensor<2>, Tensor<2>)>,
    ) -> (Tensor<2>, Tensor<2>) {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, || None);
        }
        // Taken out, so that nobody else holds the tensors and rows are written in place.
        let held = self.layers[layer].take();
        let all = match fresh {
            None => held.expect("what is attended to was written before"),
            Some((keys, values)) => {
                let (all_keys, all_values) = held.unwrap_or_else(|| {
                    let room =
                        |like: &Tensor<2>| Tensor::zeros([self.rows, like.dims()[1]], (&like.device(), like.dtype()));
                    (room(&keys), room(&values))
                });
                (write_rows(all_keys, places, keys), write_rows(all_values, places, values))
            }
        };
        self.layers[layer] = Some(all.clone());
        all
    }
}
