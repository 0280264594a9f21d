//! A classifier of harmful prompts, fitted to a model's hidden states at the layer where meaning is farthest ahead of language (LASA,
//! arXiv 2604.12710), and how often it is right on prompts that are held out.

use std::collections::{BTreeMap, BTreeSet};

use mpo_chat::{ChatError, LinearHead};
use mpo_data::Language;
use mpo_models::CausalLm;
use mpo_progress::Progress;
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::error::EvalError;
use crate::estimate::Estimate;
use crate::layers::{LayerSilhouettes, Layers, PromptLabels, PromptSet};
use crate::logistic;

/// How a classifier is fitted.
#[derive(Debug, Clone)]
pub struct HarmOptions {
    /// The layer, from one; none for the one that silhouettes choose.
    pub layer: Option<usize>,
    /// The languages to fit in; all if there are none. Held-out prompts are of all languages.
    pub languages: Vec<Language>,
    /// The share of prompts that are held out, each with all its translations.
    pub held_out: f64,
    /// What half the squared length of the weights costs, beside the sum of losses, where all columns have a deviation of one.
    pub ridge: f64,
    /// Which prompts are held out.
    pub seed: u64,
    /// Tokens of prompts that pass through the model at once.
    pub max_tokens: usize,
}

impl Default for HarmOptions {
    fn default() -> Self {
        Self { layer: None, languages: vec![], held_out: 0.2, ridge: 1.0, seed: 42, max_tokens: 4096 }
    }
}

/// A classifier that was fitted.
#[derive(Debug, Clone, Serialize)]
pub struct HarmFit {
    /// The layer whose states it looks at, from one.
    pub layer: usize,
    /// How far apart prompts lie there, if they are there in two languages.
    pub silhouettes: Option<LayerSilhouettes>,
    /// The languages that it was fitted in.
    pub fitted_in: Vec<Language>,
    /// The harmful prompts that it was fitted to.
    pub harmful: usize,
    /// The harmless ones.
    pub harmless: usize,
    /// How it does on held-out prompts, by language.
    pub held_out: Vec<HarmAccuracy>,
    /// The classifier itself.
    #[serde(skip)]
    pub head: LinearHead,
}

/// How often a classifier is right on the held-out prompts of a language.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HarmAccuracy {
    /// The language.
    pub language: Language,
    /// Of all its prompts how many it is right on.
    pub right: Option<Estimate>,
    /// Of harmful ones how many it finds.
    pub found: Option<Estimate>,
    /// Of harmless ones how many it takes for harmful.
    pub false_alarms: Option<Estimate>,
}

/// Prompts of a kind that a classifier needs at least.
const FEWEST: usize = 2;

impl PromptSet {
    /// Fits a classifier to the states that `model` has of a part of the prompts, and measures it on the others.
    ///
    /// # Errors
    /// If it is stopped, there are too few prompts of a kind, there is no layer to choose, or a state is no number.
    pub fn harm_classifier(
        &self,
        model: &CausalLm,
        options: &HarmOptions,
        progress: &dyn Progress,
    ) -> Result<HarmFit, EvalError> {
        let split = self.split(options);
        // Heard of before prompts go through a model.
        check_kinds(&split.fitted(self.labels(), &options.languages))?;
        let depth = model.config().prompt_layers();
        if let Some(got) = options.layer.filter(|&layer| layer == 0 || layer > depth) {
            return Err(EvalError::NoLayer { depth, got });
        }
        let stage = progress.begin("hidden states", Some(self.len()));
        let states = self.states(model, options.max_tokens, &*stage)?;
        drop(stage);
        HarmFit::of_states(self.labels(), &states, &split, options)
    }

    /// The prompts to fit to, and those to measure on: of each kind a share is held out, with all translations.
    fn split(&self, options: &HarmOptions) -> HarmSplit {
        let mut kinds: BTreeMap<usize, bool> = BTreeMap::new();
        for (asks, labels) in self.asks().iter().zip(self.labels()) {
            kinds.entry(*asks).or_insert(labels.is_unsafe);
        }
        let mut out = BTreeSet::new();
        for is_unsafe in [true, false] {
            let mut of: Vec<usize> = kinds.iter().filter(|(_, of)| **of == is_unsafe).map(|(&asks, _)| asks).collect();
            of.shuffle(&mut ChaCha8Rng::seed_from_u64(options.seed));
            // A fifth of 20 is 4, whatever 0.2 is rounded to.
            let count = (of.len() as f64 * options.held_out + 1e-9).floor() as usize;
            out.extend(of.into_iter().take(count));
        }
        let (held_out, rest) = (0..self.len()).partition(|&at| out.contains(&self.asks()[at]));
        HarmSplit { rest, held_out }
    }
}

/// Prompts by their places: what is learnt from, in whatever language, and what is measured on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HarmSplit {
    /// Those to learn from.
    pub rest: Vec<usize>,
    /// Those to measure on.
    pub held_out: Vec<usize>,
}

impl HarmSplit {
    /// Those in the languages that a classifier is fitted in, with what they are.
    fn fitted(&self, labels: &[PromptLabels], languages: &[Language]) -> Vec<(usize, PromptLabels)> {
        let all = self.rest.iter().map(|&at| (at, labels[at]));
        all.filter(|(_, of)| languages.is_empty() || languages.contains(&of.language)).collect()
    }
}

/// How many are harmful and harmless, of which there must be some of both.
fn check_kinds(fitted: &[(usize, PromptLabels)]) -> Result<(usize, usize), EvalError> {
    let harmful = fitted.iter().filter(|(_, of)| of.is_unsafe).count();
    let harmless = fitted.len() - harmful;
    if harmful < FEWEST || harmless < FEWEST {
        return Err(EvalError::OneKind { fewest: FEWEST, harmful, harmless });
    }
    Ok((harmful, harmless))
}

impl HarmFit {
    /// Fits to prompts with these labels and states, of which each layer has those of all, one behind the other.
    ///
    /// # Errors
    /// If there are too few prompts of a kind, there is no layer to choose, or a state is no number.
    pub fn of_states(
        labels: &[PromptLabels],
        states: &[Vec<f32>],
        split: &HarmSplit,
        options: &HarmOptions,
    ) -> Result<Self, EvalError> {
        let fitted = split.fitted(labels, &options.languages);
        let (harmful, harmless) = check_kinds(&fitted)?;
        if let Some(at) = states.iter().position(|states| !states.iter().all(|number| number.is_finite())) {
            return Err(ChatError::State { layer: at + 1 }.into());
        }
        let layers = layers(labels, states, &split.rest);
        let layer = options.layer.or(layers.bottleneck).ok_or(EvalError::NoBottleneck)?;
        let of_layer = states.get(layer - 1).ok_or(EvalError::NoLayer { depth: states.len(), got: layer })?;
        let (places, known): (Vec<usize>, Vec<PromptLabels>) = fitted.into_iter().unzip();
        let head = head(rows(of_layer, labels.len(), &places), &known, options.ridge);
        let width = head.weight.len();
        let finds = |at: usize| head.log_odds(&of_layer[at * width..][..width]) > 0.0;
        let mut by_language: BTreeMap<Language, Vec<(bool, bool)>> = BTreeMap::new();
        for &at in &split.held_out {
            by_language.entry(labels[at].language).or_default().push((labels[at].is_unsafe, finds(at)));
        }
        let fitted_in: BTreeSet<Language> = known.iter().map(|of| of.language).collect();
        Ok(Self {
            layer,
            silhouettes: layers.silhouettes.iter().find(|of| of.layer == layer).copied(),
            fitted_in: fitted_in.into_iter().collect(),
            harmful,
            harmless,
            held_out: by_language.into_iter().map(|(language, of)| HarmAccuracy::new(language, &of)).collect(),
            head,
        })
    }
}

/// How far apart the prompts lie that are learnt from: nothing of those held out enters, nor which are harmful.
fn layers(labels: &[PromptLabels], states: &[Vec<f32>], rest: &[usize]) -> Layers {
    let known: Vec<PromptLabels> = rest.iter().map(|&at| labels[at]).collect();
    let width = |states: &[f32]| states.len() / labels.len().max(1);
    let numbers = |states: &[f32], at: usize| states[at * width(states)..][..width(states)].to_vec();
    let of_rest = states.iter().map(|of| rest.iter().flat_map(|&at| numbers(of, at)).map(f64::from).collect());
    Layers::new(&known, of_rest, None)
}

/// The states of these prompts, one a row, out of those of all.
fn rows(states: &[f32], all: usize, of: &[usize]) -> DMatrix<f64> {
    let width = states.len() / all.max(1);
    DMatrix::from_fn(of.len(), width, |i, j| f64::from(states[of[i] * width + j]))
}

/// The line between both kinds of rows. Columns are of very different size in a model, so they are made alike first, and what that
/// did is put into the line.
fn head(mut rows: DMatrix<f64>, labels: &[PromptLabels], ridge: f64) -> LinearHead {
    let means: Vec<f64> = rows.column_iter().map(|column| column.mean()).collect();
    let mut scales = vec![];
    for (mut column, mean) in rows.column_iter_mut().zip(&means) {
        column.add_scalar_mut(-mean);
        let deviation = (column.norm_squared() / column.len() as f64).sqrt();
        // A column that is the same everywhere, but for the rounding of its mean, says nothing.
        scales.push(if deviation > 1e-12 * mean.abs() { deviation.recip() } else { 0.0 });
        column *= scales[scales.len() - 1];
    }
    let are: Vec<bool> = labels.iter().map(|of| of.is_unsafe).collect();
    let found = logistic::fit(&rows, &are, ridge);
    let weight = found.weight.component_mul(&DVector::from_vec(scales));
    let bias = found.bias - weight.iter().zip(&means).map(|(weight, mean)| weight * mean).sum::<f64>();
    LinearHead { weight: weight.as_slice().to_vec(), bias }
}

impl HarmAccuracy {
    /// Of prompts: whether each is harmful, and is found to be.
    fn new(language: Language, prompts: &[(bool, bool)]) -> Self {
        let of = |kind: bool, hit: bool| {
            let kind = prompts.iter().filter(|(is, _)| *is == kind);
            Estimate::rate(kind.clone().filter(|(_, found)| *found == hit).count(), kind.count())
        };
        let right = prompts.iter().filter(|(is, found)| is == found).count();
        Self {
            language,
            right: Estimate::rate(right, prompts.len()),
            found: of(true, true),
            false_alarms: of(false, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use mpo_data::{Origin, Position, TokenizedPrompts, TokenizedRows};

    use super::*;

    fn labels(code: &str, meaning: Option<usize>, is_unsafe: bool) -> PromptLabels {
        PromptLabels { language: code.parse().unwrap(), meaning, is_unsafe }
    }

    /// Of six prompts, each in English and Swahili, three are harmful. At the first layer prompts lie by their language, at the
    /// second by what they mean, and harmful ones above zero; Swahili is shifted, and its last prompt lies on the wrong side.
    fn prompts() -> (Vec<PromptLabels>, Vec<Vec<f32>>) {
        let of = (0..6).flat_map(|meaning| ["en", "sw"].map(|code| labels(code, Some(meaning), meaning < 3)));
        let first = (0..6).flat_map(|meaning| [[0.0, meaning as f32], [90.0, meaning as f32]]).flatten();
        let side = |meaning: usize| if meaning < 3 { 10.0 + meaning as f32 } else { -10.0 - meaning as f32 };
        let second = (0..6).flat_map(|meaning| {
            let swahili = if meaning == 5 { 10.0 } else { side(meaning) + 0.5 };
            [[side(meaning), 7.0], [swahili, 7.0]]
        });
        (of.collect(), vec![first.collect(), second.flatten().collect()])
    }

    fn split(held_out: &[usize]) -> HarmSplit {
        HarmSplit { rest: (0..12).filter(|at| !held_out.contains(at)).collect(), held_out: held_out.to_vec() }
    }

    #[test]
    fn the_layer_is_where_meaning_is_ahead_and_held_out_prompts_are_counted_by_language() {
        let (labels, states) = prompts();
        // The third prompt and the last, in both languages.
        let fit = HarmFit::of_states(&labels, &states, &split(&[4, 5, 10, 11]), &HarmOptions::default()).unwrap();
        assert_eq!((fit.layer, fit.silhouettes.unwrap().layer, fit.harmful, fit.harmless), (2, 2, 4, 4));
        let rate = |hits, of| Estimate::rate(hits, of);
        let [english, swahili] = &fit.held_out[..] else { panic!("{:?}", fit.held_out) };
        assert_eq!((english.language.code(), swahili.language.code()), ("en", "sw"));
        assert_eq!((english.right, english.found, english.false_alarms), (rate(2, 2), rate(1, 1), rate(0, 1)));
        assert_eq!((swahili.right, swahili.found, swahili.false_alarms), (rate(1, 2), rate(1, 1), rate(1, 1)));
        // What is the same everywhere has no weight.
        assert!(fit.head.weight[0] > 0.0 && fit.head.weight[1] == 0.0, "{:?}", fit.head);
    }

    #[test]
    fn it_is_fitted_in_the_languages_asked_for_and_measured_in_all() {
        let (labels, states) = prompts();
        let options = HarmOptions { languages: vec!["en".parse().unwrap()], ..HarmOptions::default() };
        let fit = HarmFit::of_states(&labels, &states, &split(&[10, 11]), &options).unwrap();
        // The layer is still chosen by both.
        assert_eq!((fit.layer, fit.harmful, fit.harmless, fit.fitted_in.len()), (2, 3, 2, 1));
        assert_eq!(fit.held_out.len(), 2);
    }

    #[test]
    fn what_cannot_be_fitted_is_told_of() {
        let (labels, mut states) = prompts();
        let problem = |labels: &[PromptLabels], states: &[Vec<f32>], split: &HarmSplit, layer| {
            let options = HarmOptions { layer, ..HarmOptions::default() };
            let error = HarmFit::of_states(labels, states, split, &options).unwrap_err();
            assert!(error.hint().is_some(), "{error}");
            error.to_string()
        };
        let harmful = HarmSplit { rest: (0..7).collect(), held_out: vec![] };
        let found = problem(&labels, &states, &harmful, None);
        assert!(found.ends_with("got 6 and 1"), "{found}");
        assert_eq!(problem(&labels, &states, &split(&[]), Some(3)), "expected a layer from 1 to 2, got 3");
        let alone: Vec<PromptLabels> = labels.iter().map(|of| PromptLabels { meaning: None, ..*of }).collect();
        let found = problem(&alone, &states, &split(&[]), None);
        assert!(found.starts_with("expected prompts that are there in two languages"), "{found}");
        states[1][3] = f32::NAN;
        let found = problem(&labels, &states, &split(&[]), None);
        assert_eq!(found, "expected finite hidden states of prompts at layer 2, got NaN or infinity");
    }

    #[test]
    fn prompts_are_held_out_with_their_translations_and_of_both_kinds() {
        let origin = Origin { file: "f".into(), position: Position::Line(1) };
        let row = |number: u32| TokenizedPrompts {
            prompts: vec![("en".parse().unwrap(), vec![number]), ("sw".parse().unwrap(), vec![number, 1])],
            origin: origin.clone(),
        };
        let set = PromptSet::of_rows(&TokenizedRows::Parallel((0..10).map(row).collect()));
        let HarmSplit { rest, held_out } = set.split(&HarmOptions::default());
        assert_eq!((rest.len(), held_out.len()), (16, 4));
        let asks = |of: &[usize]| of.iter().map(|&at| set.asks()[at]).collect::<BTreeSet<_>>();
        assert!(asks(&rest).is_disjoint(&asks(&held_out)));
        let other = set.split(&HarmOptions { seed: 7, ..HarmOptions::default() });
        assert_ne!(other.held_out, held_out);
        assert!(set.split(&HarmOptions { held_out: 0.0, ..HarmOptions::default() }).held_out.is_empty());
    }
}
