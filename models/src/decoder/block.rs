//! One decoder layer: attention and feed-forward on the residual stream, each normalised where the architecture does.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Context;
use super::attention::SelfAttention;
use super::layers::{Linear, Norm};
use super::mlp::Mlp;
use super::weights::{WeightSource, Weights};
use crate::{DecoderConfig, NormPlace};

/// `post_attention_layernorm` is the norm on attention's output in some architectures, in others that before the feed-forward;
/// `place` says which.
#[derive(Module, Debug)]
pub(super) struct Block {
    self_attn: SelfAttention,
    mlp: Mlp,
    input_layernorm: Option<Norm>,
    post_attention_layernorm: Option<Norm>,
    pre_feedforward_layernorm: Option<Norm>,
    post_feedforward_layernorm: Option<Norm>,
    #[module(skip)]
    place: NormPlace,
}

impl Block {
    pub(super) fn new<S: WeightSource>(
        config: &DecoderConfig,
        index: usize,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let path = |part: &str| format!("model.layers.{index}.{part}");
        let self_attn = SelfAttention::new(config, config.layers[index].clone(), &path("self_attn"), weights)?;
        let mlp = Mlp::new(config.hidden_size, &config.mlp, &path("mlp"), weights)?;
        let place = config.norm.place;
        let mut norm = |part: &str| {
            let is_there = place.names().contains(&part);
            is_there.then(|| Norm::new(&config.norm, &path(part), config.hidden_size, weights)).transpose()
        };
        Ok(Self {
            self_attn,
            mlp,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: norm("pre_feedforward_layernorm")?,
            post_feedforward_layernorm: norm("post_feedforward_layernorm")?,
            place,
        })
    }

    /// Its linear maps: the part that each is in, its name there.
    pub(super) fn projections(&mut self) -> impl Iterator<Item = (&'static str, &'static str, &mut Linear)> {
        let attention = self.self_attn.projections().map(|(name, linear)| ("self_attn", name, linear));
        let mlp = self.mlp.projections().map(|(name, linear)| ("mlp", name, linear));
        attention.chain(mlp)
    }

    pub(super) fn forward(&self, x: Tensor<2>, index: usize, context: &mut Context<'_>) -> Tensor<2> {
        let (precision, stream) = (context.precision, x.dtype());
        // What a part is given, and what of its output joins the stream.
        let given = |norm: &Option<Norm>, x: &Tensor<2>| match norm {
            Some(norm) => precision.of(norm.forward(x.clone())),
            None => precision.of(x.clone()),
        };
        let taken = |norm: &Option<Norm>, out: Tensor<2>| match norm {
            Some(norm) => norm.forward(out),
            None => out.cast(stream),
        };
        let (before, middle) = (&self.input_layernorm, &self.post_attention_layernorm);
        let (on_attention, before_mlp) = match self.place {
            NormPlace::Before => (&None, middle),
            NormPlace::After | NormPlace::Around => (middle, &self.pre_feedforward_layernorm),
            NormPlace::Shared => {
                let normed = given(before, &x);
                let attended = self.self_attn.forward(normed.clone(), index, context).cast(stream);
                return x + attended + self.mlp.forward(normed).cast(stream);
            }
        };
        let attended = self.self_attn.forward(given(before, &x), index, context);
        let x = x + taken(on_attention, attended);
        let out = self.mlp.forward(given(before_mlp, &x));
        x + taken(&self.post_feedforward_layernorm, out)
    }
}
