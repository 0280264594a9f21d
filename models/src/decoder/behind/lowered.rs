//! A batch through both stacks.

use burn::tensor::Tensor;
use mpo_kernels::sequence_log_probs;

use super::Memory;
use crate::batch::{Batch, Divided, Head, Layer, Outputs, Places, Rows, Side, Targets};
use crate::decoder::{FEWEST, Source, mean_rows, select_rows};

/// A batch as both stacks take it.
pub(in crate::decoder) struct Lowered {
    pub(in crate::decoder) divided: Divided,
    targets: Targets,
    states: Vec<Wanted>,
    /// Of the encoder and of the decoder, those that something is wanted of or made from.
    layers: [Vec<Layer>; 2],
}

/// Some states that are wanted.
struct Wanted {
    /// Where they come from; rows of the first stand before those of the second.
    sources: Vec<Source>,
    /// Rows of each state that is a mean, or of all.
    groups: Vec<Vec<usize>>,
    are_means: bool,
}

impl Lowered {
    /// Of a decoder that begins with `start`, behind an encoder of so many layers.
    pub(in crate::decoder) fn new(batch: &Batch, start: u32, encoder_layers: usize) -> Self {
        let divided = Divided::new(batch, start, FEWEST);
        let targets = divided.targets(batch);
        let mut layers = [vec![], vec![]];
        let mut want = |(side, layer): Source| {
            let of = &mut layers[side as usize];
            if !of.contains(&layer) {
                of.push(layer);
            }
        };
        if !divided.decoder.ids.is_empty() {
            want((Side::Encoder, Layer::Last));
        }
        if !targets.ids.is_empty() {
            want((Side::Decoder, Layer::Last));
        }
        let states = batch.wanted_states().map(|(layer, places)| {
            let (sides, groups) = divided.groups(batch, places);
            let sources = sides.into_iter().map(|side| match (side, layer) {
                // An encoder may have fewer layers than the decoder, by which they are counted.
                (Side::Encoder, Layer::Output(index)) => (side, Layer::Output(index.min(encoder_layers - 1))),
                _ => (side, layer),
            });
            let sources: Vec<Source> = sources.collect();
            sources.iter().copied().for_each(&mut want);
            Wanted { sources, groups, are_means: matches!(places, Places::Means(_)) }
        });
        let states = states.collect();
        Self { divided, targets, states, layers }
    }

    /// The tokens that go into a side.
    pub(in crate::decoder) fn ids(&self, side: Side) -> &[u32] {
        &self.divided.side(side).ids
    }

    /// The states of every layer that something is wanted of or made from; `stack` makes those of a side from its rows and, for the
    /// decoder, what the encoder made.
    pub(in crate::decoder) fn through(
        &self,
        mut stack: impl FnMut(Side, &Rows, &[Layer], Option<Memory<'_>>) -> Vec<Tensor<2>>,
    ) -> Found {
        let mut all: Found = vec![];
        for side in [Side::Encoder, Side::Decoder] {
            let rows = self.divided.side(side);
            let wanted = &self.layers[side as usize];
            if rows.ids.is_empty() || wanted.is_empty() {
                continue;
            }
            let memory = (side == Side::Decoder).then(|| Memory {
                states: Some(found(&all, (Side::Encoder, Layer::Last)).clone()),
                places: vec![],
                layout: &self.divided.across,
            });
            let states = stack(side, rows, wanted, memory);
            all.extend(wanted.iter().map(|&layer| (side, layer)).zip(states));
        }
        all
    }

    /// What is wanted, from the states of every layer that something is wanted of; `log_probs` makes those of all targets from
    /// the decoder's last.
    pub(in crate::decoder) fn outputs(
        &self,
        all: &Found,
        head: Head,
        log_probs: impl FnOnce(&Tensor<2>) -> Tensor<1>,
    ) -> Outputs {
        let Lowered { targets, states, .. } = self;
        let last = || found(all, (Side::Decoder, Layer::Last));
        let scores = (!targets.ids.is_empty()).then(|| sequence_log_probs(log_probs(last()), &targets.lengths));
        let states = states.iter().map(|Wanted { sources, groups, are_means }| {
            let mut of: Vec<Tensor<2>> = sources.iter().map(|&source| found(all, source).clone()).collect();
            let hidden = if of.len() == 1 { of.remove(0) } else { Tensor::cat(of, 0) };
            if *are_means { mean_rows(&hidden, groups) } else { select_rows(&hidden, &groups.concat()) }
        });
        Outputs { states: states.collect(), scores, head }
    }

    /// Answers to be scored, as the vocabulary's kernels take them.
    pub(in crate::decoder) fn targets(&self) -> &Targets {
        &self.targets
    }
}

/// The states of layers, by where they come from.
pub(in crate::decoder) type Found = Vec<(Source, Tensor<2>)>;

fn found(all: &Found, source: Source) -> &Tensor<2> {
    let of = all.iter().find(|(of, _)| *of == source);
    &of.expect("every wanted layer is among them").1
}
