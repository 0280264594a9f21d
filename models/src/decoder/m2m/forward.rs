//! Tokens through both stacks: a batch as it is scored, or those that go on with what lies in a cache.

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_kernels::{HeadInputs, PackedLayout, linear, linear_token_log_probs};

use super::block::Context;
use super::{Stack, Translator, positions};
use crate::Precision;
use crate::batch::{Batch, Head, Layer, Outputs, Targets};
use crate::decoder::t5::{Lowered, Memory};
use crate::decoder::{Going, KeyValueCache, collected, indices, select_rows};

/// Keys and values of a decoder's own tokens, and of what it attends to across.
#[derive(Debug)]
pub(crate) struct Caches {
    pub(crate) own: KeyValueCache,
    pub(crate) across: KeyValueCache,
}

impl Translator {
    /// What is wanted of a batch, whose prompts are texts and whose answers are translations.
    ///
    /// # Panics
    /// If a token is outside the vocabulary (checked where ids are made), or a layer is not one of the model's.
    pub fn forward(&self, batch: &Batch) -> Outputs {
        let lowered = Lowered::new(batch, self.config.start_token_id, self.config.encoder.layers);
        let all = lowered.through(|side, rows, wanted, memory| {
            let mut context = Context { layout: &rows.layout, memory, caches: None };
            self.stack(side).through(self.embed(&rows.ids, &rows.layout), &mut context, wanted)
        });
        let Targets { rows, ids, .. } = lowered.targets();
        lowered.outputs(&all, self.to_logits(), |hidden| {
            let HeadInputs { hidden, head } = self.to_logits().inputs(select_rows(hidden, rows));
            linear_token_log_probs(hidden, head, indices(ids, &self.device()), None, 0)
        })
    }

    /// The logits of a few states of the decoder, `[rows, vocab_size]`.
    pub fn logits(&self, hidden_states: Tensor<2>) -> Tensor<2> {
        let HeadInputs { hidden, head } = self.to_logits().inputs(hidden_states);
        linear(hidden, head).cast(DType::F32)
    }

    /// The decoder's states after its norm at all tokens that go on.
    pub(crate) fn going_on(&self, going: &Going, caches: &mut Caches) -> Tensor<2> {
        let states = (!going.prompts.is_empty()).then(|| self.encoded(&going.prompts));
        let places = going.prompts.iter().flat_map(|(ids, first)| *first..first + ids.len());
        let memory = Memory { states, places: places.map(|row| row as u32).collect(), layout: &going.across };
        let mut context = Context { layout: &going.layout, memory: Some(memory), caches: Some(caches) };
        self.decoder.through(self.embed(&going.ids, &going.layout), &mut context, &[Layer::Last]).remove(0)
    }

    fn encoded(&self, texts: &[(Vec<u32>, usize)]) -> Tensor<2> {
        let lengths: Vec<usize> = texts.iter().map(|(ids, _)| ids.len()).collect();
        let ids: Vec<u32> = texts.iter().flat_map(|(ids, _)| ids.iter().copied()).collect();
        let layout = PackedLayout::both_ways(PackedLayout::sequences(&lengths).segments().to_vec());
        let mut context = Context { layout: &layout, memory: None, caches: None };
        self.encoder.through(self.embed(&ids, &layout), &mut context, &[Layer::Last]).remove(0)
    }

    /// What the first block of either stack is given.
    fn embed(&self, ids: &[u32], layout: &PackedLayout) -> Tensor<2> {
        let (width, device) = (self.config.hidden_size, self.device());
        let rows = self.shared.clone().select(0, indices(ids, &device)).cast(DType::F32);
        let rows = if self.config.scale_embedding { rows.mul_scalar((width as f64).sqrt() as f32) } else { rows };
        let positions = positions::sinusoids(&layout.positions(), width, self.config.pad_token_id);
        rows + Tensor::from_data(TensorData::new(positions, [ids.len(), width]), &device)
    }

    fn to_logits(&self) -> Head {
        let weight = self.head.as_ref().unwrap_or(&self.shared).clone();
        Head { weight, scale: None, softcap: None, precision: Precision::F32 }
    }

    fn device(&self) -> Device {
        self.shared.device()
    }
}

impl Stack {
    /// The states of each of `wanted` from what the embedding gave.
    fn through(&self, x: Tensor<2>, context: &mut Context<'_>, wanted: &[Layer]) -> Vec<Tensor<2>> {
        collected(wanted, |found| {
            let through = |x, (index, block): (usize, &super::Block)| {
                let x = block.forward(x, index, context);
                if wanted.contains(&Layer::Output(index)) {
                    found(Layer::Output(index), x.clone());
                }
                x
            };
            let x = self.blocks.iter().enumerate().fold(x, through);
            found(Layer::Last, self.norm.forward(x));
        })
    }
}
