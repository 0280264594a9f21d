//! Where a model puts safe and unsafe answers: the states of their last tokens on two principal components, and how far
//! apart the two kinds are (Figures 5 and 6 of the paper).

use burn::module::Module;
use mpo_chat::ChatError;
use mpo_data::{Language, LanguagePair};
use mpo_models::{At, Batch, CausalLm, Layer, Places};
use mpo_progress::Stage;
use nalgebra::{DMatrix, DVector, Dyn, SymmetricEigen};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::silhouette::{Distances, centre};

/// An answer's last token.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerState {
    /// The language of its prompt.
    pub language: Language,
    /// Whether the answer is the safe one.
    pub is_safe: bool,
    /// The last layer's output after the final norm, `[hidden_size]`.
    pub state: Vec<f64>,
}

/// A point of the projection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The language of the prompt.
    pub language: Language,
    /// Whether the answer is the safe one.
    pub is_safe: bool,
    /// The first principal component.
    pub x: f64,
    /// The second.
    pub y: f64,
}

/// How far apart a language's safe and unsafe answers are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Separation {
    /// The language.
    pub language: Language,
    /// The mean silhouette (Rousseeuw, 1987) in the whole space: 1 is far apart, 0 mingled, below 0 in each other's place.
    pub silhouette: f64,
}

/// Answers on two components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    /// The answers.
    pub points: Vec<Point>,
    /// The fraction of the variance that each component has.
    pub explained: [f64; 2],
    /// By language, the dominant one first.
    pub separation: Vec<Separation>,
}

/// The states of both answers of every pair, as many pairs at a time as hold `max_tokens` tokens.
///
/// # Errors
/// If `stage` is stopped.
pub fn answer_states(
    model: &CausalLm,
    pairs: &[LanguagePair],
    max_tokens: usize,
    stage: &dyn Stage,
) -> Result<Vec<AnswerState>, ChatError> {
    let model = model.valid();
    let mut states = vec![];
    let mut rest = pairs;
    while !rest.is_empty() {
        if stage.is_stopped() {
            return Err(ChatError::Stopped);
        }
        let (mut batch, mut last, mut taken) = (Batch::default(), vec![], 0);
        for LanguagePair { pair, .. } in rest {
            if taken > 0 && batch.tokens() + pair.tokens() > max_tokens {
                break;
            }
            taken += 1;
            let prompt = batch.prompt(pair.prompt());
            for answer in [pair.chosen(), pair.rejected()] {
                last.push(At::Last(batch.answer(prompt, answer)));
            }
        }
        let last = batch.want_states(Layer::Last, Places::Tokens(last));
        let hidden = model.forward(&batch).states(last);
        let width = hidden.dims()[1];
        let values = hidden.into_data().convert::<f64>().try_to_vec::<f64>();
        let values = values.expect("the data has just been converted to f64");
        let (part, after) = rest.split_at(taken);
        for (pair, both) in part.iter().zip(values.chunks_exact(2 * width)) {
            for (state, is_safe) in both.chunks_exact(width).zip([true, false]) {
                states.push(AnswerState { language: pair.language, is_safe, state: state.to_vec() });
            }
            stage.advance(1);
        }
        rest = after;
    }
    Ok(states)
}

impl Projection {
    /// Of at least three states of one width.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn new(states: &[AnswerState], dominant: Option<Language>) -> Result<Self, EvalError> {
        if states.len() < 3 {
            return Err(EvalError::TooFew {
                what: "projection",
                expected: "at least three answers",
                got: states.len(),
            });
        }
        let (count, width) = (states.len(), states[0].state.len());
        let mut centred = DMatrix::from_fn(count, width, |i, j| states[i].state[j]);
        centre(&mut centred);
        let [x, y] = components(&centred).map(|component| component.facing(states));
        let points = states
            .iter()
            .enumerate()
            .map(|(i, state)| Point {
                language: state.language,
                is_safe: state.is_safe,
                x: x.coordinates[i],
                y: y.coordinates[i],
            })
            .collect();
        let mut languages: Vec<Language> = states.iter().map(|state| state.language).collect();
        languages.sort_unstable();
        languages.dedup();
        languages.sort_by_key(|language| Some(*language) != dominant);
        let separation =
            languages.into_iter().filter_map(|language| Separation::new(language, states, &centred)).collect();
        Ok(Self { points, explained: [x, y].map(|component| component.explained), separation })
    }
}

impl Separation {
    /// Of a language's states, `centred` having all of them; none if too few are of either kind.
    fn new(language: Language, states: &[AnswerState], centred: &DMatrix<f64>) -> Option<Self> {
        let of: Vec<usize> = (0..states.len()).filter(|&i| states[i].language == language).collect();
        let kinds: Vec<bool> = of.iter().map(|&i| states[i].is_safe).collect();
        let safe = kinds.iter().filter(|is_safe| **is_safe).count();
        if safe < 2 || kinds.len() - safe < 2 {
            return None;
        }
        let silhouette = Distances::of_centred(&centred.select_rows(&of)).silhouette(&kinds)?;
        Some(Self { language, silhouette })
    }
}

/// A principal component of rows.
struct Component {
    /// Every row's coordinate on it.
    coordinates: DVector<f64>,
    /// The fraction of the variance that it has.
    explained: f64,
}

impl Component {
    /// With `value` of the sum of squares of centred rows.
    fn new(coordinates: DVector<f64>, value: f64, centred: &DMatrix<f64>) -> Self {
        let all = centred.norm_squared();
        Self { coordinates, explained: if all > 0.0 { value / all } else { 0.0 } }
    }

    /// A component's sign means nothing; this one puts safe answers to the right and up.
    fn facing(self, states: &[AnswerState]) -> Self {
        let coordinates = self.coordinates.iter().zip(states);
        let safe = coordinates.filter(|(_, state)| state.is_safe);
        let sum: f64 = safe.map(|(coordinate, _)| coordinate).sum();
        Self { coordinates: self.coordinates * if sum < 0.0 { -1.0 } else { 1.0 }, ..self }
    }
}

/// The first two components of centred rows, by the smaller of two matrices that lead to the same.
fn components(centred: &DMatrix<f64>) -> [Component; 2] {
    if centred.nrows() > centred.ncols() && centred.ncols() > 1 { by_dimensions(centred) } else { by_rows(centred) }
}

/// From the products of dimensions: their eigenvectors are the components' directions.
fn by_dimensions(centred: &DMatrix<f64>) -> [Component; 2] {
    let eigen = SymmetricEigen::new(centred.transpose() * centred);
    largest(&eigen).map(|which| {
        let coordinates = centred * eigen.eigenvectors.column(which);
        Component::new(coordinates, eigen.eigenvalues[which].max(0.0), centred)
    })
}

/// From the products of rows: their eigenvectors are the coordinates, but for the length.
fn by_rows(centred: &DMatrix<f64>) -> [Component; 2] {
    let eigen = SymmetricEigen::new(centred * centred.transpose());
    largest(&eigen).map(|which| {
        let value = eigen.eigenvalues[which].max(0.0);
        let coordinates = eigen.eigenvectors.column(which) * value.sqrt();
        Component::new(coordinates, value, centred)
    })
}

/// The numbers of the two largest eigenvalues.
fn largest(eigen: &SymmetricEigen<f64, Dyn>) -> [usize; 2] {
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    [order[0], order[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(language: &str, is_safe: bool, state: [f64; 3]) -> AnswerState {
        AnswerState { language: language.parse().unwrap(), is_safe, state: state.to_vec() }
    }

    #[test]
    fn components_by_hand() {
        // Safe and unsafe lie 6 apart along the first axis, and 2 along the second; the third says nothing.
        let states = [
            state("sw", true, [3.0, 1.0, 5.0]),
            state("sw", true, [3.0, -1.0, 5.0]),
            state("sw", false, [-3.0, 1.0, 5.0]),
            state("sw", false, [-3.0, -1.0, 5.0]),
        ];
        let projection = Projection::new(&states, None).unwrap();
        for (point, safe) in projection.points.iter().zip([3.0, 3.0, -3.0, -3.0]) {
            assert!((point.x - safe).abs() < 1e-9 && (point.y.abs() - 1.0).abs() < 1e-9, "{point:?}");
        }
        assert!((projection.explained[0] - 0.9).abs() < 1e-9);
        assert!((projection.explained[1] - 0.1).abs() < 1e-9);
        // To its own class 2, to the other (6 + √40) / 2.
        let other = (6.0 + 40f64.sqrt()) / 2.0;
        let silhouette = projection.separation[0].silhouette;
        assert!((silhouette - (other - 2.0) / other).abs() < 1e-9, "{silhouette}");
    }

    #[test]
    fn both_ways_lead_to_the_same_components() {
        // Seven rows of three dimensions, and three of seven, spread unevenly.
        let tall = DMatrix::from_fn(7, 3, |i, j| ((i * i + 3 * j) % 5) as f64 * (j + 1) as f64);
        for mut rows in [tall.clone(), tall.transpose()] {
            centre(&mut rows);
            for (one, other) in by_dimensions(&rows).into_iter().zip(by_rows(&rows)) {
                assert!(one.explained > 0.01, "{}", one.explained);
                assert!((one.explained - other.explained).abs() < 1e-9);
                for (a, b) in one.coordinates.iter().zip(&other.coordinates) {
                    assert!((a.abs() - b.abs()).abs() < 1e-9, "{a}, {b}");
                }
            }
        }
    }

    #[test]
    fn mingled_answers_are_not_apart() {
        let at = |x: f64, is_safe| state("bn", is_safe, [x, 0.0, 0.0]);
        let states = [at(1.0, true), at(-1.0, true), at(1.0, false), at(-1.0, false), state("en", true, [0.0; 3])];
        let projection = Projection::new(&states, "en".parse().ok()).unwrap();
        assert!(projection.separation[0].silhouette <= 0.0);
        // One English answer is no class.
        assert_eq!(projection.separation.len(), 1);
        assert!(Projection::new(&states[..2], None).unwrap_err().to_string().contains("at least three"));
        let same = vec![at(1.0, true), at(1.0, true), at(1.0, false), at(1.0, false)];
        assert_eq!(Projection::new(&same, None).unwrap().separation[0].silhouette, 0.0);
    }
}
