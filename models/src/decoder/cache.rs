//! Keys and values of tokens that went before, so that generating one more costs one token.

use burn::tensor::Tensor;

/// One pair of tensors a layer, `[rows, kv_heads · head_dim]`, rows in the order the model met them.
#[derive(Debug, Default)]
pub struct KeyValueCache {
    layers: Vec<(Tensor<2>, Tensor<2>)>,
}

impl KeyValueCache {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.layers.first().map_or(0, |(keys, _)| keys.dims()[0])
    }

    /// Adds rows to a layer's keys and values and returns all of them.
    pub(super) fn extend(
        &mut self,
        layer: usize,
        keys: Tensor<2>,
        values: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        match self.layers.get_mut(layer) {
            None => self.layers.push((keys, values)),
            Some(held) => {
                held.0 = Tensor::cat(vec![held.0.clone(), keys], 0);
                held.1 = Tensor::cat(vec![held.1.clone(), values], 0);
            }
        }
        self.layers[layer].clone()
    }
}
