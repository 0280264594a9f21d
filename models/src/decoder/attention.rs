//! Self-attention: projections, norms of queries and keys, positions, the kernel.

use burn::module::Module;
use burn::tensor::Tensor;
use mpo_kernels::{AttentionOptions, attention, rotary_embedding};

use super::Context;
use super::layers::{Linear, RmsNorm};
use super::weights::{WeightSource, Weights};
use crate::{DecoderConfig, LayerConfig};

#[derive(Module, Debug)]
pub(super) struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    #[module(skip)]
    options: AttentionOptions,
    #[module(skip)]
    layer: LayerConfig,
}

impl SelfAttention {
    pub(super) fn new<S: WeightSource>(
        model: &DecoderConfig,
        layer: LayerConfig,
        name: &str,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let config = &model.attention;
        let (hidden, bias) = (model.hidden_size, config.bias);
        let width = config.num_heads * config.head_dim;
        let kv_width = config.num_kv_heads * config.head_dim;
        let path = |part: &str| format!("{name}.{part}");
        let q_proj = Linear::new(&path("q_proj"), [width, hidden], bias.qkv, weights)?;
        let k_proj = Linear::new(&path("k_proj"), [kv_width, hidden], bias.qkv, weights)?;
        let v_proj = Linear::new(&path("v_proj"), [kv_width, hidden], bias.qkv, weights)?;
        let o_proj = Linear::new(&path("o_proj"), [hidden, width], bias.output, weights)?;
        let mut norm = |part: &str| {
            config.qk_norm.then(|| RmsNorm::new(&model.norm, &path(part), config.head_dim, weights)).transpose()
        };
        Ok(Self {
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            q_norm: norm("q_norm")?,
            k_norm: norm("k_norm")?,
            options: AttentionOptions {
                heads: config.num_heads,
                kv_heads: config.num_kv_heads,
                head_dim: config.head_dim,
                scale: config.scale,
                softcap: config.softcap,
                window: layer.window,
            },
            layer,
        })
    }

    /// Its linear maps by name.
    pub(super) fn projections(&mut self) -> [(&'static str, &mut Linear); 4] {
        let Self { q_proj, k_proj, v_proj, o_proj, .. } = self;
        [("q_proj", q_proj), ("k_proj", k_proj), ("v_proj", v_proj), ("o_proj", o_proj)]
    }

    pub(super) fn forward(&self, x: Tensor<2>, layer: usize, context: &mut Context<'_>) -> Tensor<2> {
        let tables = context.tables(&self.layer.rope);
        let q = self.per_head(&self.q_norm, self.q_proj.forward(x.clone()));
        let k = self.per_head(&self.k_norm, self.k_proj.forward(x.clone()));
        let v = self.v_proj.forward(x);
        let q = rotary_embedding(q, tables);
        let mut keys = rotary_embedding(k, tables);
        let mut values = v;
        if let Some(cache) = &mut context.cache {
            (keys, values) = cache.write(layer, context.layout, keys, values);
        }
        let out = attention(q, keys, values, context.layout, &self.options);
        self.o_proj.forward(out)
    }

    /// Normalises every head of `x` `[tokens, heads · head_dim]` by itself, where the architecture does; in the type of `x`.
    fn per_head(&self, norm: &Option<RmsNorm>, x: Tensor<2>) -> Tensor<2> {
        match norm {
            None => x,
            Some(norm) => {
                let [tokens, width] = x.dims();
                let head_dim = self.options.head_dim;
                let dtype = x.dtype();
                let heads = norm.forward(x.reshape([tokens * width / head_dim, head_dim]));
                heads.reshape([tokens, width]).cast(dtype)
            }
        }
    }
}
