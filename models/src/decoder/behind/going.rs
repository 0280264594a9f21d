//! Tokens that follow others: an encoder reads each prompt once, and what the decoder attends to of it stays in the cache.

use burn::tensor::Tensor;
use mpo_kernels::PackedLayout;

use super::Memory;
use crate::batch::Rows;

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

impl Going {
    /// What the decoder attends to. `encoded` makes the encoder's states of all new prompts, if there are any.
    pub(in crate::decoder) fn memory(&self, encoded: impl FnOnce(&Rows) -> Tensor<2>) -> Memory<'_> {
        let states = (!self.prompts.is_empty()).then(|| encoded(&self.new_prompts()));
        let places = self.prompts.iter().flat_map(|(ids, first)| *first..first + ids.len());
        Memory { states, places: places.map(|row| row as u32).collect(), layout: &self.across }
    }

    fn new_prompts(&self) -> Rows {
        let lengths: Vec<usize> = self.prompts.iter().map(|(ids, _)| ids.len()).collect();
        let ids = self.prompts.iter().flat_map(|(ids, _)| ids.iter().copied()).collect();
        Rows { ids, layout: PackedLayout::both_ways(PackedLayout::sequences(&lengths).segments().to_vec()) }
    }
}
