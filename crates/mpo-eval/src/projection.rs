//! Where a model puts safe and unsafe answers: the states of their last tokens on two principal components, and how far
//! apart the two kinds are (Figures 5 and 6 of the paper).

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use mpo_data::{Language, LanguagePair};
use mpo_kernels::PackedLayout;
use mpo_models::CausalLm;
use nalgebra::{DMatrix, SymmetricEigen};
use serde::{Deserialize, Serialize};

use crate::chat::{ChatError, Progress};
use crate::error::EvalError;

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
/// If `progress` says stop.
pub fn answer_states(
    model: &CausalLm,
    pairs: &[LanguagePair],
    max_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<AnswerState>, ChatError> {
    let model = model.valid();
    let mut states = vec![];
    let mut rest = pairs;
    while !rest.is_empty() {
        if !progress.go_on() {
            return Err(ChatError::Stopped);
        }
        let (mut tokens, mut lengths, mut taken) = (vec![], vec![], 0);
        for pair in rest {
            let parts = [pair.pair.chosen(), pair.pair.rejected()];
            let answers = parts.map(|answer| [pair.pair.prompt(), answer].concat());
            let more: usize = answers.iter().map(Vec::len).sum();
            if taken > 0 && tokens.len() + more > max_tokens {
                break;
            }
            taken += 1;
            for answer in answers {
                lengths.push(answer.len());
                tokens.extend(answer);
            }
        }
        let hidden = model.hidden_states(&tokens, &PackedLayout::sequences(&lengths));
        let mut end = 0;
        let rows: Vec<i32> = lengths
            .iter()
            .map(|length| {
                end += length;
                end as i32 - 1
            })
            .collect();
        let rows = TensorData::new(rows, [lengths.len()]);
        let rows = Tensor::<1, Int>::from_data(rows, &hidden.device());
        let width = hidden.dims()[1];
        let values = hidden.select(0, rows).into_data().convert::<f64>();
        let values = values.try_to_vec::<f64>();
        let values = values.expect("the data has just been converted to f64");
        let (part, after) = rest.split_at(taken);
        for (pair, both) in part.iter().zip(values.chunks_exact(2 * width)) {
            for (state, is_safe) in both.chunks_exact(width).zip([true, false]) {
                states.push(AnswerState {
                    language: pair.language,
                    is_safe,
                    state: state.to_vec(),
                });
            }
            progress.done();
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
        for mut column in centred.column_iter_mut() {
            let mean = column.mean();
            column.add_scalar_mut(-mean);
        }
        // There are fewer answers than dimensions: the components follow from the products of answers.
        let products = &centred * centred.transpose();
        let eigen = SymmetricEigen::new(products.clone());
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let variance = products.trace();
        let component = |which: usize| {
            let value = eigen.eigenvalues[order[which]].max(0.0);
            let vector = eigen.eigenvectors.column(order[which]);
            // A component's sign means nothing; this one puts safe answers to the right and up.
            let safe: f64 = vector
                .iter()
                .zip(states)
                .filter(|(_, s)| s.is_safe)
                .map(|(v, _)| v)
                .sum();
            let sign = if safe < 0.0 { -1.0 } else { 1.0 };
            let coordinates: Vec<f64> = vector.iter().map(|v| sign * v * value.sqrt()).collect();
            (
                coordinates,
                if variance > 0.0 {
                    value / variance
                } else {
                    0.0
                },
            )
        };
        let ((x, first), (y, second)) = (component(0), component(1));
        let points = states
            .iter()
            .enumerate()
            .map(|(i, state)| Point {
                language: state.language,
                is_safe: state.is_safe,
                x: x[i],
                y: y[i],
            })
            .collect();
        let mut languages: Vec<Language> = states.iter().map(|state| state.language).collect();
        languages.sort_unstable();
        languages.dedup();
        languages.sort_by_key(|language| Some(*language) != dominant);
        let distance = |a: usize, b: usize| {
            let squared = products[(a, a)] + products[(b, b)] - 2.0 * products[(a, b)];
            squared.max(0.0).sqrt()
        };
        let separation = languages
            .into_iter()
            .filter_map(|language| {
                let of: Vec<usize> = (0..count)
                    .filter(|&i| states[i].language == language)
                    .collect();
                let silhouette = silhouette(&of, |i| states[i].is_safe, distance)?;
                Some(Separation {
                    language,
                    silhouette,
                })
            })
            .collect();
        Ok(Self {
            points,
            explained: [first, second],
            separation,
        })
    }
}

/// The mean silhouette of `items` in two classes; none if a class has fewer than two.
fn silhouette(
    items: &[usize],
    class: impl Fn(usize) -> bool,
    distance: impl Fn(usize, usize) -> f64,
) -> Option<f64> {
    let (ones, others): (Vec<usize>, Vec<usize>) = items.iter().partition(|&&item| class(item));
    if ones.len() < 2 || others.len() < 2 {
        return None;
    }
    let of = |item: usize, own: &[usize], other: &[usize]| {
        let sum = |class: &[usize]| class.iter().map(|&b| distance(item, b)).sum::<f64>();
        // The distance to itself is nothing, and is not counted.
        let (a, b) = (
            sum(own) / (own.len() - 1) as f64,
            sum(other) / other.len() as f64,
        );
        match a.max(b) {
            0.0 => 0.0,
            larger => (b - a) / larger,
        }
    };
    let sum: f64 = ones
        .iter()
        .map(|&item| of(item, &ones, &others))
        .sum::<f64>()
        + others
            .iter()
            .map(|&item| of(item, &others, &ones))
            .sum::<f64>();
    Some(sum / items.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(language: &str, is_safe: bool, state: [f64; 3]) -> AnswerState {
        AnswerState {
            language: language.parse().unwrap(),
            is_safe,
            state: state.to_vec(),
        }
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
            assert!(
                (point.x - safe).abs() < 1e-9 && (point.y.abs() - 1.0).abs() < 1e-9,
                "{point:?}"
            );
        }
        assert!((projection.explained[0] - 0.9).abs() < 1e-9);
        assert!((projection.explained[1] - 0.1).abs() < 1e-9);
        // To its own class 2, to the other (6 + √40) / 2.
        let other = (6.0 + 40f64.sqrt()) / 2.0;
        let silhouette = projection.separation[0].silhouette;
        assert!(
            (silhouette - (other - 2.0) / other).abs() < 1e-9,
            "{silhouette}"
        );
    }

    #[test]
    fn mingled_answers_are_not_apart() {
        let at = |x: f64, is_safe| state("bn", is_safe, [x, 0.0, 0.0]);
        let states = [
            at(1.0, true),
            at(-1.0, true),
            at(1.0, false),
            at(-1.0, false),
            state("en", true, [0.0; 3]),
        ];
        let projection = Projection::new(&states, "en".parse().ok()).unwrap();
        assert!(projection.separation[0].silhouette <= 0.0);
        // One English answer is no class.
        assert_eq!(projection.separation.len(), 1);
        assert!(
            Projection::new(&states[..2], None)
                .unwrap_err()
                .to_string()
                .contains("at least three")
        );
        let same = vec![at(1.0, true), at(1.0, true), at(1.0, false), at(1.0, false)];
        assert_eq!(
            Projection::new(&same, None).unwrap().separation[0].silhouette,
            0.0
        );
    }
}
