//! Passes that gradients are wanted of, and the gradients of several passes together.
//!
//! What a layer gives follows from its input and its weights. So a backward can run the layer again: then a pass keeps each
//! layer's input and nothing else of what was computed, and the layers of all passes are gone through one by one, the last
//! first. The gradients are the same to the bit, because they are sums of the same numbers in the same order.
//!
//! [`Walk`] hands gradients out as it comes past, and can be taken twice: for their norm, and then to use and drop one part of
//! the model's at a time, so that they are never there all at once.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use mpo_kernels::{PackedLayout, RotaryTables, add_rows};

use super::parameters::gradients_of;
use super::{Block, CausalLm, Context, RmsNorm};
use crate::batch::{Batch, Layer, Outputs};
use crate::{Precision, RopeConfig};

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
        let tables = plain.rotary_tables(&layout, &plain.device());
        let mut context = Context { layout: &layout, cache: None, tables, precision: self.precision };
        if !recompute {
            let embedded = if self.trains_embedding() { leaf(embedded) } else { embedded.autodiff() };
            context.tables = with_autodiff(context.tables);
            let all = self.through_layers(embedded.clone(), &mut context, &lowered.layers, &mut |_| {});
            return (self.outputs(batch, &lowered, all), Pass { ids, kept: Kept::Graph { embedded } });
        }
        let mut inputs = vec![];
        let all =
            plain.through_layers(embedded, &mut context, &lowered.layers, &mut |input| inputs.push(input.clone()));
        let all: Vec<Tensor<2>> = all.into_iter().map(leaf).collect();
        let states = lowered.layers.iter().copied().zip(all.iter().cloned()).collect();
        let tables = with_autodiff(context.tables);
        let kept = Kept::Inputs { layout, tables, inputs, states };
        (self.outputs(batch, &lowered, all), Pass { ids, kept })
    }
}

fn with_autodiff(tables: Vec<(RopeConfig, RotaryTables)>) -> Vec<(RopeConfig, RotaryTables)> {
    tables.into_iter().map(|(rope, tables)| (rope, tables.autodiff())).collect()
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
    /// Passes whose layers are yet to be run again.
    reruns: Vec<Rerun>,
    /// Tokens, and the gradient at their embeddings.
    embedded: Vec<(Vec<u32>, Tensor<2>)>,
}

/// A pass whose layers are to be run again, from the last on.
#[derive(Debug)]
struct Rerun {
    ids: Vec<u32>,
    layout: PackedLayout,
    tables: Vec<(RopeConfig, RotaryTables)>,
    inputs: Vec<Tensor<2>>,
    /// The loss's gradient at states that it was made from.
    seeds: Vec<(Layer, Tensor<2>)>,
    /// The gradient at the output of the layer that comes next.
    flowing: Option<Tensor<2>>,
}

/// A part of the model that can be run again.
struct Part<'a, M> {
    module: &'a M,
    path: &'a [&'a str],
    /// What it gives.
    layer: Layer,
    /// Which of a pass's inputs is its own.
    index: usize,
    /// Whether anything before it is trained, so that the gradient has to flow on.
    to_input: bool,
    precision: Precision,
}

impl Rerun {
    /// Runs a part of the model again, and returns the gradients of its parameters; none if the pass does not depend on them.
    fn through<M: Module>(
        &mut self,
        part: &Part<'_, M>,
        forward: impl FnOnce(&M, Tensor<2>, &mut Context<'_>) -> Tensor<2>,
    ) -> NamedGradients {
        let Some(input) = self.inputs.get(part.index) else {
            return vec![];
        };
        let own = self.seeds.iter().find(|(of, _)| *of == part.layer).map(|(_, seed)| seed.clone());
        let seed = match (self.flowing.take(), own) {
            (Some(flowing), Some(own)) => flowing + own,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return vec![],
        };
        let input = if part.to_input { leaf(input.clone()) } else { input.clone().autodiff() };
        let (tables, precision) = (self.tables.clone(), part.precision);
        let mut context = Context { layout: &self.layout, cache: None, tables, precision };
        let output = forward(part.module, input.clone(), &mut context);
        if !output.is_tracked() {
            return vec![];
        }
        let mut gradients = (output * seed).sum().backward();
        self.flowing = taken(&input, &mut gradients);
        gradients_of(part.module, part.path, &mut gradients)
    }
}

impl Accumulator {
    /// Adds the gradients of `loss`, a function of what `pass` gave.
    pub fn add(&mut self, model: &CausalLm, loss: Tensor<1>, pass: Pass) {
        let mut gradients = loss.backward();
        add_to(&mut self.sums, model.take_gradients(&mut gradients));
        match pass.kept {
            Kept::Graph { embedded } => {
                self.embedded.extend(taken(&embedded, &mut gradients).map(|seed| (pass.ids, seed)));
            }
            Kept::Inputs { layout, tables, inputs, states } => {
                let seeds = states.into_iter();
                let seeds = seeds.filter_map(|(layer, state)| Some((layer, taken(&state, &mut gradients)?))).collect();
                self.reruns.push(Rerun { ids: pass.ids, layout, tables, inputs, seeds, flowing: None });
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
        let Self { sums, reruns, embedded } = self;
        Walk { sums, reruns, embedded, gone: 0, again: false }
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
    /// Parts that lie behind.
    gone: usize,
    /// Whether the walk will be taken again.
    again: bool,
}

impl Walk {
    /// Whether layers are run again on the way.
    pub fn reruns_layers(&self) -> bool {
        !self.reruns.is_empty()
    }

    /// Goes all the way, shows `each` part's gradients on it, and is back at the beginning. What is run again for it will be run
    /// again once more, so that the gradients need not be kept.
    pub fn survey(&mut self, model: &CausalLm, mut each: impl FnMut(&NamedGradients)) {
        self.again = true;
        while let Some(part) = self.next(model) {
            each(&part);
        }
        self.again = false;
        self.gone = 0;
    }

    /// The gradients of all passes for the next part of `model`, in the order of its parameters. The part's weights are not
    /// needed after it: they may be other ones by the time that its gradients are asked for again, or those of the next part.
    pub fn next(&mut self, model: &CausalLm) -> Option<NamedGradients> {
        let depth = model.model.layers.len();
        let precision = model.precision;
        let part = match self.gone {
            0 => self.known("lm_head."),
            1 => {
                let (module, path) = (&model.model.norm, &["model", "norm"]);
                let to_input = model.trains_before(depth);
                let part = Part { module, path, layer: Layer::Last, index: depth, to_input, precision };
                self.rerun(&part, |norm: &RmsNorm, x, _: &mut Context<'_>| norm.forward(x))
            }
            gone if gone < depth + 2 => {
                let index = depth + 1 - gone;
                let (module, path) = (&model.model.layers[index], &["model", "layers", &index.to_string()]);
                let to_input = model.trains_before(index);
                let part = Part { module, path, layer: Layer::Output(index), index, to_input, precision };
                self.rerun(&part, |block: &Block, x, context: &mut Context<'_>| block.forward(x, index, context))
            }
            gone if gone == depth + 2 => self.embedding(model),
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

    fn rerun<M: Module>(
        &mut self,
        part: &Part<'_, M>,
        forward: impl Fn(&M, Tensor<2>, &mut Context<'_>) -> Tensor<2>,
    ) -> NamedGradients {
        let mut sums = self.known(&format!("{}.", part.path.join(".")));
        for rerun in &mut self.reruns {
            add_to(&mut sums, rerun.through(part, &forward));
            if !self.again {
                rerun.inputs.truncate(part.index);
            }
        }
        sums
    }

    /// The embedding's gradients are made once and kept.
    fn embedding(&mut self, model: &CausalLm) -> NamedGradients {
        let reruns = self.reruns.iter_mut();
        let flowed = reruns.filter_map(|rerun| Some((std::mem::take(&mut rerun.ids), rerun.flowing.take()?)));
        self.embedded.extend(flowed.filter(|(ids, _)| !ids.is_empty()));
        model.add_embedding_gradients(&mut self.sums, std::mem::take(&mut self.embedded));
        self.known("model.embed_tokens.")
    }
}

impl CausalLm {
    fn trains_embedding(&self) -> bool {
        self.model.embed_tokens.weight.val().is_require_grad()
    }

    /// Whether the embedding is trained, or a layer before that at `index`: an adapter may begin further up.
    fn trains_before(&self, index: usize) -> bool {
        self.trains_embedding() || self.model.layers[..index].iter().any(is_trained)
    }

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
            sum = add_rows(sum, &ids, gradient);
        }
        let elements: usize = shape.iter().product();
        *slot = Some(sum.reshape([elements]));
    }
}

/// Whether any parameter of a part of a model is.
fn is_trained(part: &impl Module) -> bool {
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
fn taken(leaf: &Tensor<2>, gradients: &mut Gradients) -> Option<Tensor<2>> {
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
    use crate::batch::{At, Places};
    use crate::decoder::testing::{LAYERS, adapted, batch, models};

    fn floats(gradients: NamedGradients) -> Vec<(String, Vec<f32>)> {
        let floats = |gradient: Option<Tensor<1>>| match gradient {
            Some(gradient) => gradient.into_data().try_to_vec().unwrap(),
            None => vec![],
        };
        gradients.into_iter().map(|(name, gradient)| (name, floats(gradient))).collect()
    }

    /// The losses of `passes` batches, and a walk through the sums of their gradients.
    fn accumulated(model: &CausalLm, passes: u32, recompute: bool) -> (Vec<f32>, Walk) {
        let mut sums = Accumulator::default();
        let losses = (0..passes).map(|number| {
            let (batch, loss) = batch(number);
            let (outputs, pass) = model.forward_training(&batch, recompute);
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

    #[test]
    fn layers_that_are_run_again_give_the_same_gradients_to_the_bit() {
        for (name, model) in models() {
            for (passes, precision) in [(1, Precision::F32), (3, Precision::F32), (3, Precision::Bf16)] {
                let model = model.clone().with_precision(precision);
                let (losses, kept) = accumulated(&model, passes, false);
                let (again, rerun) = accumulated(&model, passes, true);
                assert_eq!(losses, again, "{name}");
                assert!(rerun.reruns_layers() && !kept.reruns_layers());
                let [kept, rerun] = [kept, rerun].map(|walk| floats(all(walk, &model)));
                assert!(kept.iter().all(|(_, gradient)| gradient.iter().any(|x| *x != 0.0)), "{name}");
                for (kept, rerun) in kept.iter().zip(&rerun) {
                    assert_eq!(kept, rerun, "{name}, {passes} passes, {precision:?}");
                }
            }
        }
    }

    /// Twice through the same numbers, and once more with weights that change as soon as they have been passed.
    #[test]
    fn a_walk_that_is_taken_twice_gives_the_gradients_of_one_that_is_taken_once() {
        for (name, model) in models() {
            for (passes, recompute) in [(1, true), (3, true), (2, false)] {
                let once = floats(all(accumulated(&model, passes, recompute).1, &model));
                let mut names = vec![];
                model.each_parameter(|parameter| names.push(parameter.name));
                assert!(once.iter().map(|(name, _)| name).eq(&names), "{name}: in the order of parameters");
                let (_, mut walk) = accumulated(&model, passes, recompute);
                let mut surveyed = vec![];
                walk.survey(&model, |part| surveyed.push(part.clone()));
                let surveyed = surveyed.into_iter().rev().flatten().collect();
                assert!(floats(surveyed) == once, "{name}, {passes} passes");
                let (mut parts, mut changing) = (vec![], model.clone());
                while let Some(part) = walk.next(&changing) {
                    changing = changing.update(part.clone(), |_, value, _| value.full_like(f32::NAN));
                    parts.push(part);
                }
                let second = parts.into_iter().rev().flatten().collect();
                assert!(floats(second) == once, "{name}, {passes} passes");
                changing.each_parameter(|parameter| assert!(parameter.values.contains_nan().into_scalar::<bool>()));
            }
        }
    }

    #[test]
    fn with_an_adapter_they_do_so_too_and_nothing_else_has_a_gradient() {
        for (name, model) in models() {
            let model = adapted(model, &["q_proj", "layers.1.mlp.down_proj"]);
            let (losses, kept) = accumulated(&model, 2, false);
            let (again, rerun) = accumulated(&model, 2, true);
            assert!(!rerun.reruns_layers(), "no pass keeps its inputs for the next");
            let [kept, rerun] = [kept, rerun].map(|walk| floats(all(walk, &model)));
            assert_eq!((losses, &kept), (again, &rerun), "{name}");
            for (of, gradient) in kept {
                assert_eq!(gradient.iter().any(|x| *x != 0.0), of.contains(".adapter."), "{name}: {of}");
            }
        }
    }

    /// Layers that nothing is trained in or before are not run again.
    #[test]
    fn an_adapter_of_the_last_layer_alone_is_trained() {
        let (name, model) = models().remove(0);
        let model = adapted(model, &["layers.2.self_attn.o_proj"]);
        let (_, kept) = accumulated(&model, 1, false);
        let (_, rerun) = accumulated(&model, 1, true);
        let [kept, rerun] = [kept, rerun].map(|walk| floats(all(walk, &model)));
        assert_eq!(kept, rerun, "{name}");
        let trained = kept.iter().filter(|(_, gradient)| !gradient.is_empty());
        assert_eq!(trained.count(), 2);
        // The norm's gradient flows on, and the last layer's does not.
        assert!(model.trains_before(LAYERS) && !model.trains_before(LAYERS - 1));
    }

    #[test]
    fn gradients_are_those_of_one_graph() {
        for (name, model) in models() {
            let (batch, loss) = batch(0);
            let whole = loss(&model.forward(&batch)).backward();
            let whole = floats(model.take_gradients(&mut { whole }));
            let summed = floats(all(accumulated(&model, 1, true).1, &model));
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
            for (name, gradient) in all(sums.walk(), &model) {
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
        let rows = batch.tokens().max(mpo_kernels::FEW_ROWS + 1);
        assert!(inputs.iter().all(|input| !input.is_autodiff() && input.dims() == [rows, 16]));
    }
}
