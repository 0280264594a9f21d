//! Passes that gradients are wanted of, and the gradients of several passes together.
//!
//! What a layer gives follows from its input and its weights. So a backward can run the layer again: then a pass keeps each
//! layer's input and nothing else of what was computed, and the layers of all passes are gone through one by one, the last
//! first. The gradients are the same to the bit, because they are sums of the same numbers in the same order.

use burn::module::Module;
use burn::tensor::{Gradients, IndexingUpdateOp, Tensor, TensorData};
use mpo_kernels::{PackedLayout, RotaryTables};

use super::parameters::gradients_of;
use super::{CausalLm, Context, indices};
use crate::RopeConfig;
use crate::batch::{Batch, Layer, Outputs};

/// A pass whose backward is yet to come.
#[derive(Debug)]
pub struct Pass {
    ids: Vec<u32>,
    kept: Kept,
}

/// What a pass keeps for its backward.
#[derive(Debug)]
enum Kept {
    /// Everything that was computed, from this input of the first layer on.
    Graph { embedded: Tensor<2> },
    /// Inputs of the layers that were computed, and of the final norm if it was.
    Inputs {
        layout: PackedLayout,
        tables: Vec<(RopeConfig, RotaryTables)>,
        inputs: Vec<Tensor<2>>,
        /// Where the graph of the loss begins.
        states: Vec<(Layer, Tensor<2>)>,
    },
}

impl CausalLm {
    /// What is wanted of a batch, and what the gradients of a loss of it are made from. With `recompute` the layers are run
    /// again for them instead of being kept.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_training(&self, batch: &Batch, recompute: bool) -> (Outputs, Pass) {
        let lowered = self.lower(batch);
        let ids = lowered.packed.ids.clone();
        let layout = lowered.packed.layout.clone();
        let plain = self.valid();
        let embedded = plain.embed(&ids);
        let tables = |model: &Self| model.rotary_tables(&layout, &model.device());
        if !recompute {
            let embedded = leaf(embedded);
            let mut context = Context { layout: &layout, cache: None, tables: tables(self) };
            let all = self.through_layers(embedded.clone(), &mut context, &lowered.layers, &mut |_| {});
            return (self.outputs(batch, &lowered, all), Pass { ids, kept: Kept::Graph { embedded } });
        }
        let mut inputs = vec![];
        let mut context = Context { layout: &layout, cache: None, tables: tables(&plain) };
        let all =
            plain.through_layers(embedded, &mut context, &lowered.layers, &mut |input| inputs.push(input.clone()));
        let all: Vec<Tensor<2>> = all.into_iter().map(leaf).collect();
        let states = lowered.layers.iter().copied().zip(all.iter().cloned()).collect();
        let tables = tables(self);
        let kept = Kept::Inputs { layout, tables, inputs, states };
        (self.outputs(batch, &lowered, all), Pass { ids, kept })
    }
}

/// A tensor that a graph begins with.
fn leaf(tensor: Tensor<2>) -> Tensor<2> {
    tensor.autodiff().require_grad()
}

/// Gradients of every parameter, flat, in the model's order; `None` where no loss depends on it.
pub type NamedGradients = Vec<(String, Option<Tensor<1>>)>;

/// The sums of the gradients of several passes.
#[derive(Debug, Default)]
pub struct Accumulator {
    sums: NamedGradients,
    /// Passes whose layers are to be run again.
    waiting: Vec<Waiting>,
    /// Tokens, and the gradient at their embeddings.
    embedded: Vec<(Vec<u32>, Tensor<2>)>,
}

/// A pass whose layers are to be run again, from the last on.
#[derive(Debug)]
struct Waiting {
    ids: Vec<u32>,
    layout: PackedLayout,
    tables: Vec<(RopeConfig, RotaryTables)>,
    inputs: Vec<Tensor<2>>,
    /// The loss's gradient at states that it was made from.
    seeds: Vec<(Layer, Tensor<2>)>,
    /// The gradient at the output of the layer that comes next.
    flowing: Option<Tensor<2>>,
}

impl Waiting {
    /// Runs a part of the model again that gives `layer`, and returns the gradients of the part's parameters.
    fn rerun<M: Module>(
        &mut self,
        layer: Layer,
        part: &M,
        path: &[&str],
        forward: impl FnOnce(&M, Tensor<2>, &mut Context<'_>) -> Tensor<2>,
    ) -> NamedGradients {
        let input = self.inputs.pop().expect("an input for every layer that was computed");
        let own = self.seeds.iter().position(|(of, _)| *of == layer).map(|at| self.seeds.swap_remove(at).1);
        let seed = match (self.flowing.take(), own) {
            (Some(flowing), Some(own)) => flowing + own,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return vec![],
        };
        let input = leaf(input);
        let mut context = Context { layout: &self.layout, cache: None, tables: self.tables.clone() };
        let output = forward(part, input.clone(), &mut context);
        let mut gradients = (output * seed).sum().backward();
        self.flowing = taken(&input, &mut gradients);
        gradients_of(part, path, &mut gradients)
    }
}

impl Accumulator {
    /// Adds the gradients of `loss`, a function of what `pass` gave.
    pub fn add(&mut self, model: &CausalLm, loss: Tensor<1>, pass: Pass) {
        let mut gradients = loss.backward();
        let own = model.take_gradients(&mut gradients);
        if self.sums.is_empty() {
            self.sums = own;
        } else {
            add_from(&mut self.sums, 0, own);
        }
        match pass.kept {
            Kept::Graph { embedded } => {
                self.embedded.extend(taken(&embedded, &mut gradients).map(|seed| (pass.ids, seed)));
            }
            Kept::Inputs { layout, tables, inputs, states } => {
                let seeds = states.into_iter();
                let seeds = seeds.filter_map(|(layer, state)| Some((layer, taken(&state, &mut gradients)?))).collect();
                self.waiting.push(Waiting { ids: pass.ids, layout, tables, inputs, seeds, flowing: None });
            }
        }
    }

    /// The sums over all passes.
    pub fn finish(mut self, model: &CausalLm) -> NamedGradients {
        let layers = &model.model.layers;
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.inputs.len() > layers.len()) {
            let norm = &model.model.norm;
            let own = waiting.rerun(Layer::Last, norm, &["model", "norm"], |norm, x, _| norm.forward(x));
            add_named(&mut self.sums, own);
        }
        for (index, block) in layers.iter().enumerate().rev() {
            let number = index.to_string();
            let path = ["model", "layers", &number];
            for waiting in self.waiting.iter_mut().filter(|waiting| waiting.inputs.len() > index) {
                let forward = |block: &super::Block, x, context: &mut Context<'_>| block.forward(x, index, context);
                let own = waiting.rerun(Layer::Output(index), block, &path, forward);
                add_named(&mut self.sums, own);
            }
        }
        let waiting = self.waiting.into_iter();
        self.embedded.extend(waiting.filter_map(|waiting| Some((waiting.ids, waiting.flowing?))));
        model.add_embedding_gradients(&mut self.sums, self.embedded);
        self.sums
    }
}

impl CausalLm {
    /// Adds the embedding's gradient, token by token, to that of a head that is tied to it.
    fn add_embedding_gradients(&self, sums: &mut NamedGradients, embedded: Vec<(Vec<u32>, Tensor<2>)>) {
        let embedding = &self.model.embed_tokens;
        let (Some((name, slot)), false) = (sums.first_mut(), embedded.is_empty()) else {
            return;
        };
        assert_eq!(name, "model.embed_tokens.weight", "the embedding is the first parameter");
        let shape = embedding.weight.val().dims();
        let device = self.device().inner();
        let mut sum = match slot.take() {
            Some(sum) => sum.reshape(shape),
            None => Tensor::zeros(shape, &device),
        };
        for (ids, mut gradient) in embedded {
            if let Some(scale) = self.config.embedding_scale {
                gradient = gradient.mul_scalar(scale as f32);
            }
            if let Some(learns) = embedding.learns(&ids) {
                let learns = Tensor::<2>::from_data(TensorData::new(learns, [ids.len(), 1]), &device);
                gradient = gradient * learns;
            }
            sum = sum.select_assign(0, indices(&ids, &device), gradient, IndexingUpdateOp::Add);
        }
        let elements: usize = shape.iter().product();
        *slot = Some(sum.reshape([elements]));
    }
}

/// The gradient at a leaf, without autodiff.
fn taken(leaf: &Tensor<2>, gradients: &mut Gradients) -> Option<Tensor<2>> {
    leaf.grad_remove(gradients).map(Tensor::without_autodiff)
}

/// Adds gradients of a part of the model, whose parameters stand together.
fn add_named(sums: &mut NamedGradients, part: NamedGradients) {
    if let Some((first, _)) = part.first() {
        let start = sums.iter().position(|(name, _)| name == first).expect("a parameter of the model");
        add_from(sums, start, part);
    }
}

fn add_from(sums: &mut NamedGradients, start: usize, part: NamedGradients) {
    for ((name, sum), (of, gradient)) in sums[start..][..part.len()].iter_mut().zip(part) {
        assert_eq!(*name, of, "gradients come in the order of parameters");
        *sum = match (sum.take(), gradient) {
            (Some(sum), Some(gradient)) => Some(sum + gradient),
            (one, other) => one.or(other),
        };
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::batch::{At, Places};
    use crate::{Initializer, ModelConfig};

    const LAYERS: usize = 3;

    /// A tiny model of every architecture, with a tied head and without.
    fn models() -> Vec<(String, CausalLm)> {
        let device = Device::flex().autodiff();
        let types = ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"];
        let all = types.into_iter().flat_map(|of| [(of, true), (of, false)]);
        all.map(|(of, tied)| {
            let config = json!({
                "model_type": of, "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": LAYERS,
                "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "sliding_window": 3,
                "max_position_embeddings": 64, "query_pre_attn_scalar": 4, "tie_word_embeddings": tied, "pad_token_id": 7,
            });
            let config = ModelConfig::from_json(config).unwrap().decoder;
            device.seed(5);
            let Ok(model) = CausalLm::new(config.clone(), &mut Initializer::new(config.norm.offset), &device);
            (format!("{of}, tied {tied}"), model)
        })
        .collect()
    }

    /// A batch in which everything is wanted: scores, states of the last layer and of one before, means, padding. Its
    /// `number` decides the tokens.
    fn batch(number: u32) -> (Batch, impl Fn(&Outputs) -> Tensor<1>) {
        let mut batch = Batch::default();
        let opening = batch.prompt(&[1, 5 + number, 9]);
        let prompt = batch.prompt_from(opening, &[7, 11]);
        let chosen = batch.answer(prompt, &[4, 2 + number, 30]);
        let rejected = batch.answer(prompt, &[8, 2]);
        let padding = batch.padding(rejected, 7, 2);
        let scores = batch.want_scores([chosen, rejected]);
        let early = batch.want_states(Layer::Output(0), Places::Tokens(vec![At::Every(chosen)]));
        let last = batch.want_states(Layer::Last, Places::Means(vec![vec![prompt, rejected, padding]]));
        let loss = move |outputs: &Outputs| {
            let scores = outputs.scores(scores).sum.sum();
            let states = [early, last].map(|states| outputs.states(states).square().sum());
            states.into_iter().fold(scores, |sum, states| sum + states)
        };
        (batch, loss)
    }

    fn floats(gradients: NamedGradients) -> Vec<(String, Vec<f32>)> {
        let floats = |gradient: Option<Tensor<1>>| match gradient {
            Some(gradient) => gradient.into_data().try_to_vec().unwrap(),
            None => vec![],
        };
        gradients.into_iter().map(|(name, gradient)| (name, floats(gradient))).collect()
    }

    /// The losses of `passes` batches, and the sums of their gradients.
    fn accumulated(model: &CausalLm, passes: u32, recompute: bool) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
        let mut sums = Accumulator::default();
        let losses = (0..passes).map(|number| {
            let (batch, loss) = batch(number);
            let (outputs, pass) = model.forward_training(&batch, recompute);
            let loss = loss(&outputs);
            sums.add(model, loss.clone(), pass);
            loss.into_scalar::<f32>()
        });
        let losses = losses.collect();
        (losses, floats(sums.finish(model)))
    }

    #[test]
    fn layers_that_are_run_again_give_the_same_gradients_to_the_bit() {
        for (name, model) in models() {
            for passes in [1, 3] {
                let (losses, kept) = accumulated(&model, passes, false);
                let (again, rerun) = accumulated(&model, passes, true);
                assert_eq!(losses, again, "{name}");
                assert!(kept.iter().all(|(_, gradient)| gradient.iter().any(|x| *x != 0.0)), "{name}");
                for (kept, rerun) in kept.iter().zip(&rerun) {
                    assert_eq!(kept, rerun, "{name}, {passes} passes");
                }
            }
        }
    }

    #[test]
    fn gradients_are_those_of_one_graph() {
        for (name, model) in models() {
            let (batch, loss) = batch(0);
            let whole = loss(&model.forward(&batch)).backward();
            let whole = floats(model.take_gradients(&mut { whole }));
            let (_, summed) = accumulated(&model, 1, true);
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
        for recompute in [false, true] {
            let mut sums = Accumulator::default();
            let (outputs, pass) = model.forward_training(&batch, recompute);
            sums.add(&model, outputs.states(states).square().sum(), pass);
            for (name, gradient) in sums.finish(&model) {
                let has = ["embed_tokens", "layers.0.", "layers.1."].iter().any(|part| name.contains(part));
                assert_eq!(gradient.is_some(), has, "{name}, {recompute}");
            }
        }
    }

    /// Kept, a pass holds what every layer computed; run again, one input for each.
    #[test]
    fn a_pass_that_is_run_again_keeps_the_inputs_of_layers_alone() {
        let (_, model) = models().remove(0);
        let (batch, _) = batch(0);
        let (_, pass) = model.forward_training(&batch, true);
        let Kept::Inputs { inputs, .. } = pass.kept else { panic!("inputs are kept") };
        assert_eq!(inputs.len(), LAYERS + 1);
        assert!(inputs.iter().all(|input| !input.is_autodiff() && input.dims() == [batch.tokens(), 16]));
    }
}
