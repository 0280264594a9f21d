//! Both stacks run again, part by part, the last first.
//!
//! Beside the gradient that flows from block to block, every block of the decoder gives one to what the encoder made, and
//! every block one to its stack's relative positions. These are summed on the way: the first is where the encoder's backward begins, the
//! second are those of the table in a stack's first block.

use burn::tensor::Tensor;
use mpo_kernels::{DistanceBias, PackedLayout, backward_from};

use super::{Context, EncoderDecoder, Part, name_of, positions};
use crate::Precision;
use crate::batch::{Layer, Side};
use crate::decoder::behind::{Lowered, Memory};
use crate::decoder::parameters::gradients_of;
use crate::decoder::training::{is_trained, leaf, taken};
use crate::decoder::{NamedGradients, Source};

/// What a pass keeps to be run again.
#[derive(Debug)]
pub(in crate::decoder) struct Passage {
    /// Of the encoder and of the decoder.
    halves: [Half; 2],
    across: PackedLayout,
    /// What the encoder gave to the decoder, if there was any.
    memory: Option<Tensor<2>>,
    /// The gradient there so far.
    memory_gradient: Option<Tensor<2>>,
    /// The gradient at the decoder's embeddings, once it has come there.
    at_decoder_embedding: Option<Tensor<2>>,
}

#[derive(Debug)]
struct Half {
    ids: Vec<u32>,
    layout: PackedLayout,
    /// What was given to every block that was computed, and to the norm.
    inputs: Vec<Tensor<2>>,
    bias: Option<DistanceBias>,
    /// Its gradient so far.
    bias_gradient: Option<Tensor<2>>,
}

/// The loss's gradient at states that it was made from.
pub(in crate::decoder) type Seeds = [(Source, Tensor<2>)];

impl Passage {
    /// Of a pass of `model`, which records no graph, with what was given to every part of either stack.
    pub(in crate::decoder) fn new(
        model: &EncoderDecoder,
        lowered: Lowered,
        inputs: [Vec<Tensor<2>>; 2],
        memory: Option<Tensor<2>>,
    ) -> Self {
        let divided = lowered.divided;
        let sides = [(Side::Encoder, divided.encoder), (Side::Decoder, divided.decoder)];
        let mut inputs = inputs.into_iter();
        let halves = sides.map(|(side, rows)| {
            let bias = (!rows.ids.is_empty())
                .then(|| positions::distance_bias(&model.table(side), &rows.layout, side, &model.config));
            let inputs = inputs.next().unwrap_or_default();
            Half { ids: rows.ids, layout: rows.layout, inputs, bias, bias_gradient: None }
        });
        Self { halves, across: divided.across, memory, memory_gradient: None, at_decoder_embedding: None }
    }

    /// Runs a part again, and returns the gradients of its parameters; none if the pass does not depend on them.
    pub(in crate::decoder) fn through(
        &mut self,
        model: &EncoderDecoder,
        number: usize,
        seeds: &Seeds,
        flowing: &mut Option<Tensor<2>>,
        precision: Precision,
    ) -> NamedGradients {
        let Part { side, index } = model.part(number);
        let stack = model.stack(side);
        let block = stack.block.get(index);
        if side == Side::Encoder && block.is_none() {
            *flowing = self.memory_gradient.take();
        }
        let half = &mut self.halves[side as usize];
        let Some(input) = half.inputs.get(index) else {
            return vec![];
        };
        let layer = if block.is_some() { Layer::Output(index) } else { Layer::Last };
        let own = seeds.iter().find(|(of, _)| *of == (side, layer)).map(|(_, seed)| seed.clone());
        let seed = match (flowing.take(), own) {
            (Some(flowing), Some(own)) => flowing + own,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return vec![],
        };
        let tracked = |tensor: &Tensor<2>, is_leaf| {
            if is_leaf { leaf(tensor.clone()) } else { tensor.clone().autodiff() }
        };
        let input = tracked(input, model.trains_before(number));
        let path = model.path(number);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some(block) = block else {
            let output = stack.final_layer_norm.forward(input.clone());
            if !output.is_tracked() {
                return vec![];
            }
            let mut gradients = backward_from(output, seed);
            *flowing = taken(&input, &mut gradients);
            return gradients_of(&stack.final_layer_norm, &path, &mut gradients);
        };
        let kept = half.bias.as_ref().expect("a stack that was computed has positions");
        let bias = DistanceBias { values: tracked(&kept.values, model.table(side).is_require_grad()), zero: kept.zero };
        let added = bias.values.clone();
        let memory = match side {
            Side::Encoder => None,
            Side::Decoder => self.memory.as_ref().map(|memory| tracked(memory, model.trains_encoder())),
        };
        let seen = memory.clone().map(|states| Memory { states: Some(states), places: vec![], layout: &self.across });
        let mut context = Context { layout: &half.layout, bias, memory: seen, cache: None, precision };
        let output = block.forward(input.clone(), index, &mut context);
        if !output.is_tracked() {
            return vec![];
        }
        let mut gradients = backward_from(output, seed);
        *flowing = taken(&input, &mut gradients);
        add(&mut self.memory_gradient, memory.and_then(|memory| taken(&memory, &mut gradients)));
        add(&mut half.bias_gradient, taken(&added, &mut gradients));
        let mut own = gradients_of(block, &path, &mut gradients);
        if index == 0 {
            if let Some(gradient) = half.bias_gradient.take() {
                let bias = positions::distance_bias(&model.table(side), &half.layout, side, &model.config);
                let of_table = gradients_of(block, &path, &mut backward_from(bias.values, gradient));
                for ((_, own), (_, of_table)) in own.iter_mut().zip(of_table) {
                    *own = own.take().or(of_table);
                }
            }
            if side == Side::Decoder {
                self.at_decoder_embedding = flowing.take();
            }
        }
        own
    }

    /// Lets the inputs of a part go, which is behind.
    pub(in crate::decoder) fn forget(&mut self, model: &EncoderDecoder, number: usize) {
        let Part { side, index } = model.part(number);
        self.halves[side as usize].inputs.truncate(index);
    }

    /// Tokens, and the gradients at their embeddings, once all parts are behind.
    pub(in crate::decoder) fn at_tokens(&mut self, flowing: Option<Tensor<2>>) -> Vec<(Vec<u32>, Tensor<2>)> {
        let [encoder, decoder] = &self.halves;
        let both = [(encoder, flowing), (decoder, self.at_decoder_embedding.take())];
        both.into_iter().filter_map(|(half, gradient)| Some((half.ids.clone(), gradient?))).collect()
    }
}

fn add(sum: &mut Option<Tensor<2>>, gradient: Option<Tensor<2>>) {
    *sum = match (sum.take(), gradient) {
        (Some(sum), Some(gradient)) => Some(sum + gradient),
        (one, other) => one.or(other),
    };
}

impl EncoderDecoder {
    fn part(&self, number: usize) -> Part {
        self.parts().nth(number).expect("a part of the model")
    }

    /// How many parts can be run again.
    pub(in crate::decoder) fn num_parts(&self) -> usize {
        self.parts().count()
    }

    /// Where a part is.
    pub(in crate::decoder) fn path(&self, number: usize) -> Vec<String> {
        let Part { side, index } = self.part(number);
        let name = name_of(side).to_owned();
        if index < self.stack(side).block.len() {
            vec![name, "block".into(), index.to_string()]
        } else {
            vec![name, "final_layer_norm".into()]
        }
    }

    fn trains_part(&self, Part { side, index }: Part) -> bool {
        let stack = self.stack(side);
        stack.block.get(index).map_or_else(|| is_trained(&stack.final_layer_norm), is_trained)
    }

    /// Whether anything is trained that a part's input depends on. What a stack begins with depends on the embedding alone; what
    /// comes later in the decoder, on the encoder too.
    pub(in crate::decoder) fn trains_before(&self, number: usize) -> bool {
        let begins = self.part(number).index == 0;
        is_trained(&self.shared) || !begins && self.parts().take(number).any(|part| self.trains_part(part))
    }

    /// Whether anything is trained that the encoder's states at a layer follow from.
    pub(in crate::decoder) fn trains_within_encoder(&self, layer: Layer) -> bool {
        let blocks = self.encoder.block.len();
        match layer {
            Layer::Last => self.trains_encoder(),
            Layer::Output(index) => self.trains_before((index + 1).min(blocks)),
        }
    }

    /// Whether anything is trained that what the encoder makes depends on.
    fn trains_encoder(&self) -> bool {
        is_trained(&self.shared) || is_trained(&self.encoder)
    }
}
