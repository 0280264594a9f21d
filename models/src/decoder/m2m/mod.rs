//! M2M-100 and NLLB: a translator, which is asked and not trained.
//!
//! As in T5, texts go into an encoder and translations into a decoder, and batches are divided between them in the same way. The
//! layers are others: LayerNorms and linear maps with biases, and sines and cosines of a token's position beside its embedding.

mod block;
mod forward;
mod positions;

use burn::tensor::{Device, Tensor};

use super::layers::Norm;
use super::weights::{WeightSource, Weights};
use super::{collected, through};
use crate::TranslatorConfig;
use crate::batch::{Layer, Side};
use block::{Block, Context};

/// Added to a row's variance; no configuration says another.
const EPS: f64 = 1e-5;

/// A model that translates, and its head.
#[derive(Debug)]
pub struct Translator {
    /// `[vocab_size, hidden_size]`
    shared: Tensor<2>,
    /// A head that is not the embedding.
    head: Option<Tensor<2>>,
    encoder: Stack,
    decoder: Stack,
    config: TranslatorConfig,
}

/// Blocks, and the norm after them.
#[derive(Debug)]
struct Stack {
    blocks: Vec<Block>,
    norm: Norm,
}

impl Translator {
    pub(super) fn new<S: WeightSource>(
        config: TranslatorConfig,
        is_tied: bool,
        source: &mut S,
        device: &Device,
    ) -> Result<Self, S::Error> {
        let shape = [config.vocab_size, config.hidden_size];
        let shared = source.tensor("model.shared.weight", shape, device)?;
        let head = (!is_tied).then(|| source.tensor("lm_head.weight", shape, device)).transpose()?;
        let mut weights = Weights { source, device };
        let mut stack = |side: Side| -> Result<Stack, S::Error> {
            let (name, of) = match side {
                Side::Encoder => ("model.encoder", config.encoder),
                Side::Decoder => ("model.decoder", config.decoder),
            };
            let block = |index| {
                Block::new(
                    &format!("{name}.layers.{index}"),
                    config.hidden_size,
                    of,
                    side == Side::Decoder,
                    &mut weights,
                )
            };
            let blocks = (0..of.layers).map(block).collect::<Result<_, _>>()?;
            Ok(Stack { blocks, norm: layer_norm(&format!("{name}.layer_norm"), config.hidden_size, &mut weights)? })
        };
        let (encoder, decoder) = (stack(Side::Encoder)?, stack(Side::Decoder)?);
        Ok(Self { shared, head, encoder, decoder, config })
    }

    /// What it is.
    pub fn config(&self) -> &TranslatorConfig {
        &self.config
    }

    fn stack(&self, side: Side) -> &Stack {
        match side {
            Side::Encoder => &self.encoder,
            Side::Decoder => &self.decoder,
        }
    }
}

impl Stack {
    /// The states of each of `wanted` from what the embedding gave.
    fn through(&self, x: Tensor<2>, context: &mut Context<'_>, wanted: &[Layer]) -> Vec<Tensor<2>> {
        collected(wanted, |found| {
            through(&self.blocks, &self.norm, x, wanted, &mut |_| {}, found, &mut |block, index, x| {
                block.forward(x, index, context)
            });
        })
    }
}

fn layer_norm<S: WeightSource>(name: &str, width: usize, weights: &mut Weights<'_, S>) -> Result<Norm, S::Error> {
    Norm::with_bias(EPS, name, width, weights)
}
