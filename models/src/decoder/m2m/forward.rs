//! Tokens through both stacks: a batch as it is scored, or those that go on with what lies in a cache.

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_kernels::PackedLayout;

use super::block::Context;
use super::{Translator, positions};
use crate::Precision;
use crate::batch::{Batch, Head, Layer, Outputs, Rows, Targets};
use crate::decoder::behind::{Going, Lowered};
use crate::decoder::{KeyValueCache, indices};

impl Translator {
    /// What is wanted of a batch, whose prompts are texts and whose answers are translations.
    ///
    /// # Panics
    /// If a token is outside the vocabulary (checked where ids are made), or a layer is not one of the model's.
    pub fn forward(&self, batch: &Batch) -> Outputs {
        let lowered = Lowered::new(batch, self.config.start_token_id, self.config.encoder.layers);
        let all = lowered.through(|side, rows, wanted, memory| {
            let mut context = Context { layout: &rows.layout, memory, cache: None };
            self.stack(side).through(self.embed(&rows.ids, &rows.layout), &mut context, wanted)
        });
        let Targets { rows, ids, .. } = lowered.targets();
        let head = self.to_logits();
        lowered.outputs(&all, head.clone(), |hidden| head.token_log_probs(hidden, rows, ids, 0))
    }

    /// The logits of a few states of the decoder, `[rows, vocab_size]`.
    pub fn logits(&self, hidden_states: Tensor<2>) -> Tensor<2> {
        self.to_logits().logits(hidden_states)
    }

    /// The decoder's states after its norm at all tokens that go on.
    pub(crate) fn going_on(&self, going: &Going, cache: &mut KeyValueCache) -> Tensor<2> {
        let memory = going.memory(|Rows { ids, layout }| {
            let mut context = Context { layout, memory: None, cache: None };
            self.encoder.through(self.embed(ids, layout), &mut context, &[Layer::Last]).remove(0)
        });
        let mut context = Context { layout: &going.layout, memory: Some(memory), cache: Some(cache) };
        self.decoder.through(self.embed(&going.ids, &going.layout), &mut context, &[Layer::Last]).remove(0)
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
