//! One decoder layer: attention and feed-forward, each normalised before, and in Gemma after, on the residual stream.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Context;
use super::attention::SelfAttention;
use super::layers::{Linear, RmsNorm};
use super::mlp::Mlp;
use super::weights::{WeightSource, Weights};
use crate::DecoderConfig;

/// Hugging Face names the norm before the feed-forward `post_attention_layernorm`, except in Gemma, where that name is
/// the norm on attention's output and `pre_feedforward_layernorm` comes before the feed-forward.
#[derive(Module, Debug)]
pub(super) struct Block {
    self_attn: SelfAttention,
    mlp: Mlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
    pre_feedforward_layernorm: Option<RmsNorm>,
    post_feedforward_layernorm: Option<RmsNorm>,
}

impl Block {
    pub(super) fn new<S: WeightSource>(
        config: &DecoderConfig,
        index: usize,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let path = |part: &str| format!("model.layers.{index}.{part}");
        let attention = SelfAttention::new(config, config.layers[index], &path("self_attn"), weights)?;
        let mlp = Mlp::new(config.hidden_size, &config.mlp, &path("mlp"), weights)?;
        let mut norm = |part: &str| RmsNorm::new(&config.norm, &path(part), config.hidden_size, weights);
        Ok(Self {
            self_attn: attention,
            mlp,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: config.norm.outputs.then(|| norm("pre_feedforward_layernorm")).transpose()?,
            post_feedforward_layernorm: config.norm.outputs.then(|| norm("post_feedforward_layernorm")).transpose()?,
        })
    }

    /// Its linear maps: the part that each is in, its name there.
    pub(super) fn projections(&mut self) -> impl Iterator<Item = (&'static str, &'static str, &mut Linear)> {
        let attention = self.self_attn.projections().map(|(name, linear)| ("self_attn", name, linear));
        let mlp = self.mlp.projections().map(|(name, linear)| ("mlp", name, linear));
        attention.into_iter().chain(mlp)
    }

    pub(super) fn forward(&self, x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        let precision = context.precision;
        let stream = x.dtype();
        let normed = precision.of(self.input_layernorm.forward(x.clone()));
        let attended = self.self_attn.forward(normed, index, context);
        match (&self.pre_feedforward_layernorm, &self.post_feedforward_layernorm) {
            (Some(before), Some(after)) => {
                let x = x + self.post_attention_layernorm.forward(attended);
                let out = self.mlp.forward(precision.of(before.forward(x.clone())));
                x + after.forward(out)
            }
            _ => {
                let x = x + attended.cast(stream);
                let out = self.mlp.forward(precision.of(self.post_attention_layernorm.forward(x.clone())));
                x + out.cast(stream)
            }
        }
    }
}
