//! A block of either stack: attention, across in the decoder, and feed-forward, each normalised before, on the residual
//! stream.

// Checkpoints name these parts so, and a parameter's path is its name there.
#![allow(non_snake_case)]

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use mpo_kernels::{
    Activation, AttentionOptions, DistanceBias, PackedLayout, attention, biased_attention, gated_linear_unit,
};

use super::name_of;
use crate::batch::Side;
use crate::decoder::KeyValueCache;
use crate::decoder::behind::Memory;
use crate::decoder::layers::{Linear, Norm};
use crate::decoder::weights::{WeightSource, Weights};
use crate::{DecoderConfig, EncoderConfig, Precision};

/// What every block is given beside its input.
pub(super) struct Context<'a> {
    /// Who sees whom within the stack.
    pub(super) layout: &'a PackedLayout,
    pub(super) bias: DistanceBias,
    /// What the encoder made, in the decoder.
    pub(super) memory: Option<Memory<'a>>,
    /// Keys and values of earlier tokens; this batch's are added.
    pub(super) cache: Option<&'a mut KeyValueCache>,
    pub(super) precision: Precision,
}

#[derive(Module, Debug)]
pub(super) struct Block {
    layer: Vec<Sublayer>,
}

#[derive(Module, Debug)]
enum Sublayer {
    Own(OwnAttention),
    Cross(CrossAttention),
    FeedForward(FeedForward),
}

#[derive(Module, Debug)]
struct OwnAttention {
    SelfAttention: Attention,
    layer_norm: Norm,
}

#[derive(Module, Debug)]
struct CrossAttention {
    EncDecAttention: Attention,
    layer_norm: Norm,
}

#[derive(Module, Debug)]
struct FeedForward {
    DenseReluDense: Dense,
    layer_norm: Norm,
}

#[derive(Module, Debug)]
struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// Of the first block, for all of its stack.
    relative_attention_bias: Option<Table>,
    #[module(skip)]
    options: AttentionOptions,
}

/// A number for every bucket of distances and head, `weight` `[buckets, heads]`.
#[derive(Module, Debug)]
struct Table {
    weight: Param<Tensor<2>>,
}

/// The feed-forward block, gated or not.
#[derive(Module, Debug)]
struct Dense {
    wi: Option<Linear>,
    wi_0: Option<Linear>,
    wi_1: Option<Linear>,
    wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Block {
    pub(super) fn new<S: WeightSource>(
        config: &DecoderConfig,
        encoder: &EncoderConfig,
        side: Side,
        index: usize,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let path = |layer: usize, part: &str| format!("{}.block.{index}.layer.{layer}.{part}", name_of(side));
        let norm = |layer: usize, weights: &mut Weights<'_, S>| {
            Norm::new(&config.norm, &path(layer, "layer_norm"), config.hidden_size, weights)
        };
        let buckets = (index == 0).then_some(encoder.buckets);
        let mut layer = vec![Sublayer::Own(OwnAttention {
            SelfAttention: Attention::new(config, &path(0, "SelfAttention"), buckets, weights)?,
            layer_norm: norm(0, weights)?,
        })];
        if side == Side::Decoder {
            layer.push(Sublayer::Cross(CrossAttention {
                EncDecAttention: Attention::new(config, &path(1, "EncDecAttention"), None, weights)?,
                layer_norm: norm(1, weights)?,
            }));
        }
        let last = layer.len();
        layer.push(Sublayer::FeedForward(FeedForward {
            DenseReluDense: Dense::new(config, encoder.gated, &path(last, "DenseReluDense"), weights)?,
            layer_norm: norm(last, weights)?,
        }));
        Ok(Self { layer })
    }

    /// Its linear maps by the last parts of their paths.
    pub(super) fn projections(&mut self) -> impl Iterator<Item = (String, &mut Linear)> {
        self.layer.iter_mut().enumerate().flat_map(|(number, layer)| {
            let (part, maps) = match layer {
                Sublayer::Own(own) => ("SelfAttention", own.SelfAttention.projections()),
                Sublayer::Cross(cross) => ("EncDecAttention", cross.EncDecAttention.projections()),
                Sublayer::FeedForward(dense) => ("DenseReluDense", dense.DenseReluDense.projections()),
            };
            maps.into_iter().map(move |(name, linear)| (format!("layer.{number}.{part}.{name}"), linear))
        })
    }

    /// The table of the stack's relative positions, which the first block has.
    pub(super) fn table(&self) -> Option<Tensor<2>> {
        self.layer.iter().find_map(|layer| match layer {
            Sublayer::Own(own) => Some(own.SelfAttention.relative_attention_bias.as_ref()?.weight.val()),
            _ => None,
        })
    }

    pub(super) fn forward(&self, mut x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        let (precision, stream) = (context.precision, x.dtype());
        for layer in &self.layer {
            let out = match layer {
                Sublayer::Own(own) => {
                    let normed = precision.of(own.layer_norm.forward(x.clone()));
                    own.SelfAttention.own(normed, index, context)
                }
                Sublayer::Cross(cross) => {
                    let normed = precision.of(cross.layer_norm.forward(x.clone()));
                    cross.EncDecAttention.across(normed, index, context)
                }
                Sublayer::FeedForward(dense) => {
                    let normed = precision.of(dense.layer_norm.forward(x.clone()));
                    dense.DenseReluDense.forward(normed)
                }
            };
            x = x + out.cast(stream);
        }
        x
    }
}

impl Attention {
    fn new<S: WeightSource>(
        config: &DecoderConfig,
        name: &str,
        buckets: Option<usize>,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let of = &config.attention;
        let (hidden, width) = (config.hidden_size, of.num_heads * of.head_dim);
        let mut linear = |part: &str, shape| Linear::new(&format!("{name}.{part}"), shape, false, weights);
        let (q, k, v) = (linear("q", [width, hidden])?, linear("k", [width, hidden])?, linear("v", [width, hidden])?);
        let o = linear("o", [hidden, width])?;
        let table = format!("{name}.relative_attention_bias");
        let table = buckets.map(|buckets| weights.param(&table, "weight", [buckets, of.num_heads])).transpose()?;
        Ok(Self {
            q,
            k,
            v,
            o,
            relative_attention_bias: table.map(|weight| Table { weight }),
            options: AttentionOptions {
                heads: of.num_heads,
                kv_heads: of.num_heads,
                head_dim: of.head_dim,
                scale: of.scale,
                softcap: None,
                window: None,
            },
        })
    }

    fn projections(&mut self) -> Vec<(&'static str, &mut Linear)> {
        vec![("q", &mut self.q), ("k", &mut self.k), ("v", &mut self.v), ("o", &mut self.o)]
    }

    fn keys_and_values(&self, of: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        (self.k.forward(of.clone()), self.v.forward(of))
    }

    /// Attention to tokens of the same stack.
    fn own(&self, x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        let (mut keys, mut values) = self.keys_and_values(x.clone());
        if let Some(cache) = &mut context.cache {
            (keys, values) = cache.write(index, context.layout, keys, values);
        }
        let q = self.q.forward(x);
        self.o.forward(biased_attention(q, keys, values, &context.bias, context.layout, &self.options))
    }

    /// Attention to what the encoder made.
    fn across(&self, x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        let memory = context.memory.as_ref().expect("a decoder is given what the encoder made");
        let made = |states| self.keys_and_values(context.precision.of(states));
        let (keys, values) = memory.keys_and_values(index, context.cache.as_deref_mut(), made);
        self.o.forward(attention(self.q.forward(x), keys, values, memory.layout, &self.options))
    }
}

impl Dense {
    fn new<S: WeightSource>(
        config: &DecoderConfig,
        gated: bool,
        name: &str,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let (hidden, inner) = (config.hidden_size, config.mlp.intermediate_size);
        let mut linear = |part: &str, shape| Linear::new(&format!("{name}.{part}"), shape, false, weights);
        let mut first = |part: &str, there: bool| there.then(|| linear(part, [inner, hidden])).transpose();
        let (wi, wi_0, wi_1) = (first("wi", !gated)?, first("wi_0", gated)?, first("wi_1", gated)?);
        Ok(Self { wi, wi_0, wi_1, wo: linear("wo", [hidden, inner])?, activation: config.mlp.activation })
    }

    fn projections(&mut self) -> Vec<(&'static str, &mut Linear)> {
        let first = [("wi", &mut self.wi), ("wi_0", &mut self.wi_0), ("wi_1", &mut self.wi_1)];
        let first = first.into_iter().filter_map(|(name, linear)| Some((name, linear.as_mut()?)));
        first.chain([("wo", &mut self.wo)]).collect()
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let inner = match (&self.wi_0, &self.wi_1, &self.wi) {
            (Some(gate), Some(up), _) => gated_linear_unit(gate.forward(x.clone()), up.forward(x), self.activation),
            (_, _, Some(wi)) => relu(wi.forward(x)),
            _ => unreachable!("a feed-forward block is gated or is not"),
        };
        self.wo.forward(inner)
    }
}
