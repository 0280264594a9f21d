//! The decoder every architecture shares: LLaMA's, with the options of [`DecoderConfig`] for the others.
//!
//! Fields carry the names of Hugging Face checkpoints, so that a parameter's path in the module tree is its tensor's
//! name in the file.

mod attention;
mod block;
mod cache;
mod layers;
mod mlp;
mod weights;

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use mpo_kernels::{LinearLogProbsOptions, PackedLayout, RotaryTables, linear_token_log_probs};

use crate::{DecoderConfig, RopeConfig};
use block::Block;
pub use cache::KeyValueCache;
use layers::{Embedding, Linear, RmsNorm};
pub use weights::{Initializer, NamedParameter, WeightSource};

/// A causal language model: decoder and head.
#[derive(Module, Debug)]
pub struct CausalLm {
    model: Decoder,
    lm_head: Option<Linear>,
    #[module(skip)]
    config: DecoderConfig,
}

#[derive(Module, Debug)]
struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Block>,
    norm: RmsNorm,
}

/// What every layer is given beside its input.
struct Context<'a> {
    layout: &'a PackedLayout,
    /// Keys and values of earlier tokens; this batch's are added.
    cache: Option<&'a mut KeyValueCache>,
    /// One entry for each kind of rotary embedding among the layers.
    tables: Vec<(RopeConfig, RotaryTables)>,
}

impl Context<'_> {
    fn tables(&self, rope: &RopeConfig) -> &RotaryTables {
        let of = self.tables.iter().find(|(config, _)| config == rope);
        &of.expect("tables are made for every layer's configuration")
            .1
    }
}

impl CausalLm {
    /// The model with weights from `source`, trainable if `device` has autodiff.
    ///
    /// # Errors
    /// Those of `source`: a tensor missing or of another shape.
    pub fn new<S: WeightSource>(
        config: DecoderConfig,
        source: &mut S,
        device: &Device,
    ) -> Result<Self, S::Error> {
        let mut weights = weights::Weights { source, device };
        let model = Decoder {
            embed_tokens: Embedding::new(&config, "model.embed_tokens", &mut weights)?,
            layers: (0..config.num_layers)
                .map(|i| Block::new(&config, i, &mut weights))
                .collect::<Result<_, _>>()?,
            norm: RmsNorm::new(&config, "model.norm", config.hidden_size, &mut weights)?,
        };
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(Linear::new(
                "lm_head",
                [config.vocab_size, config.hidden_size],
                false,
                &mut weights,
            )?),
        };
        Ok(Self {
            model,
            lm_head,
            config,
        })
    }

    /// What the model is.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        self.model.embed_tokens.weight.val().device()
    }

    /// The last layer's output after the final norm, `[tokens, hidden_size]`, for packed `tokens`.
    ///
    /// # Panics
    /// If a token is outside the vocabulary or their number is not the layout's: both are checked where ids are made.
    pub fn hidden_states(&self, tokens: &[u32], layout: &PackedLayout) -> Tensor<2> {
        self.run(tokens, layout, None)
    }

    /// The same for tokens that may follow others: `layout` says where in `cache` this batch's keys and values go, and
    /// which rows there each token sees. Without gradients.
    ///
    /// # Panics
    /// As [`hidden_states`](Self::hidden_states), or if the layout is for a cache of another size.
    pub fn next_hidden_states(
        &self,
        tokens: &[u32],
        layout: &PackedLayout,
        cache: &mut KeyValueCache,
    ) -> Tensor<2> {
        assert_eq!(cache.rows(), layout.keys(), "the layout is for this cache");
        self.run(tokens, layout, Some(cache))
    }

    fn run(
        &self,
        tokens: &[u32],
        layout: &PackedLayout,
        cache: Option<&mut KeyValueCache>,
    ) -> Tensor<2> {
        assert_eq!(tokens.len(), layout.tokens(), "one token a row");
        let device = self.device();
        let mut x = self.model.embed_tokens.forward(tokens);
        if let Some(scale) = self.config.embedding_scale {
            x = x.mul_scalar(scale as f32);
        }
        let mut context = Context {
            layout,
            cache,
            tables: self.rotary_tables(layout, &device),
        };
        for (index, block) in self.model.layers.iter().enumerate() {
            x = block.forward(x, index, &mut context);
        }
        self.model.norm.forward(x)
    }

    fn rotary_tables(
        &self,
        layout: &PackedLayout,
        device: &Device,
    ) -> Vec<(RopeConfig, RotaryTables)> {
        let positions = layout.positions();
        let mut tables: Vec<(RopeConfig, RotaryTables)> = vec![];
        for layer in &self.config.layers {
            if tables.iter().all(|(rope, _)| *rope != layer.rope) {
                let frequencies = layer.rope.inv_freq(self.config.head_dim);
                let made = RotaryTables::new(&positions, &frequencies, device);
                let factor = layer.rope.attention_factor() as f32;
                tables.push((layer.rope, made.scaled(factor)));
            }
        }
        tables
    }

    /// log p of `targets[i]` after the token whose hidden state is row `rows[i]`; `[targets]`, nats.
    pub fn token_log_probs(
        &self,
        hidden_states: Tensor<2>,
        rows: &[usize],
        targets: &[u32],
    ) -> Tensor<1> {
        let device = hidden_states.device();
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        linear_token_log_probs(
            hidden_states.select(0, indices(&rows, &device)),
            widened(self.head()),
            indices(targets, &device),
            LinearLogProbsOptions {
                softcap: self.config.final_softcap,
                gradient_filter: None,
            },
        )
    }

    /// The logits of a few rows of hidden states, `[rows, vocab_size]`: for generation, never for training.
    pub fn logits(&self, hidden_states: Tensor<2>) -> Tensor<2> {
        let logits = mpo_kernels::linear(hidden_states, self.head());
        match self.config.final_softcap {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        }
    }

    /// The output projection, `[vocab_size, hidden_size]`; a tied one is the embedding.
    pub fn head(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.val(),
            None => self.model.embed_tokens.weight.val(),
        }
    }
}

/// A matrix in f32, in which everything is computed; one that is stored in bf16 is widened.
fn widened(matrix: Tensor<2>) -> Tensor<2> {
    match matrix.dtype() {
        DType::BF16 => matrix.cast(DType::F32),
        _ => matrix,
    }
}

/// Token ids or row numbers as a tensor.
fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
