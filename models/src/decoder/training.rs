//! Passes that gradients are wanted of, and the gradients of several passes together.
//!
//! What a layer gives follows from its input and its weights. So a backward can run the layer again: then a pass keeps each
//! layer's input and nothing else of what was computed, and the layers of all passes are gone through one by one, the last
//! first. The gradients are the same to the bit, because they are sums of the same numbers in the same order.
//!
//! [`Walk`] hands gradients out as it comes past, and can be taken twice: for their norms, and then to use and drop one part of
//! the model's at a time, so that they are never there all at once. The gradient of a head that is tied to the embedding comes
//! last, with the embedding's. It can be made then, from what little it is made from, and for its norm a slice at a time.

use std::ops::Range;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use mpo_kernels::allocator::give_back_freed_memory;
use mpo_kernels::{
    LinearLogProbs, PackedLayout, RotaryTables, SQUARES_BLOCK, add_rows, backward_from, squared_l2_norm,
    squared_l2_norm_of, zeros,
};

use super::behind::Lowered;
use super::parameters::gradients_of;
use super::{Alone, CausalLm, Context, Decoder, EncoderDecoder, Source, Trunk, indices, select_rows, t5};
use crate::RopeConfig;
use crate::batch::{Batch, Layer, Outputs, Side, Targets};

/// How the backward of a pass gets what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassOptions {
    /// What is run again instead of being kept.
    pub again: RunAgain,
    /// Bytes of the head's logits that are kept from forward to backward, at most; the rest is made again.
    pub head_memory: usize,
}

/// What a backward runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAgain {
    /// Nothing: all that layers compute is kept.
    Nothing,
    /// The layers.
    Layers,
    /// The layers, and the head once more: its gradient, as large as it is, is made when its turn comes in the walk.
    LayersAndHead,
}

/// A pass whose backward is yet to come.
#[derive(Debug)]
pub struct Pass(Kept);

/// What a pass keeps for its backward.
#[derive(Debug)]
enum Kept {
    /// Everything that was computed, from these inputs of first layers on: tokens, and what the embedding gave for them.
    Graph { embedded: Vec<(Vec<u32>, Tensor<2>)> },
    /// What layers are run again from.
    Inputs {
        passage: Passage,
        /// Where the graph of the loss begins.
        states: Vec<(Source, Tensor<2>)>,
        /// Where it begins too, if the head is run again.
        scored: Option<Box<Scored>>,
    },
}

/// Layers and norms to be run again.
#[derive(Debug)]
enum Passage {
    Alone(AlonePassage),
    Behind(Box<t5::Passage>),
}

/// Of a decoder alone.
#[derive(Debug)]
struct AlonePassage {
    ids: Vec<u32>,
    layout: PackedLayout,
    tables: Vec<(RopeConfig, RotaryTables)>,
    /// Inputs of the layers that were computed, and of the final norm if it was.
    inputs: Vec<Tensor<2>>,
}

/// Log-probs that a loss was made from, as if they had come from nowhere.
#[derive(Debug)]
struct Scored {
    /// In a graph that begins with the last states.
    hidden: Tensor<2>,
    head: LinearLogProbs,
    log_probs: Tensor<1>,
}

impl CausalLm {
    /// What is wanted of a batch, and what the gradients of a loss of it are made from.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_training(&self, batch: &Batch, options: PassOptions) -> (Outputs, Pass) {
        match &self.trunk {
            Trunk::Alone(Alone { model }) => self.training_alone(model, batch, options),
            Trunk::Behind(model) => self.training_behind(model, batch, options),
        }
    }

    fn training_alone(&self, model: &Decoder, batch: &Batch, options: PassOptions) -> (Outputs, Pass) {
        let PassOptions { again, head_memory } = options;
        let lowered = self.lower(batch);
        let ids = lowered.packed.ids.clone();
        let layout = lowered.packed.layout.clone();
        let plain = self.valid();
        let embedded = plain.embed(&ids);
        let tables = plain.rotary_tables(&layout, &plain.device());
        let mut context = Context { layout: &layout, cache: None, tables, precision: self.precision };
        if again == RunAgain::Nothing {
            let embedded = if self.trains_embedding() { leaf(embedded) } else { embedded.autodiff() };
            context.tables = with_autodiff(context.tables);
            let all = model.through_layers(embedded.clone(), &mut context, &lowered.layers, &mut |_| {});
            let log_probs = |hidden: &Tensor<2>| self.kept_log_probs(hidden, &lowered.targets, head_memory);
            let outputs = self.outputs(batch, &lowered, all, log_probs);
            return (outputs, Pass(Kept::Graph { embedded: vec![(ids, embedded)] }));
        }
        let mut inputs = vec![];
        let mut keep = |input: &Tensor<2>| inputs.push(input.clone());
        let all = plain.alone().through_layers(embedded, &mut context, &lowered.layers, &mut keep);
        let all: Vec<Tensor<2>> = all.into_iter().map(leaf).collect();
        let sources = lowered.layers.iter().map(|&layer| (Side::Decoder, layer));
        let states = sources.zip(all.iter().cloned()).collect();
        let tables = with_autodiff(context.tables);
        let mut scored = None;
        let log_probs = |hidden: &Tensor<2>| self.log_probs_of_leaf(hidden, &lowered.targets, options, &mut scored);
        let outputs = self.outputs(batch, &lowered, all, log_probs);
        let passage = Passage::Alone(AlonePassage { ids, layout, tables, inputs });
        (outputs, Pass(Kept::Inputs { passage, states, scored }))
    }

    fn training_behind(&self, model: &EncoderDecoder, batch: &Batch, options: PassOptions) -> (Outputs, Pass) {
        let PassOptions { again, head_memory } = options;
        let lowered = Lowered::new(batch, model.config().start_token_id, model.config().num_layers);
        let plain = self.valid();
        if again == RunAgain::Nothing {
            let embedded = [Side::Encoder, Side::Decoder].map(|side| {
                let ids = lowered.ids(side);
                let embedded = (!ids.is_empty()).then(|| plain.embed(ids));
                embedded.map(|embedded| if self.trains_embedding() { leaf(embedded) } else { embedded.autodiff() })
            });
            let of = |side: Side| embedded[side as usize].clone().expect("a side with tokens is embedded");
            let all = model.states(&lowered, of, self.precision, &mut |_, _| {});
            let log_probs = |hidden: &Tensor<2>| self.kept_log_probs(hidden, lowered.targets(), head_memory);
            let outputs = self.outputs_behind(&lowered, &all, log_probs);
            let sides = [Side::Encoder, Side::Decoder].into_iter().zip(embedded);
            let embedded = sides.filter_map(|(side, embedded)| Some((lowered.ids(side).to_vec(), embedded?)));
            return (outputs, Pass(Kept::Graph { embedded: embedded.collect() }));
        }
        let Trunk::Behind(plain_model) = &plain.trunk else {
            unreachable!("the same model without a graph");
        };
        let mut inputs = [vec![], vec![]];
        let mut keep = |side: Side, input: &Tensor<2>| inputs[side as usize].push(input.clone());
        let all = plain_model.states(&lowered, |side| plain.embed(lowered.ids(side)), self.precision, &mut keep);
        let encoded = (Side::Encoder, Layer::Last);
        let memory = all.iter().find(|(source, _)| *source == encoded).map(|(_, states)| states.clone());
        let all: Vec<_> = all.into_iter().map(|(source, states)| (source, leaf(states))).collect();
        let mut scored = None;
        let log_probs = |hidden: &Tensor<2>| self.log_probs_of_leaf(hidden, lowered.targets(), options, &mut scored);
        let outputs = self.outputs_behind(&lowered, &all, log_probs);
        let passage = Passage::Behind(Box::new(t5::Passage::new(plain_model, lowered, inputs, memory)));
        (outputs, Pass(Kept::Inputs { passage, states: all, scored }))
    }

    fn kept_log_probs(&self, hidden: &Tensor<2>, targets: &Targets, head_memory: usize) -> Tensor<1> {
        self.to_logits().token_log_probs(hidden, &targets.rows, &targets.ids, head_memory)
    }

    /// Log-probs from states that a graph begins with; from where it begins again, if the head is to be run again.
    fn log_probs_of_leaf(
        &self,
        states: &Tensor<2>,
        targets: &Targets,
        options: PassOptions,
        scored: &mut Option<Box<Scored>>,
    ) -> Tensor<1> {
        if options.again != RunAgain::LayersAndHead || !self.head().is_require_grad() {
            return self.kept_log_probs(states, targets, options.head_memory);
        }
        let hidden = self.to_logits().given(select_rows(states, &targets.rows));
        let device = self.device().inner();
        let head = LinearLogProbs::new(
            hidden.clone().without_autodiff(),
            self.head().without_autodiff(),
            indices(&targets.ids, &device),
            self.config.final_softcap,
        );
        let log_probs = leaf(head.log_probs());
        *scored = Some(Box::new(Scored { hidden, head, log_probs: log_probs.clone() }));
        log_probs
    }
}

fn with_autodiff(tables: Vec<(RopeConfig, RotaryTables)>) -> Vec<(RopeConfig, RotaryTables)> {
    tables.into_iter().map(|(rope, tables)| (rope, tables.autodiff())).collect()
}

/// A tensor that a graph begins with.
pub(super) fn leaf<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.autodiff().require_grad()
}

/// Gradients of every parameter, flat, in the model's order; `None` where no loss depends on it.
pub type NamedGradients = Vec<(String, Option<Tensor<1>>)>;

/// ‖g‖² of those that are there, `[1]` each.
pub fn squared_norms(gradients: &NamedGradients) -> Vec<Tensor<1>> {
    let gradients = gradients.iter().filter_map(|(_, gradient)| gradient.clone());
    gradients.map(squared_l2_norm).collect()
}

/// The sums of the gradients of several passes.
#[derive(Debug, Default)]
pub struct Accumulator {
    sums: NamedGradients,
    /// Passes whose layers are yet to be run again.
    reruns: Vec<Rerun>,
    /// Tokens, and the gradient at their embeddings.
    embedded: Vec<(Vec<u32>, Tensor<2>)>,
    /// Whether the head was run again.
    reran_head: bool,
}

/// A pass whose layers are to be run again, from the last on.
#[derive(Debug)]
struct Rerun {
    passage: Passage,
    /// The loss's gradient at states that it was made from.
    seeds: Vec<(Source, Tensor<2>)>,
    /// What the head's gradient is yet to be made from, and the loss's gradient at its log-probs.
    scored: Option<(LinearLogProbs, Tensor<1>)>,
    /// The gradient at the output of the layer that comes next.
    flowing: Option<Tensor<2>>,
}

impl Rerun {
    /// Runs a part of the model again, and returns the gradients of its parameters; none if the pass does not depend on them.
    fn through(&mut self, model: &CausalLm, part: usize) -> NamedGradients {
        let Self { passage, seeds, flowing, .. } = self;
        match (passage, &model.trunk) {
            (Passage::Alone(passage), Trunk::Alone(Alone { model: decoder })) => {
                passage.through(model, decoder, part, seeds, flowing)
            }
            (Passage::Behind(passage), Trunk::Behind(behind)) => {
                passage.through(behind, part, seeds, flowing, model.precision)
            }
            _ => unreachable!("a pass is of the model that it went through"),
        }
    }

    /// Lets go what a part was run again from.
    fn forget(&mut self, model: &CausalLm, part: usize) {
        match (&mut self.passage, &model.trunk) {
            (Passage::Behind(passage), Trunk::Behind(behind)) => passage.forget(behind, part),
            (Passage::Alone(passage), _) => passage.inputs.truncate(part),
            _ => unreachable!("a pass is of the model that it went through"),
        }
    }

    /// Tokens, and the gradients at their embeddings, once all parts are behind.
    fn at_tokens(&mut self) -> Vec<(Vec<u32>, Tensor<2>)> {
        let flowing = self.flowing.take();
        match &mut self.passage {
            Passage::Alone(passage) => flowing.map(|flowing| (passage.ids.clone(), flowing)).into_iter().collect(),
            Passage::Behind(passage) => passage.at_tokens(flowing),
        }
    }
}

impl AlonePassage {
    fn through(
        &self,
        model: &CausalLm,
        decoder: &Decoder,
        part: usize,
        seeds: &[(Source, Tensor<2>)],
        flowing: &mut Option<Tensor<2>>,
    ) -> NamedGradients {
        let Some(input) = self.inputs.get(part) else {
            return vec![];
        };
        let block = decoder.layers.get(part);
        let layer = if block.is_some() { Layer::Output(part) } else { Layer::Last };
        let own = seeds.iter().find(|((_, of), _)| *of == layer).map(|(_, seed)| seed.clone());
        let seed = match (flowing.take(), own) {
            (Some(flowing), Some(own)) => flowing + own,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return vec![],
        };
        let input = if model.trains_before(part) { leaf(input.clone()) } else { input.clone().autodiff() };
        let (tables, precision) = (self.tables.clone(), model.precision);
        let mut context = Context { layout: &self.layout, cache: None, tables, precision };
        let output = match block {
            Some(block) => block.forward(input.clone(), part, &mut context),
            None => decoder.norm.forward(input.clone()),
        };
        if !output.is_tracked() {
            return vec![];
        }
        let mut gradients = backward_from(output, seed);
        *flowing = taken(&input, &mut gradients);
        let path = model.path(part);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match block {
            Some(block) => gradients_of(block, &path, &mut gradients),
            None => gradients_of(&decoder.norm, &path, &mut gradients),
        }
    }
}

impl Accumulator {
    /// Adds the gradients of `loss`, a function of what `pass` gave.
    pub fn add(&mut self, model: &CausalLm, loss: Tensor<1>, pass: Pass) {
        let mut gradients = loss.backward();
        let mut own = model.take_gradients(&mut gradients);
        match pass.0 {
            Kept::Graph { embedded } => {
                add_to(&mut self.sums, own);
                let seeds = embedded.into_iter().filter_map(|(ids, of)| Some((ids, taken(&of, &mut gradients)?)));
                self.embedded.extend(seeds);
            }
            Kept::Inputs { passage, states, scored } => {
                let scored = scored.and_then(|scored| Some((taken(&scored.log_probs, &mut gradients)?, scored)));
                let mut at_scores = scored.as_ref().map(|(seed, scored)| {
                    let gradient = scored.head.hidden_gradient(model.head().without_autodiff(), seed.clone());
                    backward_from(scored.hidden.clone(), gradient)
                });
                let seeds = states.into_iter().filter_map(|(source, state)| {
                    let through_scores = at_scores.as_mut().and_then(|gradients| taken(&state, gradients));
                    let seed = match (taken(&state, &mut gradients), through_scores) {
                        (Some(one), Some(other)) => one + other,
                        (one, other) => one.or(other)?,
                    };
                    Some((source, seed))
                });
                let seeds = seeds.collect();
                self.reran_head |= scored.is_some();
                let mut scored = scored.map(|(seed, scored)| (scored.head, seed));
                // Where distributions are compared, the pass has a gradient of the head already. What would be put off is added to
                // it, so that the sums are those of passes, as they are where nothing is run again.
                let of_head = model.of_head(&mut own).filter(|gradient| gradient.is_some());
                if let Some(gradient) = of_head
                    && let Some((scored, seed)) = scored.take()
                {
                    let weight = model.head().without_autodiff();
                    let sum = gradient.take().map(|sum| sum.reshape(weight.dims()));
                    *gradient = sum.map(|sum| flat(scored.add_head_gradient(sum, 0, weight, seed)));
                }
                add_to(&mut self.sums, own);
                self.reruns.push(Rerun { passage, seeds, scored, flowing: None });
                if model.adapter.is_some() {
                    self.settle(model);
                }
            }
        }
    }

    /// Runs the layers of the passes so far again. An adapter's gradients take less memory than the inputs that passes keep, so
    /// they are not kept for the next.
    fn settle(&mut self, model: &CausalLm) {
        let (mut walk, mut parts) = (std::mem::take(self).walk(), vec![]);
        while let Some(part) = walk.next(model) {
            parts.push(part);
        }
        self.sums = parts.into_iter().rev().flatten().collect();
    }

    /// The sums over all passes, one part of the model after another.
    pub fn walk(self) -> Walk {
        let Self { sums, reruns, embedded, reran_head } = self;
        Walk { sums, reruns, embedded, reran_head, gone: 0, again: false, tokens_apart: false }
    }
}

/// A walk through the gradients of the parts of a model, the last first: head, final norm, layers, embedding. So all parts come
/// in the opposite of the order that parameters have.
#[derive(Debug)]
pub struct Walk {
    /// Gradients of the parts that are still to come, as far as nothing has to be run again for them.
    sums: NamedGradients,
    reruns: Vec<Rerun>,
    embedded: Vec<(Vec<u32>, Tensor<2>)>,
    /// Whether the head was run again, which is done where there is no room for its gradient.
    reran_head: bool,
    /// Parts that lie behind.
    gone: usize,
    /// Whether the walk will be taken again.
    again: bool,
    /// Whether the embedding's gradient is without what comes of tokens.
    tokens_apart: bool,
}

/// Tokens, and the gradient at the embedding's weight for each, `[tokens, hidden_size]`: one entry for each pass.
pub type TokenGradients = Vec<(Vec<u32>, Tensor<2>)>;

impl Walk {
    /// The same, in which the embedding's gradient is only that of a head that is tied to it;
    /// [`token_gradients`](Self::token_gradients) has the rest. They are a row a token, where the embedding has one for each token
    /// that there is.
    #[must_use]
    pub fn with_tokens_apart(self) -> Self {
        Self { tokens_apart: true, ..self }
    }

    /// What comes of tokens in the embedding's gradient, once the walk has come past it: [`add_token_gradients`] adds it.
    pub fn token_gradients(&mut self, model: &CausalLm) -> TokenGradients {
        self.at_tokens(model)
    }

    /// Whether layers are run again on the way.
    pub fn reruns_layers(&self) -> bool {
        !self.reruns.is_empty()
    }

    /// Goes all the way for ‖g‖² of every parameter's gradient, `[1]` each, in the order of parameters, and is back at the
    /// beginning. What is run again for it will be run again once more, so that no gradient need be kept.
    pub fn squared_norms(&mut self, model: &CausalLm) -> Vec<Tensor<1>> {
        self.again = true;
        let mut parts = vec![];
        while self.gone < model.num_parts() + 1 {
            let part = self.next(model).expect("the embedding comes last");
            parts.push(squared_norms(&part));
        }
        parts.push(self.embedding_norm(model).into_iter().collect());
        self.give_back();
        self.again = false;
        self.gone = 0;
        parts.into_iter().rev().flatten().collect()
    }

    /// The gradients of all passes for the next part of `model`, in the order of its parameters. The part's weights are not
    /// needed after it: they may be other ones by the time that its gradients are asked for again, or those of the next part.
    pub fn next(&mut self, model: &CausalLm) -> Option<NamedGradients> {
        let parts = model.num_parts();
        let part = match self.gone {
            0 => self.head(model),
            gone if gone <= parts => self.rerun(model, parts - gone),
            gone if gone == parts + 1 => self.embedding(model),
            _ => return None,
        };
        self.gone += 1;
        Some(part)
    }

    /// The sums for the part at `path` so far.
    fn known(&mut self, path: &str) -> NamedGradients {
        let of_part = |name: &str| name.starts_with(path);
        if self.again {
            self.sums.iter().filter(|(name, _)| of_part(name)).cloned().collect()
        } else {
            self.sums.extract_if(.., |(name, _)| of_part(name)).collect()
        }
    }

    fn rerun(&mut self, model: &CausalLm, part: usize) -> NamedGradients {
        let mut sums = self.known(&format!("{}.", model.path(part).join(".")));
        for rerun in &mut self.reruns {
            add_to(&mut sums, rerun.through(model, part));
            if !self.again {
                rerun.forget(model, part);
            }
        }
        sums
    }

    /// Gives freed memory back where there is no room for it: where not even the head's gradient is kept.
    fn give_back(&self) {
        if self.reran_head {
            give_back_freed_memory();
        }
    }

    /// The gradient of a head of its own.
    fn head(&mut self, model: &CausalLm) -> NamedGradients {
        let mut part = self.known("lm_head.");
        if let (Some((_, slot)), Some(_)) = (part.first_mut(), &model.lm_head) {
            let shape = model.head().dims();
            *slot = self.with_scored(model, slot.take().map(|sum| sum.reshape(shape)), 0..shape[0]).map(flat);
            if !self.again {
                self.reruns.iter_mut().for_each(|rerun| rerun.scored = None);
            }
        }
        part
    }

    fn embedding(&mut self, model: &CausalLm) -> NamedGradients {
        // What layers were run again from is free, in pieces, and this gradient is one.
        self.give_back();
        let mut part = self.known(model.embedding_path());
        let at_tokens = if self.tokens_apart { vec![] } else { self.at_tokens(model) };
        if let Some((_, slot)) = part.first_mut() {
            let rows = 0..model.config.vocab_size;
            *slot = self.rows_of_embedding(model, slot.take(), &at_tokens, rows).map(flat);
        }
        part
    }

    /// ‖g‖² of the embedding's gradient, of which a slice is made at a time.
    fn embedding_norm(&mut self, model: &CausalLm) -> Option<Tensor<1>> {
        let [(_, known)] = self.known(model.embedding_path()).try_into().expect("the embedding is one parameter");
        let at_tokens = self.at_tokens(model);
        let (vocabulary, width) = (model.config.vocab_size, model.config.hidden_size);
        let step = slice_rows(width);
        let slices = (0..vocabulary).step_by(step).map(|start| start..(start + step).min(vocabulary));
        // Where one slice has no gradient, none has.
        let slices = slices.map_while(|rows| self.rows_of_embedding(model, known.clone(), &at_tokens, rows));
        squared_l2_norm_of(slices)
    }

    /// Tokens, and the loss's gradient at what the embedding's weight gave for them.
    fn at_tokens(&mut self, model: &CausalLm) -> TokenGradients {
        let mut all = self.embedded.clone();
        all.extend(self.reruns.iter_mut().flat_map(Rerun::at_tokens));
        all.retain(|(ids, _)| !ids.is_empty());
        all.into_iter().map(|(ids, gradient)| model.at_weight(ids, gradient)).collect()
    }

    /// Some rows of the embedding's gradient, that of a head that is tied to it included: `known` and what comes on top.
    fn rows_of_embedding(
        &self,
        model: &CausalLm,
        known: Option<Tensor<1>>,
        at_tokens: &[(Vec<u32>, Tensor<2>)],
        rows: Range<usize>,
    ) -> Option<Tensor<2>> {
        let [vocabulary, width] = model.embedding().weight.val().dims();
        let known = known.map(|sum| sum.reshape([vocabulary, width]));
        let known = known.map(|sum| if rows.len() == vocabulary { sum } else { sum.slice([rows.clone()]) });
        let sum = if model.lm_head.is_none() { self.with_scored(model, known, rows.clone()) } else { known };
        add_token_gradients(sum, rows, at_tokens)
    }

    /// Some rows of the head's gradient, with what is yet to be made of it.
    fn with_scored(&self, model: &CausalLm, known: Option<Tensor<2>>, rows: Range<usize>) -> Option<Tensor<2>> {
        let head = model.head().without_autodiff();
        let scored = self.reruns.iter().filter_map(|rerun| rerun.scored.as_ref());
        scored.fold(known, |sum, (scored, seed)| {
            let sum = sum.unwrap_or_else(|| zeros([rows.len(), head.dims()[1]], &head.device(), head.dtype()));
            Some(scored.add_head_gradient(sum, rows.start, head.clone(), seed.clone()))
        })
    }
}

/// Rows of a slice of the embedding's gradient: some 30 MB, in whole blocks of what squares are summed in and whole tiles of the
/// head, so that the norm is that of the whole gradient to the bit.
fn slice_rows(width: usize) -> usize {
    const NUMBERS: usize = 1 << 23;
    const TILE: usize = 256;
    let powers_of_two = 1 << width.trailing_zeros();
    let step = (SQUARES_BLOCK / SQUARES_BLOCK.min(powers_of_two)).max(TILE);
    (NUMBERS / width).next_multiple_of(step)
}

fn flat(tensor: Tensor<2>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.reshape([elements])
}

/// Some `rows` of the embedding's gradient with what comes of tokens, pass after pass; none if nothing comes of them and there
/// was nothing.
pub fn add_token_gradients(
    mut sum: Option<Tensor<2>>,
    rows: Range<usize>,
    at_tokens: &[(Vec<u32>, Tensor<2>)],
) -> Option<Tensor<2>> {
    for (ids, gradient) in at_tokens {
        let [_, width] = gradient.dims();
        let so_far = sum.unwrap_or_else(|| zeros([rows.len(), width], &gradient.device(), gradient.dtype()));
        let own: Vec<usize> = (0..ids.len()).filter(|&at| rows.contains(&(ids[at] as usize))).collect();
        let own_ids: Vec<u32> = own.iter().map(|&at| ids[at] - rows.start as u32).collect();
        sum = Some(if own.is_empty() {
            so_far
        } else {
            let gradient = if own.len() == ids.len() { gradient.clone() } else { select_rows(gradient, &own) };
            add_rows(so_far, &own_ids, gradient)
        });
    }
    sum
}

impl CausalLm {
    /// The name of the embedding among [`each_parameter`](Self::each_parameter)'s.
    pub fn embedding_name(&self) -> String {
        format!("{}weight", self.embedding_path())
    }

    /// The gradient of the head, or of the embedding that it is tied to, among those of all parameters.
    fn of_head<'g>(&self, gradients: &'g mut NamedGradients) -> Option<&'g mut Option<Tensor<1>>> {
        let of = if self.lm_head.is_some() { "lm_head." } else { self.embedding_path() };
        gradients.iter_mut().find(|(name, _)| name.starts_with(of)).map(|(_, gradient)| gradient)
    }

    fn trains_embedding(&self) -> bool {
        self.embedding().weight.val().is_require_grad()
    }

    /// Whether the embedding is trained, or a part before this one: an adapter may begin further up.
    fn trains_before(&self, part: usize) -> bool {
        match &self.trunk {
            Trunk::Alone(Alone { model }) => self.trains_embedding() || model.layers[..part].iter().any(is_trained),
            Trunk::Behind(model) => model.trains_before(part),
        }
    }

    /// How many parts can be run again: layers and norms.
    fn num_parts(&self) -> usize {
        match &self.trunk {
            Trunk::Alone(Alone { model }) => model.layers.len() + 1,
            Trunk::Behind(model) => model.num_parts(),
        }
    }

    /// Where a part that can be run again is.
    fn path(&self, part: usize) -> Vec<String> {
        match &self.trunk {
            Trunk::Alone(Alone { model }) if part < model.layers.len() => {
                vec!["model".into(), "layers".into(), part.to_string()]
            }
            Trunk::Alone(_) => vec!["model".into(), "norm".into()],
            Trunk::Behind(model) => model.path(part),
        }
    }

    /// What the name of the embedding begins with.
    fn embedding_path(&self) -> &'static str {
        match self.trunk {
            Trunk::Alone(_) => "model.embed_tokens.",
            Trunk::Behind(_) => "shared.",
        }
    }

    /// Whether anything is trained that the states of a layer follow from; where there is an encoder, those of prompts.
    pub fn trains_within(&self, layer: Layer) -> bool {
        match (&self.trunk, layer) {
            (Trunk::Alone(Alone { model }), Layer::Last) => {
                self.trains_before(model.layers.len()) || is_trained(&model.norm)
            }
            (Trunk::Alone(_), Layer::Output(index)) => self.trains_before(index + 1),
            (Trunk::Behind(model), layer) => model.trains_within_encoder(layer),
        }
    }

    /// The gradient at the embedding's weight for these tokens, from that at the first layer's input.
    fn at_weight(&self, ids: Vec<u32>, mut gradient: Tensor<2>) -> (Vec<u32>, Tensor<2>) {
        if let Some(scale) = self.config.embedding_scale {
            gradient = gradient.mul_scalar(scale as f32);
        }
        if let Some(learns) = self.embedding().learns(&ids) {
            let learns = TensorData::new(learns, [ids.len(), 1]);
            gradient = gradient * Tensor::<2>::from_data(learns, &self.device().inner());
        }
        (ids, gradient)
    }
}

/// Whether any parameter of a part of a model is.
pub(super) fn is_trained(part: &impl Module) -> bool {
    struct Any(bool);
    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.val().is_require_grad();
        }
    }
    let mut any = Any(false);
    part.visit(&mut any);
    any.0
}

/// The gradient at a leaf, without autodiff.
pub(super) fn taken<const D: usize>(leaf: &Tensor<D>, gradients: &mut Gradients) -> Option<Tensor<D>> {
    leaf.grad_remove(gradients).map(Tensor::without_autodiff)
}

/// Adds gradients of the same parameters; either may be those of none.
fn add_to(sums: &mut NamedGradients, gradients: NamedGradients) {
    if sums.is_empty() {
        *sums = gradients;
        return;
    }
    for ((name, sum), (of, gradient)) in sums.iter_mut().zip(gradients) {
        assert_eq!(*name, of, "gradients come in the order of parameters");
        *sum = match (sum.take(), gradient) {
            (Some(sum), Some(gradient)) => Some(sum + gradient),
            (one, other) => one.or(other),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::batch::{At, Places};
    use crate::decoder::testing::{LAYERS, adapted, all_models, batch, batch_with_distributions, behind, models};

    fn floats(gradients: NamedGradients) -> Vec<(String, Vec<f32>)> {
        let floats = |gradient: Option<Tensor<1>>| match gradient {
            Some(gradient) => gradient.into_data().try_to_vec().unwrap(),
            None => vec![],
        };
        gradients.into_iter().map(|(name, gradient)| (name, floats(gradient))).collect()
    }

    /// The losses of `passes` batches, and a walk through the sums of their gradients.
    fn accumulated(model: &CausalLm, passes: u32, again: RunAgain) -> (Vec<f32>, Walk) {
        accumulated_of(model, passes, again, batch)
    }

    fn accumulated_of<Loss: Fn(&Outputs) -> Tensor<1>>(
        model: &CausalLm,
        passes: u32,
        again: RunAgain,
        batch: impl Fn(u32) -> (Batch, Loss),
    ) -> (Vec<f32>, Walk) {
        let mut sums = Accumulator::default();
        let losses = (0..passes).map(|number| {
            let (batch, loss) = batch(number);
            let (outputs, pass) = model.forward_training(&batch, PassOptions { again, head_memory: 0 });
            let loss = loss(&outputs);
            sums.add(model, loss.clone(), pass);
            loss.into_scalar::<f32>()
        });
        let losses = losses.collect();
        (losses, sums.walk())
    }

    /// The gradients of all parts, in the order of parameters.
    fn all(mut walk: Walk, model: &CausalLm) -> NamedGradients {
        let mut parts = vec![];
        while let Some(part) = walk.next(model) {
            parts.push(part);
        }
        parts.into_iter().rev().flatten().collect()
    }

    /// Of a decoder alone to the bit. What an encoder makes goes into every block of the decoder, and a graph may add up the gradients
    /// there, and those of relative positions, in another order.
    fn assert_same(model: &CausalLm, kept: &[(String, Vec<f32>)], rerun: &[(String, Vec<f32>)], what: &str) {
        assert_eq!(kept.len(), rerun.len(), "{what}");
        let is_alone = matches!(model.trunk, Trunk::Alone(_));
        let most = if model.precision() == Precision::Bf16 { 1e-2 } else { 1e-5 };
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        for ((name, kept), (of, rerun)) in kept.iter().zip(rerun) {
            assert_eq!((name, kept.len()), (of, rerun.len()), "{what}");
            let apart = norm(&mut kept.iter().zip(rerun).map(|(one, other)| one - other));
            let allowed = if is_alone { 0.0 } else { most * norm(&mut kept.iter().copied()) };
            assert!(apart <= allowed, "{what}: {name} is apart by {apart:e}");
        }
    }

    #[test]
    fn layers_that_are_run_again_give_the_same_gradients_to_the_bit() {
        for (name, model) in all_models() {
            for (passes, precision) in [(1, Precision::F32), (3, Precision::F32), (3, Precision::Bf16)] {
                let model = model.clone().with_precision(precision);
                let (losses, kept) = accumulated(&model, passes, RunAgain::Nothing);
                assert!(!kept.reruns_layers());
                let kept = floats(all(kept, &model));
                assert!(kept.iter().all(|(_, gradient)| gradient.iter().any(|x| *x != 0.0)), "{name}");
                for run_again in [RunAgain::Layers, RunAgain::LayersAndHead] {
                    let (again, rerun) = accumulated(&model, passes, run_again);
                    assert_eq!(losses, again, "{name}");
                    assert!(rerun.reruns_layers());
                    let rerun = floats(all(rerun, &model));
                    assert_same(
                        &model,
                        &kept,
                        &rerun,
                        &format!("{name}, {passes} passes, {precision:?}, {run_again:?}"),
                    );
                }
            }
        }
    }

    /// Then a pass has two gradients of the head.
    #[test]
    fn where_distributions_are_compared_they_do_so_too() {
        for (name, model) in all_models() {
            for passes in [1, 3] {
                let of = |again| accumulated_of(&model, passes, again, batch_with_distributions);
                let (losses, kept) = of(RunAgain::Nothing);
                let kept = floats(all(kept, &model));
                for run_again in [RunAgain::Layers, RunAgain::LayersAndHead] {
                    let (again, mut rerun) = of(run_again);
                    assert_eq!(losses, again, "{name}");
                    let squares = |squares: Vec<Tensor<1>>| squares.into_iter().map(|one| one.into_scalar::<f32>());
                    let norms: Vec<f32> = squares(rerun.squared_norms(&model)).collect();
                    let rerun = all(rerun, &model);
                    assert!(squares(squared_norms(&rerun)).eq(norms), "{name}, {passes} passes, {run_again:?}");
                    assert_same(&model, &kept, &floats(rerun), &format!("{name}, {passes} passes, {run_again:?}"));
                }
            }
        }
    }

    /// What a head of its own is made from is gone with it, long before the walk ends.
    #[test]
    fn a_head_that_is_done_keeps_nothing() {
        for (name, model) in all_models() {
            let (_, mut walk) = accumulated(&model, 2, RunAgain::LayersAndHead);
            let holds = |walk: &Walk| walk.reruns.iter().any(|rerun| rerun.scored.is_some());
            walk.squared_norms(&model);
            assert!(holds(&walk), "{name}: it is made twice");
            walk.next(&model);
            assert_eq!(holds(&walk), model.lm_head.is_none(), "{name}");
        }
    }

    /// Once for the norms, and once more with weights that change as soon as they have been passed.
    #[test]
    fn a_walk_that_is_taken_twice_gives_the_gradients_of_one_that_is_taken_once() {
        for (name, model) in all_models() {
            for (passes, again) in
                [(1, RunAgain::Layers), (3, RunAgain::Layers), (3, RunAgain::LayersAndHead), (2, RunAgain::Nothing)]
            {
                let what = format!("{name}, {passes} passes, {again:?}");
                let once = all(accumulated(&model, passes, again).1, &model);
                let mut names = vec![];
                model.each_parameter(|parameter| names.push(parameter.name));
                assert!(once.iter().map(|(name, _)| name).eq(&names), "{what}: in the order of parameters");
                let (_, mut walk) = accumulated(&model, passes, again);
                let numbers = |squares: Vec<Tensor<1>>| -> Vec<f32> {
                    squares.into_iter().map(|squares| squares.into_scalar::<f32>()).collect()
                };
                assert_eq!(numbers(walk.squared_norms(&model)), numbers(squared_norms(&once)), "{what}");
                let (mut parts, mut changing) = (vec![], model.clone());
                while let Some(part) = walk.next(&changing) {
                    changing = changing.update(part.clone(), |_, value, _| value.full_like(f32::NAN));
                    parts.push(part);
                }
                let second = parts.into_iter().rev().flatten().collect();
                assert!(floats(second) == floats(once), "{what}");
                changing.each_parameter(|parameter| assert!(parameter.values.contains_nan().into_scalar::<bool>()));
            }
        }
    }

    /// The norm of an embedding whose gradient is made in slices.
    #[test]
    fn slices_are_whole_blocks_and_tiles() {
        for width in [1, 6, 16, 576, 640, 896, 1_001, 4_096, 1 << 20] {
            let rows = slice_rows(width);
            assert!(rows > 0 && rows.is_multiple_of(256) && (rows * width).is_multiple_of(SQUARES_BLOCK), "{width}");
        }
    }

    #[test]
    fn with_an_adapter_they_do_so_too_and_nothing_else_has_a_gradient() {
        for (name, model) in models() {
            let model = adapted(model, &["o_proj", "layers.1.mlp.down_proj"]);
            let (losses, kept) = accumulated(&model, 2, RunAgain::Nothing);
            let (again, rerun) = accumulated(&model, 2, RunAgain::LayersAndHead);
            assert!(!rerun.reruns_layers(), "no pass keeps its inputs for the next");
            let [kept, rerun] = [kept, rerun].map(|walk| floats(all(walk, &model)));
            assert_eq!((losses, &kept), (again, &rerun), "{name}");
            for (of, gradient) in kept {
                assert_eq!(gradient.iter().any(|x| *x != 0.0), of.contains(".adapter."), "{name}: {of}");
            }
        }
    }

    /// Of either stack, and of what the one attends to of the other.
    #[test]
    fn with_an_adapter_beside_both_stacks_they_do_so_too() {
        for (name, model) in behind() {
            for targets in [&["q", "wo"][..], &["EncDecAttention.k"], &["encoder.block.1.layer.0.SelfAttention.v"]] {
                let model = adapted(model.clone(), targets);
                let (losses, kept) = accumulated(&model, 2, RunAgain::Nothing);
                let (again, rerun) = accumulated(&model, 2, RunAgain::LayersAndHead);
                let [kept, rerun] = [kept, rerun].map(|walk| floats(all(walk, &model)));
                assert_eq!(losses, again, "{name}, {targets:?}");
                assert_same(&model, &kept, &rerun, &format!("{name}, {targets:?}"));
                for (of, gradient) in kept {
                    let has = gradient.iter().any(|x| *x != 0.0);
                    assert_eq!(has, of.contains(".adapter."), "{name}, {targets:?}: {of}");
                }
            }
        }
    }

    /// An encoder may have fewer layers than the decoder, by which they are counted.
    #[test]
    fn the_states_of_a_prompt_follow_from_the_encoder() {
        let trains = |target: &str| {
            let (_, model) = behind().remove(0);
            let model = adapted(model, &[target]);
            [Layer::Output(0), Layer::Output(1), Layer::Output(LAYERS - 1), Layer::Last]
                .map(|of| model.trains_within(of))
        };
        assert_eq!(trains("encoder.block.1.layer.0.SelfAttention.v"), [false, true, true, true]);
        assert_eq!(trains("decoder.block.0.layer.0.SelfAttention.v"), [false; 4]);
        assert_eq!(trains("wo"), [true; 4]);
    }

    /// Layers that nothing is trained in or before are not run again.
    #[test]
    fn an_adapter_of_the_last_layer_alone_is_trained() {
        let (name, model) = models().remove(0);
        let model = adapted(model, &["layers.2.self_attn.o_proj"]);
        let (_, kept) = accumulated(&model, 1, RunAgain::Nothing);
        let (_, rerun) = accumulated(&model, 1, RunAgain::Layers);
        let [kept, rerun] = [kept, rerun].map(|walk| floats(all(walk, &model)));
        assert_eq!(kept, rerun, "{name}");
        let trained = kept.iter().filter(|(_, gradient)| !gradient.is_empty());
        assert_eq!(trained.count(), 2);
        // The norm's gradient flows on, and the last layer's does not.
        assert!(model.trains_before(LAYERS) && !model.trains_before(LAYERS - 1));
        let trains =
            [Layer::Output(LAYERS - 2), Layer::Output(LAYERS - 1), Layer::Last].map(|of| model.trains_within(of));
        assert_eq!(trains, [false, true, true]);
    }

    #[test]
    fn gradients_are_those_of_one_graph() {
        for (name, model) in all_models() {
            let (batch, loss) = batch(0);
            let whole = loss(&model.forward(&batch)).backward();
            let whole = floats(model.take_gradients(&mut { whole }));
            let summed = floats(all(accumulated(&model, 1, RunAgain::Layers).1, &model));
            for ((of, whole), (_, summed)) in whole.iter().zip(&summed) {
                let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
                let apart: Vec<f32> = whole.iter().zip(summed).map(|(one, other)| one - other).collect();
                assert!(norm(&apart) <= 1e-5 * norm(whole), "{name}: {of}");
            }
        }
    }

    #[test]
    fn only_what_a_loss_depends_on_has_a_gradient() {
        let (_, model) = models().remove(1);
        let mut batch = Batch::default();
        let prompt = batch.prompt(&[1, 2, 3]);
        let states = batch.want_states(Layer::Output(1), Places::Tokens(vec![At::Last(prompt)]));
        for again in [RunAgain::Nothing, RunAgain::Layers, RunAgain::LayersAndHead] {
            let mut sums = Accumulator::default();
            let (outputs, pass) = model.forward_training(&batch, PassOptions { again, head_memory: 0 });
            sums.add(&model, outputs.states(states).square().sum(), pass);
            for (name, gradient) in all(sums.walk(), &model) {
                let has = ["embed_tokens", "layers.0.", "layers.1."].iter().any(|part| name.contains(part));
                assert_eq!(gradient.is_some(), has, "{name}, {again:?}");
            }
        }
    }

    /// Kept, a pass holds what every layer computed; run again, one input for each.
    #[test]
    fn a_pass_that_is_run_again_keeps_the_inputs_of_layers_alone() {
        let (_, model) = models().remove(0);
        let (batch, _) = batch(0);
        let (_, pass) = model.forward_training(&batch, PassOptions { again: RunAgain::Layers, head_memory: 0 });
        let Pass(Kept::Inputs { passage: Passage::Alone(AlonePassage { inputs, .. }), .. }) = pass else {
            panic!("inputs are kept")
        };
        assert_eq!(inputs.len(), LAYERS + 1);
        let rows = batch.tokens().max(mpo_kernels::FEW_ROWS + 1);
        assert!(inputs.iter().all(|input| !input.is_autodiff() && input.dims() == [rows, 16]));
    }
}
