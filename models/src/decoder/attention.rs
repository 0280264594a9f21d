//! Self-attention: projections, norms of queries and keys, positions, the kernel.

use burn::module::Module;
use burn::tensor::Tensor;
use mpo_kernels::{AttentionOptions, attention};

use super::Context;
use super::layers::{Linear, Norm};
use super::rotary::rotated;
use super::weights::{WeightSource, Weights};
use crate::{DecoderConfig, LayerConfig};

/// There is either `qkv_proj`, whose output is queries, keys and values side by side, or one projection for each of them.
#[derive(Module, Debug)]
pub(super) struct SelfAttention {
    qkv_proj: Option<Linear>,
    q_proj: Option<Linear>,
    k_proj: Option<Linear>,
    v_proj: Option<Linear>,
    o_proj: Linear,
    q_norm: Option<Norm>,
    k_norm: Option<Norm>,
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
        let [width, kv_width] = config.widths();
        let path = |part: &str| format!("{name}.{part}");
        let mut projection = |is_there: bool, part: &str, outputs: usize| {
            is_there.then(|| Linear::new(&path(part), [outputs, hidden], bias.qkv, weights)).transpose()
        };
        let qkv_proj = projection(config.fused, "qkv_proj", width + 2 * kv_width)?;
        let q_proj = projection(!config.fused, "q_proj", width)?;
        let k_proj = projection(!config.fused, "k_proj", kv_width)?;
        let v_proj = projection(!config.fused, "v_proj", kv_width)?;
        let o_proj = Linear::new(&path("o_proj"), [hidden, width], bias.output, weights)?;
        let norm_widths = config.norm_widths();
        let mut norm = |part: &str, of: usize| {
            norm_widths.map(|widths| Norm::new(&model.norm, &path(part), widths[of], weights)).transpose()
        };
        Ok(Self {
            qkv_proj,
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            q_norm: norm("q_norm", 0)?,
            k_norm: norm("k_norm", 1)?,
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
    pub(super) fn projections(&mut self) -> impl Iterator<Item = (&'static str, &mut Linear)> {
        let Self { qkv_proj, q_proj, k_proj, v_proj, o_proj, .. } = self;
        let named = [("qkv_proj", qkv_proj), ("q_proj", q_proj), ("k_proj", k_proj), ("v_proj", v_proj)];
        named.into_iter().filter_map(|(name, linear)| Some((name, linear.as_mut()?))).chain([("o_proj", o_proj)])
    }

    pub(super) fn forward(&self, x: Tensor<2>, layer: usize, context: &mut Context<'_>) -> Tensor<2> {
        let [q, k, mut values] = self.projected(x);
        let q = normalized(&self.q_norm, q);
        let k = normalized(&self.k_norm, k);
        let (q, mut keys) = match &self.layer.rope {
            None => (q, k),
            Some(rope) => {
                let tables = context.tables(rope);
                let turned = |x| rotated(x, self.options.head_dim, rope, tables);
                (turned(q), turned(k))
            }
        };
        if let Some(cache) = &mut context.cache {
            (keys, values) = cache.write(layer, context.layout, keys, values);
        }
        let out = attention(q, keys, values, context.layout, &self.options);
        self.o_proj.forward(out)
    }

    /// Queries, keys and values of `x`.
    fn projected(&self, x: Tensor<2>) -> [Tensor<2>; 3] {
        match (&self.qkv_proj, &self.q_proj, &self.k_proj, &self.v_proj) {
            (None, Some(q), Some(k), Some(v)) => [q, k, v].map(|projection| projection.forward(x.clone())),
            (Some(fused), ..) => {
                let AttentionOptions { heads, kv_heads, head_dim, .. } = self.options;
                let (width, kv_width) = (heads * head_dim, kv_heads * head_dim);
                let all = fused.forward(x);
                [(0, width), (width, kv_width), (width + kv_width, kv_width)]
                    .map(|(first, count)| all.clone().narrow(1, first, count))
            }
            _ => unreachable!("the projections are one or three"),
        }
    }
}

/// Normalises as many numbers of a row of `x` together as the norm has weights, if there is one; in the type of `x`.
fn normalized(norm: &Option<Norm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        None => x,
        Some(norm) => {
            let ([tokens, width], dtype, of) = (x.dims(), x.dtype(), norm.width());
            let parts = norm.forward(x.reshape([tokens * width / of, of]));
            parts.reshape([tokens, width]).cast(dtype)
        }
    }
}
