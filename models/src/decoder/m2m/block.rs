//! A block of either stack: attention, across in the decoder, and feed-forward, each normalised before, on the residual stream.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use mpo_kernels::{AttentionOptions, PackedLayout, attention};

use super::layer_norm;
use crate::StackConfig;
use crate::decoder::KeyValueCache;
use crate::decoder::behind::Memory;
use crate::decoder::layers::{Linear, Norm};
use crate::decoder::weights::{WeightSource, Weights};

/// What every block is given beside its input.
pub(super) struct Context<'a> {
    /// Who sees whom within the stack.
    pub(super) layout: &'a PackedLayout,
    /// What the encoder made, in the decoder.
    pub(super) memory: Option<Memory<'a>>,
    /// Keys and values of earlier tokens; this batch's are added.
    pub(super) cache: Option<&'a mut KeyValueCache>,
}

#[derive(Debug)]
pub(super) struct Block {
    own: Attention,
    own_norm: Norm,
    across: Option<(Attention, Norm)>,
    widens: Linear,
    narrows: Linear,
    last_norm: Norm,
}

#[derive(Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    options: AttentionOptions,
}

impl Block {
    pub(super) fn new<S: WeightSource>(
        name: &str,
        hidden: usize,
        config: StackConfig,
        looks_across: bool,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let inner = config.intermediate_size;
        let across = looks_across.then(|| -> Result<_, S::Error> {
            let attention = Attention::new(&format!("{name}.encoder_attn"), hidden, config.heads, weights)?;
            Ok((attention, layer_norm(&format!("{name}.encoder_attn_layer_norm"), hidden, weights)?))
        });
        Ok(Self {
            across: across.transpose()?,
            own: Attention::new(&format!("{name}.self_attn"), hidden, config.heads, weights)?,
            own_norm: layer_norm(&format!("{name}.self_attn_layer_norm"), hidden, weights)?,
            widens: Linear::new(&format!("{name}.fc1"), [inner, hidden], true, weights)?,
            narrows: Linear::new(&format!("{name}.fc2"), [hidden, inner], true, weights)?,
            last_norm: layer_norm(&format!("{name}.final_layer_norm"), hidden, weights)?,
        })
    }

    pub(super) fn forward(&self, mut x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        x = x.clone() + self.own.own(self.own_norm.forward(x), index, context);
        if let Some((attention, norm)) = &self.across {
            x = x.clone() + attention.across(norm.forward(x), index, context);
        }
        let inner = relu(self.widens.forward(self.last_norm.forward(x.clone())));
        x + self.narrows.forward(inner)
    }
}

impl Attention {
    fn new<S: WeightSource>(
        name: &str,
        hidden: usize,
        heads: usize,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let mut linear = |part: &str| Linear::new(&format!("{name}.{part}"), [hidden; 2], true, weights);
        let head_dim = hidden / heads;
        Ok(Self {
            query: linear("q_proj")?,
            key: linear("k_proj")?,
            value: linear("v_proj")?,
            output: linear("out_proj")?,
            options: AttentionOptions {
                heads,
                kv_heads: heads,
                head_dim,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
                window: None,
            },
        })
    }

    fn keys_and_values(&self, of: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        (self.key.forward(of.clone()), self.value.forward(of))
    }

    /// Attention to tokens of the same stack.
    fn own(&self, x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        let (mut keys, mut values) = self.keys_and_values(x.clone());
        if let Some(cache) = &mut context.cache {
            (keys, values) = cache.write(index, context.layout, keys, values);
        }
        self.output.forward(attention(self.query.forward(x), keys, values, context.layout, &self.options))
    }

    /// Attention to what the encoder made.
    fn across(&self, x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        let memory = context.memory.as_ref().expect("a decoder is given what the encoder made");
        let made = |states| self.keys_and_values(states);
        let (keys, values) = memory.keys_and_values(index, context.cache.as_deref_mut(), made);
        self.output.forward(attention(self.query.forward(x), keys, values, memory.layout, &self.options))
    }
}
