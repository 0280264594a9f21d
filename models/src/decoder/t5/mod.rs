//! An encoder, and a decoder that attends to what it made: T5's.
//!
//! Prompts go into the encoder, answers into the decoder. Both are stacks of blocks that differ in what they see: an encoder's
//! tokens all tokens of their prompt, a decoder's the tokens before them and, across, all that the encoder made of their prompt.

mod block;
mod forward;
mod next;
mod positions;
mod rerun;

use burn::module::Module;
use burn::tensor::Tensor;

use super::layers::{Embedding, Linear, Norm};
use super::weights::{WeightSource, Weights};
use super::{collected, through};
use crate::batch::{Layer, Side};
use crate::{DecoderConfig, EncoderConfig};
use block::{Block, Context};
pub(super) use rerun::Passage;

/// Both stacks and the embedding that they share; fields carry the names of Hugging Face checkpoints.
#[derive(Module, Debug)]
pub(super) struct EncoderDecoder {
    pub(super) shared: Embedding,
    encoder: Stack,
    decoder: Stack,
    #[module(skip)]
    config: EncoderConfig,
}

/// Blocks, and the norm after them.
#[derive(Module, Debug)]
pub(super) struct Stack {
    block: Vec<Block>,
    final_layer_norm: Norm,
}

/// What the parameters of a stack are called by.
fn name_of(side: Side) -> &'static str {
    match side {
        Side::Encoder => "encoder",
        Side::Decoder => "decoder",
    }
}

/// What can be run again by itself.
#[derive(Debug, Clone, Copy)]
struct Part {
    side: Side,
    /// Which block of the stack; as many as there are is the norm.
    index: usize,
}

impl EncoderDecoder {
    pub(super) fn new<S: WeightSource>(
        config: &DecoderConfig,
        encoder: &EncoderConfig,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let mut stack = |side: Side, layers: usize| -> Result<Stack, S::Error> {
            let blocks = (0..layers).map(|index| Block::new(config, encoder, side, index, weights));
            let block = blocks.collect::<Result<_, _>>()?;
            let norm = format!("{}.final_layer_norm", name_of(side));
            Ok(Stack { block, final_layer_norm: Norm::new(&config.norm, &norm, config.hidden_size, weights)? })
        };
        let (of_encoder, of_decoder) =
            (stack(Side::Encoder, encoder.num_layers)?, stack(Side::Decoder, config.num_layers)?);
        Ok(Self {
            shared: Embedding::without_padding(config, "shared", weights)?,
            encoder: of_encoder,
            decoder: of_decoder,
            config: *encoder,
        })
    }

    pub(super) fn config(&self) -> &EncoderConfig {
        &self.config
    }

    fn stack(&self, side: Side) -> &Stack {
        match side {
            Side::Encoder => &self.encoder,
            Side::Decoder => &self.decoder,
        }
    }

    /// The linear maps of all blocks, by path.
    pub(super) fn projections(&mut self) -> impl Iterator<Item = (String, &mut Linear)> {
        let stacks = [(Side::Encoder, &mut self.encoder), (Side::Decoder, &mut self.decoder)];
        stacks.into_iter().flat_map(|(side, stack)| {
            stack.block.iter_mut().enumerate().flat_map(move |(index, block)| {
                let of = move |(part, linear)| (format!("{}.block.{index}.{part}", name_of(side)), linear);
                block.projections().map(of)
            })
        })
    }

    /// Whatever can be run again, the first first.
    fn parts(&self) -> impl Iterator<Item = Part> {
        [Side::Encoder, Side::Decoder]
            .into_iter()
            .flat_map(move |side| (0..=self.stack(side).block.len()).map(move |index| Part { side, index }))
    }
}

impl Stack {
    /// The states of each of `wanted` from what the embedding gave. `each_input` is told what every block is given that is
    /// computed, and the norm.
    fn through(
        &self,
        x: Tensor<2>,
        context: &mut Context<'_>,
        wanted: &[Layer],
        each_input: &mut dyn FnMut(&Tensor<2>),
    ) -> Vec<Tensor<2>> {
        collected(wanted, |found| {
            through(&self.block, &self.final_layer_norm, x, wanted, each_input, found, &mut |block, index, x| {
                block.forward(x, index, context)
            });
        })
    }
}
