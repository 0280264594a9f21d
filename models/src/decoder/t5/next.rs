//! Tokens that follow others.

use burn::tensor::Tensor;

use super::Context;
use crate::batch::{Layer, Rows, Side};
use crate::decoder::behind::Going;
use crate::decoder::{CausalLm, KeyValueCache, Trunk};

impl CausalLm {
    /// What the decoder begins with, if there is an encoder that prompts go into.
    pub(crate) fn start_token(&self) -> Option<u32> {
        Some(self.config().encoder?.start_token_id)
    }

    /// The decoder's states after its norm at all tokens that go on. Without gradients.
    ///
    /// # Panics
    /// If there is no encoder.
    pub(crate) fn going_on(&self, going: &Going, cache: &mut KeyValueCache) -> Tensor<2> {
        let Trunk::Behind(model) = &self.trunk else { panic!("expected an encoder that prompts go into") };
        let through = |side, ids: &[u32], context: &mut Context<'_>| {
            model.stack(side).through(self.embed(ids), context, &[Layer::Last], &mut |_| {}).remove(0)
        };
        let memory = going.memory(|Rows { ids, layout }| {
            through(Side::Encoder, ids, &mut model.context(Side::Encoder, layout, None, None, self.precision))
        });
        let mut context = model.context(Side::Decoder, &going.layout, Some(memory), Some(cache), self.precision);
        through(Side::Decoder, &going.ids, &mut context)
    }
}
