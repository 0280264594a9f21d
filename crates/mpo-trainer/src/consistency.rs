//! A term beside any objective that holds the states of a prompt's languages together: MLC's, its control, and CLA's contrast.
//!
//! Prompts come in a stream of their own, a few in each step. Their states at one layer are read from the device, and value and
//! gradient are made on the host in f64; the gradient at the states goes back, and autodiff takes it from there.

use std::cell::RefCell;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use mpo_data::{Origin, TokenizedPrompts, TokenizedRows};
use mpo_models::{Accumulator, At, Batch, CausalLm, Layer, PassOptions, Places, States};
use mpo_objectives::{Consistency, ConsistencyLoss, PromptStates};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::TrainError;
use crate::events::RowValues;
use crate::pairs::chunks;
use crate::reference::values;
use crate::settings::{CONSISTENCY_BATCH, ConsistencyKind, TrainConfig};
use crate::tasks::fingerprint_of_prompts;

/// How much of a prompt's states is in one direction, in the log: of the prompts of a step, and of held-out ones.
pub(crate) const CONSISTENCY: &str = "consistency";
pub(crate) const EVAL_CONSISTENCY: &str = "eval_consistency";

/// What holds prompts consistent.
#[derive(Debug)]
pub struct ConsistencyTerm {
    of: Consistency,
    weight: f64,
    layer: Layer,
    prompts: Vec<TokenizedPrompts>,
    draw: Draw,
}

/// Whether the prompts of `rows` can be held consistent in a model whose prompts go through so many layers, if `config` asks
/// for it: found before anything is loaded.
///
/// # Errors
/// If they cannot.
pub fn check_consistency(config: &TrainConfig, rows: &TokenizedRows, layers: usize) -> Result<(), TrainError> {
    if config.consistency_weight.is_none() {
        return Ok(());
    }
    layer(config, layers)?;
    if config.harm_note.is_some() && config.consistency_data.is_none() {
        let expected = "a file of prompts, as harm_note is given: a note stands behind some of those trained on";
        return Err(TrainError::setting("consistency_data", expected, "none"));
    }
    prompts(rows).map(drop)
}

/// The prompts of rows.
fn prompts(rows: &TokenizedRows) -> Result<Vec<TokenizedPrompts>, TrainError> {
    match rows.parallel_prompts() {
        Some(prompts) if !prompts.is_empty() => Ok(prompts),
        Some(_) => Err(TrainError::NoRows),
        None => {
            let expected =
                "rows in two languages, or consistency_data with prompts in several, as consistency_weight is given";
            Err(TrainError::setting("consistency_data", expected, rows.kind()))
        }
    }
}

/// The layer whose states are held consistent.
fn layer(config: &TrainConfig, layers: usize) -> Result<Layer, TrainError> {
    match config.consistency_layer.unwrap_or(layers.div_ceil(2)) {
        number if number > layers => {
            let expected = format!("at most {layers}, the layers of the model");
            Err(TrainError::setting("consistency_layer", expected, number.to_string()))
        }
        number if number == layers => Ok(Layer::Last),
        number => Ok(Layer::Output(number - 1)),
    }
}

/// A prompt in the languages that a step compares.
struct Drawn<'t> {
    prompts: Vec<&'t [u32]>,
    origin: &'t Origin,
}

impl ConsistencyTerm {
    /// The term that `config` asks for beside a method that trains `model`, if it does, of the prompts of `rows`.
    ///
    /// # Errors
    /// Those of [`check_consistency`], and if nothing is trained that the states follow from.
    pub fn new(config: &TrainConfig, rows: &TokenizedRows, model: &CausalLm) -> Result<Option<Self>, TrainError> {
        let Some(weight) = config.consistency_weight else { return Ok(None) };
        let layer = layer(config, model.config().prompt_layers())?;
        if !model.trains_within(layer) {
            let got = config.consistency_layer.map_or("the middle one".to_owned(), |layer| layer.to_string());
            let expected = "a layer at or above the first that the adapter trains";
            return Err(TrainError::setting("consistency_layer", expected, got));
        }
        let prompts = prompts(rows)?;
        let temperature = config.consistency_temperature.unwrap_or(1.0);
        let of = match config.consistency.unwrap_or(ConsistencyKind::SingularValue) {
            ConsistencyKind::SingularValue => Consistency::SingularValue { temperature },
            ConsistencyKind::Cosine => Consistency::Cosine,
            ConsistencyKind::Contrast => Consistency::Contrast { temperature },
        };
        Ok(Some(Self { of, weight, layer, draw: Draw::new(config, prompts.len()), prompts }))
    }

    /// Identifies the prompts: the settings are known without it.
    pub(crate) fn fingerprint(&self) -> String {
        format!("consistent {}", fingerprint_of_prompts(&self.prompts))
    }

    /// Adds the gradients of the term in a step, from 0, to `gradients`. Returns its numbers by name: the loss, and how much of
    /// a prompt's states is in one direction, both means over prompts; none in a step that does without.
    ///
    /// # Errors
    /// If a state is not finite.
    pub(crate) fn add(
        &self,
        step: u64,
        model: &CausalLm,
        pass: PassOptions,
        max_tokens: usize,
        gradients: &mut Accumulator,
    ) -> Result<Option<[(&'static str, f64); 2]>, TrainError> {
        let drawn = self.drawn(step);
        if drawn.is_empty() {
            return Ok(None);
        }
        let parts: Vec<&[Drawn<'_>]> = chunks(&drawn, max_tokens, Drawn::tokens).collect();
        // Where prompts are set against each other, all states come before the first gradient.
        let mut known = if self.of.is_of_batch() && parts.len() > 1 { Some(self.losses(&parts, model)?) } else { None };
        let (mut loss, mut shared) = (0.0, 0.0);
        for part in parts {
            let (batch, wanted) = self.batch(part);
            let (outputs, pass) = model.forward_training(&batch, pass);
            let states = outputs.states(wanted);
            drop(outputs);
            let made: Vec<ConsistencyLoss> = match &mut known {
                Some(known) => known.drain(..part.len()).collect(),
                None => self.of.losses(&on_host(part, &states)?),
            };
            loss += made.iter().map(|one| one.loss).sum::<f64>();
            shared += made.iter().map(|one| one.shared).sum::<f64>();
            let slopes: Vec<f32> = made.iter().flat_map(|one| &one.gradient).map(|slope| *slope as f32).collect();
            let slopes = Tensor::<2>::from_data(TensorData::new(slopes, states.dims()), &states.device());
            // Its value says nothing; its gradient at the states is theirs.
            let stand_in = (states * slopes).sum().mul_scalar(self.weight / drawn.len() as f64);
            gradients.add(model, stand_in, pass);
        }
        let count = drawn.len() as f64;
        Ok(Some([("loss/consistency", loss / count), (CONSISTENCY, shared / count)]))
    }

    /// How much of each prompt's states is in one direction, in all its languages and of all prompts.
    ///
    /// # Errors
    /// If a state is not finite.
    pub(crate) fn measure(&self, model: &CausalLm, max_tokens: usize) -> Result<Vec<RowValues>, TrainError> {
        let all: Vec<Drawn<'_>> = self.prompts.iter().map(Drawn::whole).collect();
        let parts: Vec<&[Drawn<'_>]> = chunks(&all, max_tokens, Drawn::tokens).collect();
        let made = all.iter().zip(self.losses(&parts, model)?);
        let values = |made: ConsistencyLoss| vec![(EVAL_CONSISTENCY, made.shared)];
        Ok(made
            .map(|(one, made)| RowValues { values: values(made), ..RowValues::new(None, one.origin.to_string()) })
            .collect())
    }

    /// The losses of prompts in parts, computed without gradients of the model.
    fn losses(&self, parts: &[&[Drawn<'_>]], model: &CausalLm) -> Result<Vec<ConsistencyLoss>, TrainError> {
        let model = model.valid();
        let mut all = vec![];
        for part in parts {
            let (batch, wanted) = self.batch(part);
            all.extend(on_host(part, &model.forward(&batch).states(wanted))?);
        }
        Ok(self.of.losses(&all))
    }

    /// Prompts in a batch, and their states.
    fn batch(&self, part: &[Drawn<'_>]) -> (Batch, States) {
        let mut batch = Batch::default();
        let last = part.iter().flat_map(|one| &one.prompts).map(|prompt| At::Last(batch.prompt(prompt))).collect();
        let states = batch.want_states(self.layer, Places::Tokens(last));
        (batch, states)
    }

    /// What a step compares.
    fn drawn(&self, step: u64) -> Vec<Drawn<'_>> {
        let Some((epoch, numbers)) = self.draw.of_step(step) else { return vec![] };
        let of = |number: usize| {
            let mut drawn = Drawn::whole(&self.prompts[number]);
            if self.of.is_of_batch() {
                // The other languages take turns.
                let turn = (epoch as usize).wrapping_add(number) % (drawn.prompts.len() - 1);
                drawn.prompts = vec![drawn.prompts[0], drawn.prompts[1 + turn]];
            }
            drawn
        };
        numbers.into_iter().map(of).collect()
    }
}

impl<'t> Drawn<'t> {
    /// In all its languages.
    fn whole(row: &'t TokenizedPrompts) -> Self {
        Self { prompts: row.prompts.iter().map(|(_, ids)| &ids[..]).collect(), origin: &row.origin }
    }

    fn tokens(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.len()).sum()
    }
}

/// The states of prompts, `[states, width]`, those of a prompt together.
fn on_host(part: &[Drawn<'_>], states: &Tensor<2>) -> Result<Vec<PromptStates>, TrainError> {
    let [count, width] = states.dims();
    let numbers = values(states.clone().without_autodiff().reshape([count * width]));
    let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
    let mut rest = &numbers[..];
    let of = |one: &Drawn<'_>| {
        let (own, after) = rest.split_at(one.prompts.len() * width);
        rest = after;
        match own.iter().find(|number| !number.is_finite()) {
            None => Ok(PromptStates::new(one.prompts.len(), own)),
            Some(&value) => {
                let row = one.origin.to_string();
                Err(TrainError::NotFinite { what: "the hidden state of a prompt", value, row })
            }
        }
    };
    part.iter().map(of).collect()
}

/// Which prompts a step holds consistent: that follows from the seed and the step alone, as the rows of a step do, so a run that
/// goes on draws what it would have drawn.
#[derive(Debug)]
pub(crate) struct Draw {
    prompts: usize,
    size: usize,
    every: u64,
    seed: u64,
    shuffle: bool,
    /// The round that was asked for last, and its order: all of its steps share it.
    last: RefCell<Option<(u64, Vec<usize>)>>,
}

impl Draw {
    /// Of so many prompts.
    pub(crate) fn new(config: &TrainConfig, prompts: usize) -> Self {
        Self {
            prompts,
            size: config.consistency_batch_size.unwrap_or(CONSISTENCY_BATCH),
            every: config.consistency_every.unwrap_or(1),
            seed: config.seed,
            shuffle: config.shuffle,
            last: RefCell::default(),
        }
    }

    /// The prompts of a step, from 0, and how often all had been drawn before; none in a step that does without. No prompt is
    /// there twice, so what is left over at the end of a round is left out of it.
    pub(crate) fn of_step(&self, step: u64) -> Option<(u64, Vec<usize>)> {
        if self.prompts == 0 || !step.is_multiple_of(self.every) {
            return None;
        }
        let size = self.size.min(self.prompts);
        let per_round = (self.prompts / size) as u64;
        let (round, within) = (step / self.every / per_round, step / self.every % per_round);
        let first = within as usize * size;
        let mut last = self.last.borrow_mut();
        let order = match &mut *last {
            Some((of, order)) if *of == round => order,
            other => &mut other.insert((round, self.order(round))).1,
        };
        Some((round, order[first..first + size].to_vec()))
    }

    /// The order in which a round takes the prompts.
    fn order(&self, round: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.prompts).collect();
        if self.shuffle {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            // The rows of an epoch have its number as theirs.
            rng.set_stream(u64::MAX - round);
            order.shuffle(&mut rng);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrainOptions;

    fn draw(prompts: usize, every: u64) -> Draw {
        let options = TrainOptions {
            consistency_weight: Some(1.0),
            consistency_batch_size: Some(3),
            consistency_every: Some(every),
            ..TrainOptions::minimal()
        };
        Draw::new(&options.resolve().unwrap(), prompts)
    }

    #[test]
    fn rounds_have_every_prompt_at_most_once_and_differ() {
        let draw = draw(10, 1);
        let round =
            |first: u64| -> Vec<usize> { (first..first + 3).flat_map(|step| draw.of_step(step).unwrap().1).collect() };
        for first in [0, 3, 6] {
            let mut all = round(first);
            assert_eq!(draw.of_step(first).unwrap().0, first / 3);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 9);
        }
        assert_ne!(round(0), round(3));
        assert_eq!(round(3), round(3));
    }

    #[test]
    fn a_step_has_its_prompts_whatever_was_asked_for_before() {
        let draw = draw(10, 1);
        let of_steps = |steps: &[u64]| steps.iter().map(|&step| draw.of_step(step).unwrap()).collect::<Vec<_>>();
        let there = of_steps(&[0, 1, 2, 3, 4, 5]);
        let mut back = of_steps(&[5, 4, 3, 2, 1, 0]);
        back.reverse();
        assert_eq!(there, back);
        let fresh: Vec<_> = (0..6).map(|step| self::draw(10, 1).of_step(step).unwrap()).collect();
        assert_eq!(there, fresh);
    }

    #[test]
    fn fewer_prompts_than_a_step_takes_are_all_there() {
        let (round, mut all) = draw(2, 1).of_step(5).unwrap();
        all.sort_unstable();
        assert_eq!((round, all), (5, vec![0, 1]));
        assert!(draw(0, 1).of_step(0).is_none());
    }

    #[test]
    fn steps_between_do_without() {
        let (every, each) = (draw(10, 2), draw(10, 1));
        assert!(every.of_step(3).is_none());
        assert_eq!(every.of_step(4), each.of_step(2));
    }
}
