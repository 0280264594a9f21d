//! Tokens that follow others: an encoder reads each prompt once, and what the decoder attends to of it stays in the cache.

use burn::tensor::Tensor;
use mpo_kernels::PackedLayout;

use super::{Context, EncoderDecoder, Memory, positions};
use crate::batch::{Layer, Side};
use crate::decoder::{CausalLm, KeyValueCache, Trunk};

/// Sequences that a decoder goes on with.
pub(crate) struct Going {
    /// Prompts that are new, and the first row of each in the cache.
    pub(crate) prompts: Vec<(Vec<u32>, usize)>,
    /// The decoder's next tokens of all sequences.
    pub(crate) ids: Vec<u32>,
    /// Where in the cache their keys and values go, and which rows there they see.
    pub(crate) layout: PackedLayout,
    /// Which rows of the cache they see across.
    pub(crate) across: PackedLayout,
}

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
        let states = (!going.prompts.is_empty()).then(|| self.encoded(model, &going.prompts));
        let places = going.prompts.iter().flat_map(|(ids, first)| *first..first + ids.len());
        let memory = Memory { states, places: places.map(|row| row as u32).collect(), layout: &going.across };
        let layout = &going.layout;
        let bias = positions::distance_bias(&model.table(Side::Decoder), layout, Side::Decoder, &model.config);
        let mut context = Context { layout, bias, memory: Some(memory), cache: Some(cache), precision: self.precision };
        let x = self.embed(&going.ids);
        model.stack(Side::Decoder).through(x, &mut context, &[Layer::Last], &mut |_| {}).remove(0)
    }

    fn encoded(&self, model: &EncoderDecoder, prompts: &[(Vec<u32>, usize)]) -> Tensor<2> {
        let lengths: Vec<usize> = prompts.iter().map(|(ids, _)| ids.len()).collect();
        let ids: Vec<u32> = prompts.iter().flat_map(|(ids, _)| ids.iter().copied()).collect();
        let layout = &PackedLayout::both_ways(PackedLayout::sequences(&lengths).segments().to_vec());
        let bias = positions::distance_bias(&model.table(Side::Encoder), layout, Side::Encoder, &model.config);
        let mut context = Context { layout, bias, memory: None, cache: None, precision: self.precision };
        model.stack(Side::Encoder).through(self.embed(&ids), &mut context, &[Layer::Last], &mut |_| {}).remove(0)
    }
}
