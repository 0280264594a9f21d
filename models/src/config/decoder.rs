//! One description for every architecture.

use std::path::Path;

use mpo_kernels::Activation;
use serde_json::{Map, Value};

use super::dialect::Dialect;
use super::fields::{COMPARE, Fields};
use super::{Architecture, ConfigError, EncoderConfig, RopeConfig};

/// Ten times the largest open model.
const MAX_PARAMETERS: u128 = 10_000_000_000_000;

/// One description for every architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// The family, which decides how weights are named.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// What embeddings are multiplied by on the way in.
    pub embedding_scale: Option<f64>,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// What logits are multiplied by, before a soft-cap.
    pub logit_scale: Option<f64>,
    /// `c · tanh(z / c)` on logits.
    pub final_softcap: Option<f64>,
    /// The attention of every layer.
    pub attention: AttentionConfig,
    /// The feed-forward block of every layer.
    pub mlp: MlpConfig,
    /// The norms.
    pub norm: NormConfig,
    /// Number of layers.
    pub num_layers: usize,
    /// The layers, first to last; of one that has an encoder before it, none, as its layers do not differ.
    pub layers: Vec<LayerConfig>,
    /// The encoder before it.
    pub encoder: Option<EncoderConfig>,
    /// The token that begins a sequence.
    pub bos_token_id: Option<u32>,
    /// The tokens that end one, or a turn in it.
    pub eos_token_ids: Vec<u32>,
    /// The token that fills a batch.
    pub pad_token_id: Option<u32>,
    /// The longest sequence the model was made for, where its file says so.
    pub max_positions: Option<usize>,
}

/// Attention, as far as all layers share it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionConfig {
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads, each shared by `num_heads / num_kv_heads` query heads.
    pub num_kv_heads: usize,
    /// Width of a head; `num_heads · head_dim` need not be `hidden_size`.
    pub head_dim: usize,
    /// Whether queries, keys and values are the output of one linear map, in this order.
    pub fused: bool,
    /// Which projections add a bias.
    pub bias: AttentionBias,
    /// How queries and keys are normalized.
    pub qk_norm: QkNorm,
    /// What scores are multiplied by.
    pub scale: f64,
    /// `c · tanh(s / c)` on scores.
    pub softcap: Option<f64>,
}

/// How queries and keys are normalized before they are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// Not at all.
    None,
    /// Every head by itself, all with the same weights.
    Heads,
    /// All heads together.
    Whole,
}

impl AttentionConfig {
    /// Width of all queries, and of all keys.
    pub fn widths(&self) -> [usize; 2] {
        [self.num_heads, self.num_kv_heads].map(|heads| heads * self.head_dim)
    }

    /// How many queries, and how many keys, are normalized together; none if they are not.
    pub(crate) fn norm_widths(&self) -> Option<[usize; 2]> {
        match self.qk_norm {
            QkNorm::None => None,
            QkNorm::Heads => Some([self.head_dim; 2]),
            QkNorm::Whole => Some(self.widths()),
        }
    }
}

/// Which attention projections add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionBias {
    /// Query, key and value.
    pub qkv: bool,
    /// Output.
    pub output: bool,
}

impl AttentionBias {
    pub(super) const fn all(bias: bool) -> Self {
        Self { qkv: bias, output: bias }
    }
}

/// The gated feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlpConfig {
    /// Its inner width.
    pub intermediate_size: usize,
    /// Whether gate and up are the output of one linear map, in this order.
    pub fused: bool,
    /// The non-linearity of the gate.
    pub activation: Activation,
    /// Whether the projections have biases.
    pub bias: bool,
}

/// Root-mean-square norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormConfig {
    /// Added to the mean square under the root.
    pub eps: f64,
    /// Added to each weight: Gemma stores `w` and multiplies by `1 + w`.
    pub offset: f32,
    /// Whether the mean is taken off first, as in a LayerNorm without bias.
    pub centred: bool,
    /// Where they stand in a layer.
    pub place: NormPlace,
}

/// Where the norms of a layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// Before attention, and before the feed-forward block.
    Before,
    /// After both, before their outputs join the residual stream.
    After,
    /// Before and after both.
    Around,
    /// One before both, which are given the same and work side by side.
    Shared,
}

impl NormPlace {
    /// The names of a layer's norms, as a checkpoint has them.
    pub fn names(self) -> &'static [&'static str] {
        const BEFORE: &str = "input_layernorm";
        /// The norm on attention's output, or where outputs are not normalized that before the feed-forward block.
        const MIDDLE: &str = "post_attention_layernorm";
        const LAST: &str = "post_feedforward_layernorm";
        match self {
            Self::Before => &[BEFORE, MIDDLE],
            Self::After => &[MIDDLE, LAST],
            Self::Around => &[BEFORE, MIDDLE, "pre_feedforward_layernorm", LAST],
            Self::Shared => &[BEFORE],
        }
    }
}

/// What may differ from layer to layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerConfig {
    /// How many positions a token attends to, its own and those just before; `None` for all.
    pub window: Option<usize>,
    /// The rotary embedding; none where the layer knows of no positions.
    pub rope: Option<RopeConfig>,
}

impl DecoderConfig {
    /// The longest sequence that can be computed: with some rotary scalings, that of pre-training.
    pub fn longest(&self) -> Option<usize> {
        self.layers.iter().filter_map(|layer| layer.rope.as_ref()?.longest()).min()
    }

    /// How many layers a prompt goes through: the encoder's, if there is one.
    pub fn prompt_layers(&self) -> usize {
        self.encoder.map_or(self.num_layers, |encoder| encoder.num_layers)
    }

    /// How many numbers the weights hold.
    pub fn num_parameters(&self) -> u64 {
        u64::try_from(self.parameters()).unwrap_or(u64::MAX)
    }

    /// The linear maps of a layer: the last parts of each one's path, and how many outputs and inputs it has. With an encoder,
    /// those of the decoder's.
    pub fn projections(&self) -> Vec<(&'static str, [usize; 2])> {
        let (hidden, inner) = (self.hidden_size, self.mlp.intermediate_size);
        let [queries, keys] = self.attention.widths();
        let mut all = vec![];
        if let Some(EncoderConfig { gated, .. }) = self.encoder {
            all.push(("layer.0.SelfAttention.q", [queries, hidden]));
            all.push(("layer.0.SelfAttention.k", [queries, hidden]));
            all.push(("layer.0.SelfAttention.v", [queries, hidden]));
            all.push(("layer.0.SelfAttention.o", [hidden, queries]));
            all.push(("layer.1.EncDecAttention.q", [queries, hidden]));
            all.push(("layer.1.EncDecAttention.k", [queries, hidden]));
            all.push(("layer.1.EncDecAttention.v", [queries, hidden]));
            all.push(("layer.1.EncDecAttention.o", [hidden, queries]));
            if gated {
                all.push(("layer.2.DenseReluDense.wi_0", [inner, hidden]));
                all.push(("layer.2.DenseReluDense.wi_1", [inner, hidden]));
            } else {
                all.push(("layer.2.DenseReluDense.wi", [inner, hidden]));
            }
            all.push(("layer.2.DenseReluDense.wo", [hidden, inner]));
            return all;
        }
        if self.attention.fused {
            all.push(("self_attn.qkv_proj", [queries + 2 * keys, hidden]));
        } else {
            all.push(("self_attn.q_proj", [queries, hidden]));
            all.push(("self_attn.k_proj", [keys, hidden]));
            all.push(("self_attn.v_proj", [keys, hidden]));
        }
        all.push(("self_attn.o_proj", [hidden, queries]));
        if self.mlp.fused {
            all.push(("mlp.gate_up_proj", [2 * inner, hidden]));
        } else {
            all.push(("mlp.gate_proj", [inner, hidden]));
            all.push(("mlp.up_proj", [inner, hidden]));
        }
        all.push(("mlp.down_proj", [hidden, inner]));
        all
    }

    /// The same of a layer of the encoder.
    fn encoder_projections(&self) -> Vec<(&'static str, [usize; 2])> {
        let of_encoder = |(path, shape): (&'static str, _)| match path {
            "layer.2.DenseReluDense.wi_0" => Some(("layer.1.DenseReluDense.wi_0", shape)),
            "layer.2.DenseReluDense.wi_1" => Some(("layer.1.DenseReluDense.wi_1", shape)),
            "layer.2.DenseReluDense.wi" => Some(("layer.1.DenseReluDense.wi", shape)),
            "layer.2.DenseReluDense.wo" => Some(("layer.1.DenseReluDense.wo", shape)),
            path => path.starts_with("layer.0.").then_some((path, shape)),
        };
        self.projections().into_iter().filter_map(of_encoder).collect()
    }

    /// The same of all layers, by their whole paths.
    pub fn projection_shapes(&self) -> impl Iterator<Item = (String, [usize; 2])> {
        let stacks = match self.encoder {
            None => vec![("model.layers", self.num_layers, self.projections())],
            Some(encoder) => vec![
                ("encoder.block", encoder.num_layers, self.encoder_projections()),
                ("decoder.block", self.num_layers, self.projections()),
            ],
        };
        stacks.into_iter().flat_map(|(stack, layers, of_layer)| {
            (0..layers).flat_map(move |layer| {
                let of_layer = of_layer.clone().into_iter();
                of_layer.map(move |(name, shape)| (format!("{stack}.{layer}.{name}"), shape))
            })
        })
    }

    /// The names and shapes of all tensors of a decoder alone, as a checkpoint has them.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let Self { attention, mlp, norm, hidden_size: hidden, .. } = self;
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, *hidden])];
        for layer in 0..self.num_layers {
            let mut put = |part: &str, shape: Vec<usize>| tensors.push((format!("model.layers.{layer}.{part}"), shape));
            for (path, [outputs, inputs]) in self.projections() {
                put(&format!("{path}.weight"), vec![outputs, inputs]);
                let has_bias = match path {
                    "self_attn.o_proj" => attention.bias.output,
                    path if path.starts_with("self_attn.") => attention.bias.qkv,
                    _ => mlp.bias,
                };
                if has_bias {
                    put(&format!("{path}.bias"), vec![outputs]);
                }
            }
            for name in norm.place.names() {
                put(&format!("{name}.weight"), vec![*hidden]);
            }
            if let Some([queries, keys]) = attention.norm_widths() {
                put("self_attn.q_norm.weight", vec![queries]);
                put("self_attn.k_norm.weight", vec![keys]);
            }
        }
        tensors.push(("model.norm.weight".to_owned(), vec![*hidden]));
        if !self.tie_word_embeddings {
            tensors.push(("lm_head.weight".to_owned(), vec![self.vocab_size, *hidden]));
        }
        tensors
    }

    pub(super) fn from_map(path: &Path, map: &Map<String, Value>) -> Result<Self, ConfigError> {
        let fields = Fields::new(path, map);
        let config = (Dialect::of(&fields)?.read)(&fields)?;
        if config.parameters() > MAX_PARAMETERS {
            return Err(fields.error(
                "hidden_size",
                format!("sizes of at most {MAX_PARAMETERS} parameters together, not {}", config.parameters()),
                COMPARE,
            ));
        }
        Ok(config)
    }

    fn parameters(&self) -> u128 {
        let Self { attention, mlp, norm, .. } = self;
        let [hidden, intermediate, vocab] =
            [self.hidden_size, mlp.intermediate_size, self.vocab_size].map(|size| size as u128);
        let queries = attention.num_heads as u128 * attention.head_dim as u128;
        let keys = attention.num_kv_heads as u128 * attention.head_dim as u128;
        let when = |present: bool, count: u128| if present { count } else { 0 };

        let attention = 2 * hidden * (queries + keys)
            + when(attention.bias.qkv, queries + 2 * keys)
            + when(attention.bias.output, hidden)
            + attention.norm_widths().map_or(0, |widths| widths.iter().sum::<usize>() as u128);
        let mlp = 3 * hidden * intermediate + when(mlp.bias, 2 * intermediate + hidden);
        let norms = norm.place.names().len() as u128 * hidden;
        let embeddings = vocab * hidden * if self.tie_word_embeddings { 1 } else { 2 };
        if let Some(encoder) = self.encoder {
            let tables = 2 * encoder.buckets as u128 * self.attention.num_heads as u128;
            let [ours, theirs] = [self.projections(), self.encoder_projections()]
                .map(|maps| maps.iter().map(|(_, [outputs, inputs])| *outputs as u128 * *inputs as u128).sum::<u128>());
            let decoder = self.num_layers as u128 * (ours + 3 * hidden) + hidden;
            return embeddings + tables + decoder + encoder.num_layers as u128 * (theirs + 2 * hidden) + hidden;
        }
        embeddings + self.num_layers as u128 * (attention + mlp + norms) + hidden
    }
}
