//! The decoder every architecture shares: LLaMA's, with the options of [`DecoderConfig`] for the others, or T5's behind its
//! encoder (`t5`).
//!
//! Fields carry the names of Hugging Face checkpoints, so that a parameter's path in the module tree is its tensor's
//! name in the file.

mod attention;
mod behind;
mod block;
mod cache;
mod folder;
mod head;
mod layers;
mod low_rank;
mod m2m;
mod mlp;
mod parameters;
mod rotary;
mod t5;
#[cfg(test)]
mod testing;
mod training;
mod weights;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use mpo_kernels::{FEW_ROWS, PackedLayout, RotaryTables, sequence_log_probs, take_rows};

use crate::adapter::AdapterConfig;
use crate::batch::{self, Batch, Layer, Outputs, Packed, Places, Side, Targets};
use crate::{DecoderConfig, Precision, RopeConfig};
pub(crate) use behind::Going;
use block::Block;
pub use cache::KeyValueCache;
use layers::{Embedding, Head, Norm};
pub use m2m::Translator;
pub use parameters::NamedParameter;
use t5::EncoderDecoder;
pub use training::{
    Accumulator, NamedGradients, Pass, PassOptions, RunAgain, TokenGradients, Walk, add_token_gradients, squared_norms,
};
pub use weights::{Initializer, WeightSource};

/// A language model: a decoder, or an encoder and a decoder, and the head.
#[derive(Module, Debug)]
pub struct CausalLm {
    trunk: Trunk,
    lm_head: Option<Head>,
    #[module(skip)]
    config: DecoderConfig,
    /// What the adapter of the linear maps is, where they have one.
    #[module(skip)]
    adapter: Option<AdapterConfig>,
    #[module(skip)]
    precision: Precision,
}

/// What gives the head its states.
#[expect(clippy::large_enum_variant, reason = "there are one or two models")]
#[derive(Module, Debug)]
enum Trunk {
    Alone(Alone),
    Behind(EncoderDecoder),
}

/// A decoder by itself, under the name that checkpoints have for it.
#[derive(Module, Debug)]
struct Alone {
    model: Decoder,
}

#[derive(Module, Debug)]
struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Block>,
    norm: Norm,
}

/// A batch as a decoder alone takes it.
struct Lowered {
    packed: Packed,
    targets: Targets,
    /// That something is wanted of.
    layers: Vec<Layer>,
}

/// Where states come from.
type Source = (Side, Layer);

/// What every layer is given beside its input.
struct Context<'a> {
    layout: &'a PackedLayout,
    /// Keys and values of earlier tokens; this batch's are added.
    cache: Option<&'a mut KeyValueCache>,
    /// One entry for each kind of rotary embedding among the layers.
    tables: Vec<(RopeConfig, RotaryTables)>,
    precision: Precision,
}

impl Context<'_> {
    fn tables(&self, rope: &RopeConfig) -> &RotaryTables {
        let of = self.tables.iter().find(|(config, _)| config == rope);
        &of.expect("tables are made for every layer's configuration").1
    }
}

impl CausalLm {
    /// The model with weights from `source`, trainable if `device` has autodiff.
    ///
    /// # Errors
    /// Those of `source`: a tensor missing or of another shape.
    pub fn new<S: WeightSource>(config: DecoderConfig, source: &mut S, device: &Device) -> Result<Self, S::Error> {
        let mut weights = weights::Weights { source, device };
        let trunk = match &config.encoder {
            Some(encoder) => Trunk::Behind(EncoderDecoder::new(&config, encoder, &mut weights)?),
            None => Trunk::Alone(Alone { model: Decoder::new(&config, &mut weights)? }),
        };
        let lm_head =
            if config.tie_word_embeddings { None } else { Some(Head::new(&config, "lm_head", &mut weights)?) };
        Ok(Self { trunk, lm_head, config, adapter: None, precision: Precision::default() })
    }

    /// The same model with its products made in `precision`.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// What products are made in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What the model is.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        self.embedding().weight.val().device()
    }

    fn embedding(&self) -> &Embedding {
        match &self.trunk {
            Trunk::Alone(Alone { model }) => &model.embed_tokens,
            Trunk::Behind(model) => &model.shared,
        }
    }

    /// What is wanted of a batch. Layers that nothing is wanted of are not computed.
    ///
    /// # Panics
    /// If a token is outside the vocabulary (checked where ids are made), or a layer is not one of the model's.
    pub fn forward(&self, batch: &Batch) -> Outputs {
        match &self.trunk {
            Trunk::Alone(Alone { model }) => self.forward_alone(model, batch),
            Trunk::Behind(model) => self.forward_behind(model, batch),
        }
    }

    fn forward_alone(&self, model: &Decoder, batch: &Batch) -> Outputs {
        let lowered = self.lower(batch);
        let Lowered { packed, targets, layers } = &lowered;
        let mut states: Vec<Option<Tensor<2>>> = batch.wanted_states().map(|_| None).collect();
        let mut scores = None;
        self.run_each(model, &packed.ids, &packed.layout, None, layers, &mut |layer, hidden| {
            // Taken as soon as the layer is there, so that its other rows do not stay until the last one.
            for (slot, (of, places)) in states.iter_mut().zip(batch.wanted_states()) {
                if of == layer {
                    *slot = Some(taken(packed, places, &hidden));
                }
            }
            if layer == Layer::Last && !targets.ids.is_empty() {
                let log_probs = self.to_logits().token_log_probs(&hidden, &targets.rows, &targets.ids, 0);
                scores = Some(sequence_log_probs(log_probs, &targets.lengths));
            }
        });
        let states = states.into_iter().map(|states| states.expect("every wanted layer is computed"));
        Outputs { states: states.collect(), scores, head: self.to_logits() }
    }

    fn lower(&self, batch: &Batch) -> Lowered {
        let packed = Packed::new(batch, FEWEST);
        Lowered { targets: packed.targets(batch), layers: batch.layers().collect(), packed }
    }

    /// What is wanted, made from the states of every layer that something is wanted of; `log_probs` makes those of all targets
    /// from the last one's.
    fn outputs(
        &self,
        batch: &Batch,
        lowered: &Lowered,
        all: Vec<Tensor<2>>,
        log_probs: impl FnOnce(&Tensor<2>) -> Tensor<1>,
    ) -> Outputs {
        let Lowered { packed, targets, layers } = lowered;
        let scores = (!targets.ids.is_empty()).then(|| sequence_log_probs(log_probs(&all[0]), &targets.lengths));
        let states = batch.wanted_states().map(|(layer, places)| {
            let at = layers.iter().position(|one| *one == layer);
            taken(packed, places, &all[at.expect("every wanted layer is among them")])
        });
        Outputs { states: states.collect(), scores, head: self.to_logits() }
    }

    fn alone(&self) -> &Decoder {
        match &self.trunk {
            Trunk::Alone(Alone { model }) => model,
            Trunk::Behind(_) => panic!("expected a decoder alone: one behind an encoder takes batches"),
        }
    }

    /// The last layer's output after the final norm, `[tokens, hidden_size]`, for packed `tokens`.
    ///
    /// # Panics
    /// If a token is outside the vocabulary or their number is not the layout's: both are checked where ids are made. If there is
    /// an encoder: what passes through that is a [`Batch`].
    pub fn hidden_states(&self, tokens: &[u32], layout: &PackedLayout) -> Tensor<2> {
        self.run(self.alone(), tokens, layout, None, &[Layer::Last]).remove(0)
    }

    /// The same for tokens that may follow others: `layout` says where in `cache` this batch's keys and values go, and
    /// which rows there each token sees. Without gradients.
    ///
    /// # Panics
    /// As [`hidden_states`](Self::hidden_states), or if the layout is for a cache of another size.
    pub fn next_hidden_states(&self, tokens: &[u32], layout: &PackedLayout, cache: &mut KeyValueCache) -> Tensor<2> {
        assert_eq!(cache.rows(), layout.keys(), "the layout is for this cache");
        self.run(self.alone(), tokens, layout, Some(cache), &[Layer::Last]).remove(0)
    }

    /// The states of each of `wanted`, `[tokens, hidden_size]`.
    fn run(
        &self,
        model: &Decoder,
        tokens: &[u32],
        layout: &PackedLayout,
        cache: Option<&mut KeyValueCache>,
        wanted: &[Layer],
    ) -> Vec<Tensor<2>> {
        collected(wanted, |found| self.run_each(model, tokens, layout, cache, wanted, found))
    }

    /// Hands out the states of each of `wanted`, `[tokens, hidden_size]`, as soon as they are there.
    fn run_each(
        &self,
        model: &Decoder,
        tokens: &[u32],
        layout: &PackedLayout,
        cache: Option<&mut KeyValueCache>,
        wanted: &[Layer],
        found: &mut dyn FnMut(Layer, Tensor<2>),
    ) {
        assert_eq!(tokens.len(), layout.tokens(), "one token per row");
        let tables = self.rotary_tables(layout, &self.device());
        let mut context = Context { layout, cache, tables, precision: self.precision };
        model.through_each(self.embed(tokens), &mut context, wanted, &mut |_| {}, found);
    }

    /// What the first layer is given, `[tokens, hidden_size]`.
    fn embed(&self, tokens: &[u32]) -> Tensor<2> {
        let x = self.embedding().forward(tokens);
        match self.config.embedding_scale {
            Some(scale) => x.mul_scalar(scale as f32),
            None => x,
        }
    }

    fn rotary_tables(&self, layout: &PackedLayout, device: &Device) -> Vec<(RopeConfig, RotaryTables)> {
        let positions = layout.positions();
        let mut tables: Vec<(RopeConfig, RotaryTables)> = vec![];
        for rope in self.config.layers.iter().filter_map(|layer| layer.rope.as_ref()) {
            if tables.iter().all(|(of, _)| of != rope) {
                let made = RotaryTables::new(&positions, &rope.inv_freq(), device);
                tables.push((rope.clone(), made.scaled(rope.attention_factor() as f32)));
            }
        }
        tables
    }

    /// log p of `targets[i]` after the token whose hidden state is row `rows[i]`; `[targets]`, nats.
    pub fn token_log_probs(&self, hidden_states: Tensor<2>, rows: &[usize], targets: &[u32]) -> Tensor<1> {
        self.to_logits().token_log_probs(&hidden_states, rows, targets, 0)
    }

    /// The logits of a few rows of hidden states, `[rows, vocab_size]`: for generation, never for training.
    pub fn logits(&self, hidden_states: Tensor<2>) -> Tensor<2> {
        self.to_logits().logits(hidden_states)
    }

    /// What turns its hidden states into logits.
    fn to_logits(&self) -> batch::Head {
        batch::Head {
            weight: self.head(),
            scale: self.config.logit_scale,
            softcap: self.config.final_softcap,
            precision: self.precision,
        }
    }

    /// The output projection, `[vocab_size, hidden_size]`; a tied one is the embedding.
    pub fn head(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.val(),
            None => self.embedding().weight.val(),
        }
    }
}

impl Decoder {
    fn new<S: WeightSource>(config: &DecoderConfig, weights: &mut weights::Weights<'_, S>) -> Result<Self, S::Error> {
        Ok(Self {
            embed_tokens: Embedding::new(config, "model.embed_tokens", weights)?,
            layers: (0..config.num_layers).map(|i| Block::new(config, i, weights)).collect::<Result<_, _>>()?,
            norm: Norm::new(&config.norm, "model.norm", config.hidden_size, weights)?,
        })
    }

    /// The states of each of `wanted`. `each_input` is told what every layer is given that is computed, and the final norm.
    fn through_layers(
        &self,
        x: Tensor<2>,
        context: &mut Context<'_>,
        wanted: &[Layer],
        each_input: &mut dyn FnMut(&Tensor<2>),
    ) -> Vec<Tensor<2>> {
        collected(wanted, |found| self.through_each(x, context, wanted, each_input, found))
    }

    /// The same, handed to `found` layer by layer.
    fn through_each(
        &self,
        x: Tensor<2>,
        context: &mut Context<'_>,
        wanted: &[Layer],
        each_input: &mut dyn FnMut(&Tensor<2>),
        found: &mut dyn FnMut(Layer, Tensor<2>),
    ) {
        through(&self.layers, &self.norm, x, wanted, each_input, found, &mut |block, index, x| {
            block.forward(x, index, context)
        });
    }
}

/// Goes through blocks, as far as anything is wanted of them, and the norm after them. What is wanted is handed to `found` layer by
/// layer; `each_input` is told what every block is given that is computed, and the norm.
fn through<B>(
    blocks: &[B],
    norm: &Norm,
    mut x: Tensor<2>,
    wanted: &[Layer],
    each_input: &mut dyn FnMut(&Tensor<2>),
    found: &mut dyn FnMut(Layer, Tensor<2>),
    forward: &mut dyn FnMut(&B, usize, Tensor<2>) -> Tensor<2>,
) {
    let depth =
        if wanted.contains(&Layer::Last) { blocks.len() } else { wanted.iter().map(Layer::depth).max().unwrap_or(0) };
    for (index, block) in blocks.iter().take(depth).enumerate() {
        each_input(&x);
        x = forward(block, index, x);
        if wanted.contains(&Layer::Output(index)) {
            found(Layer::Output(index), x.clone());
        }
    }
    if wanted.contains(&Layer::Last) {
        each_input(&x);
        found(Layer::Last, norm.forward(x));
    }
}

/// Rows of a batch at least: more than a few, so that a row's numbers do not depend on its batch. The reference's batches are
/// others than those of training.
const FEWEST: usize = FEW_ROWS + 1;

/// The states that `run` hands out, in the order of `wanted`.
fn collected(wanted: &[Layer], run: impl FnOnce(&mut dyn FnMut(Layer, Tensor<2>))) -> Vec<Tensor<2>> {
    let mut all: Vec<Option<Tensor<2>>> = wanted.iter().map(|_| None).collect();
    run(&mut |layer, states| {
        for (slot, _) in all.iter_mut().zip(wanted).filter(|(_, of)| **of == layer) {
            *slot = Some(states.clone());
        }
    });
    all.into_iter().map(|states| states.expect("a layer of the model")).collect()
}

/// The states at these places of a layer whose rows are `hidden`.
fn taken(packed: &Packed, places: &Places, hidden: &Tensor<2>) -> Tensor<2> {
    match places {
        Places::Tokens(at) => {
            let rows: Vec<usize> = at.iter().flat_map(|&at| packed.rows(at)).collect();
            select_rows(hidden, &rows)
        }
        Places::Means(groups) => {
            let groups: Vec<_> = groups.iter().map(|of| packed.all_rows(of)).collect();
            mean_rows(hidden, &groups)
        }
    }
}

/// Some rows of a matrix, `[rows, width]`.
pub(crate) fn select_rows(matrix: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    take_rows(matrix.clone(), &rows)
}

/// The mean of each group of rows, `[groups, width]`. Each is summed by itself: as one product of all groups, a mean would
/// depend in its last bits on what stands beside its rows, and states that have not moved would seem to have.
fn mean_rows(matrix: &Tensor<2>, groups: &[Vec<usize>]) -> Tensor<2> {
    let rows = select_rows(matrix, &groups.concat());
    let mut first = 0;
    let means = groups.iter().map(|group| {
        let own = rows.clone().narrow(0, first, group.len());
        first += group.len();
        own.mean_dim(0)
    });
    Tensor::cat(means.collect(), 0)
}

/// Token ids or row numbers as a tensor.
fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
