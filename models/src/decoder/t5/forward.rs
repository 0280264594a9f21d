//! A batch through T5's stacks.

use burn::tensor::Tensor;
use mpo_kernels::PackedLayout;

use super::{Block, Context, EncoderDecoder, positions};
use crate::Precision;
use crate::batch::{Batch, Outputs, Side, Targets};
use crate::decoder::behind::{Found, Lowered, Memory};
use crate::decoder::{CausalLm, KeyValueCache};

impl EncoderDecoder {
    /// The states of every layer that something is wanted of or made from, from what the embedding gave to each side.
    /// `each_input` is told what every block is given that is computed, and the norms.
    pub(in crate::decoder) fn states(
        &self,
        lowered: &Lowered,
        embedded: impl Fn(Side) -> Tensor<2>,
        precision: Precision,
        each_input: &mut dyn FnMut(Side, &Tensor<2>),
    ) -> Found {
        lowered.through(|side, rows, wanted, memory| {
            let mut context = self.context(side, &rows.layout, memory, None, precision);
            self.stack(side).through(embedded(side), &mut context, wanted, &mut |x| each_input(side, x))
        })
    }

    /// What the blocks of a stack are given beside their input.
    pub(super) fn context<'a>(
        &self,
        side: Side,
        layout: &'a PackedLayout,
        memory: Option<Memory<'a>>,
        cache: Option<&'a mut KeyValueCache>,
        precision: Precision,
    ) -> Context<'a> {
        let bias = positions::distance_bias(&self.table(side), layout, side, &self.config);
        Context { layout, bias, memory, cache, precision }
    }

    /// The numbers of a stack's relative positions, `[buckets, heads]`.
    pub(super) fn table(&self, side: Side) -> Tensor<2> {
        let first = self.stack(side).block.first().and_then(Block::table);
        first.expect("the first block of a stack has the table of all")
    }
}

impl CausalLm {
    pub(in crate::decoder) fn forward_behind(&self, model: &EncoderDecoder, batch: &Batch) -> Outputs {
        let lowered = Lowered::new(batch, model.config.start_token_id, model.config.num_layers);
        let embedded = |side| self.embed(lowered.ids(side));
        let all = model.states(&lowered, embedded, self.precision, &mut |_, _| {});
        let Targets { rows, ids, .. } = lowered.targets();
        self.outputs_behind(&lowered, &all, |hidden| self.to_logits().token_log_probs(hidden, rows, ids, 0))
    }

    /// What is wanted of a batch, from the states of every layer that something is wanted of.
    pub(in crate::decoder) fn outputs_behind(
        &self,
        lowered: &Lowered,
        all: &Found,
        log_probs: impl FnOnce(&Tensor<2>) -> Tensor<1>,
    ) -> Outputs {
        lowered.outputs(all, self.to_logits(), log_probs)
    }
}
