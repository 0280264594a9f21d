//! LENS (Zhao et al. 2024): the languages' states are drawn together in what all share and apart in what is a language's own.

use burn::tensor::{Tensor, TensorData};
use mpo_kernels::take_rows;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::parallel::{ParallelLoss, ParallelLosses, ParallelStates};

/// Of a prompt in a dominant language d and others t, with states h at its last token:
///
/// `a·Σ_t mse(P_a h_d, P_a h_t) + s·Σ_t mse(P_s h_t − P_s h_t^ref, w·δ_t) + r·mse(mean h_d, mean h_d^ref)`
///
/// `P_a` and `P_s` project on [`LanguageSpaces`], `δ_t` is the difference of the means of t and d, and mse the mean over the
/// hidden size. Gradients flow into the dominant language too. The second term drives languages apart, each by `w` whole
/// differences; the third is MPO's `retain: mean-pool` without padding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lens {
    /// a, the weight of what draws languages together.
    pub agnostic_weight: f64,
    /// s, the weight of what drives them apart.
    pub specific_weight: f64,
    /// r, the weight of what holds the dominant language.
    pub retain_weight: f64,
    /// w, how many differences of means a language is driven by.
    pub language_shift: f64,
}

impl Default for Lens {
    /// Those of the authors' code.
    fn default() -> Self {
        Self { agnostic_weight: 1.0, specific_weight: 1.0, retain_weight: 1.0, language_shift: 1.0 }
    }
}

impl Lens {
    pub(crate) const DEFINITION: Definition = Definition::of::<Self>(
        "lens",
        "LENS, language subspaces (Zhao et al. 2024)",
        &[
            Parameter {
                name: "agnostic_weight",
                help: "weight of the term that draws languages together in what they share",
                values: Values::NotNegative,
                search: &[],
            },
            Parameter {
                name: "specific_weight",
                help: "weight of the term that drives each language along its own difference from the dominant one",
                values: Values::NotNegative,
                search: &[],
            },
            Parameter {
                name: "retain_weight",
                help: "weight of the retain term",
                values: Values::NotNegative,
                search: &[],
            },
            Parameter {
                name: "language_shift",
                help: "how many times that difference a language is driven by",
                values: Values::NotNegative,
                search: &[],
            },
        ],
    );
}

impl Objective for Lens {
    fn loss(&self) -> Loss<'_> {
        Loss::Parallel(self)
    }
}

/// What languages share and what is their own, found from the mean states of each under the reference.
///
/// The means lie in a hyperplane. The agnostic axis points to the place of it that is nearest to zero: all means have the same
/// part along it. The specific space is spanned by the differences of the means from the dominant one. With a rank of one less
/// than the languages, which the authors' code uses, these are the two spaces that its two SVDs find.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageSpaces {
    /// Of length one.
    agnostic: DVector<f64>,
    /// An orthonormal basis, `[width, languages − 1]`.
    specific: DMatrix<f64>,
    /// The differences in it, `[languages − 1, languages − 1]`, a column for each language but the dominant one.
    shifts: DMatrix<f64>,
}

/// Means that leave a space open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSpaces {
    /// There is no other language than the dominant one.
    #[error("prompts in one language only")]
    OneLanguage,
    /// As of a language that is there twice, or of more languages than a state has numbers.
    #[error("languages whose mean states do not differ each in a way of its own")]
    Dependent,
    /// All languages share nothing.
    #[error("languages whose mean states have no part in common")]
    NothingShared,
}

impl LanguageSpaces {
    /// Those of languages with these mean states, the dominant one's first. All numbers are finite.
    ///
    /// # Errors
    /// If there are none.
    ///
    /// # Panics
    /// If means differ in width.
    pub fn new(means: &[Vec<f64>]) -> Result<Self, NoSpaces> {
        // Roundings of f32 are no difference.
        const LEAST: f64 = 1e-7;
        let [dominant, others @ ..] = means else { return Err(NoSpaces::OneLanguage) };
        let dominant = DVector::from_column_slice(dominant);
        let differences: Vec<DVector<f64>> =
            others.iter().map(|mean| DVector::from_column_slice(mean) - &dominant).collect();
        if differences.is_empty() {
            return Err(NoSpaces::OneLanguage);
        } else if differences.len() >= dominant.len() {
            return Err(NoSpaces::Dependent);
        }
        let differences = DMatrix::from_columns(&differences);
        let decomposed = differences.qr();
        let (specific, shifts) = (decomposed.q(), decomposed.r());
        let scale = dominant.norm();
        if shifts.diagonal().iter().any(|own| own.abs() <= LEAST * scale) {
            return Err(NoSpaces::Dependent);
        }
        let nearest = &dominant - &specific * (specific.transpose() * &dominant);
        let length = nearest.norm();
        if length <= LEAST * scale {
            return Err(NoSpaces::NothingShared);
        }
        Ok(Self { agnostic: nearest / length, specific, shifts })
    }

    /// How many languages there are.
    pub fn languages(&self) -> usize {
        self.shifts.ncols() + 1
    }

    /// The part of a state that lies on the agnostic axis, and that in the specific space.
    pub fn projections(&self, state: &[f64]) -> [Vec<f64>; 2] {
        let state = DVector::from_column_slice(state);
        let agnostic = &self.agnostic * self.agnostic.dot(&state);
        let specific = &self.specific * (self.specific.transpose() * state);
        [agnostic, specific].map(|part| part.iter().copied().collect())
    }
}

/// A matrix as a constant of `like`'s type and device, row by row.
fn constant(matrix: &DMatrix<f64>, like: &Tensor<2>) -> Tensor<2> {
    let values: Vec<f64> = matrix.transpose().iter().copied().collect();
    Tensor::from_data(TensorData::new(values, [matrix.nrows(), matrix.ncols()]), (&like.device(), like.dtype()))
}

/// Squares summed along each row, `[rows, 1]`.
fn squares(tensor: Tensor<2>) -> Tensor<2> {
    tensor.square().sum_dim(1)
}

impl ParallelLoss for Lens {
    fn losses(&self, states: &ParallelStates, spaces: &LanguageSpaces) -> ParallelLosses {
        let [_, width] = states.policy.dims();
        let rows = states.languages.len();
        // Of every prompt in another language: its place, that of its dominant one, its row and its language.
        let (mut own, mut dominant, mut row_of, mut language_of) = (vec![], vec![], vec![], vec![]);
        let mut first = 0;
        for (row, languages) in states.languages.iter().enumerate() {
            for (at, &language) in languages.iter().enumerate().skip(1) {
                own.push((first + at) as u32);
                dominant.push(first as u32);
                row_of.push(row);
                language_of.push(language);
            }
            first += languages.len();
        }
        let of_row = DMatrix::from_fn(rows, own.len(), |row, at| if row_of[at] == row { 1.0 } else { 0.0 });
        let of_row = constant(&of_row, &states.policy);
        let by_row = |of_prompts: Tensor<2>| of_row.clone().matmul(of_prompts).div_scalar(width as f64).reshape([rows]);

        let axis = DMatrix::from_row_slice(1, width, spaces.agnostic.as_slice());
        let apart = take_rows(states.policy.clone(), &dominant) - take_rows(states.policy.clone(), &own);
        let agnostic = by_row((apart * constant(&axis, &states.policy)).sum_dim(1).square());

        let moved = take_rows(states.policy.clone(), &own) - take_rows(states.reference.clone(), &own);
        let wanted = DMatrix::from_fn(own.len(), spaces.shifts.nrows(), |at, j| {
            self.language_shift * spaces.shifts[(j, language_of[at] - 1)]
        });
        let missing = moved.matmul(constant(&spaces.specific, &states.policy)) - constant(&wanted, &states.policy);
        let specific = by_row(squares(missing));

        let held = states.policy_means.clone() - states.reference_means.clone();
        let retain = squares(held).div_scalar(width as f64).reshape([rows]);

        let weighted = |losses: &Tensor<1>, weight: f64| losses.clone().mul_scalar(weight);
        ParallelLosses {
            losses: weighted(&agnostic, self.agnostic_weight)
                + weighted(&specific, self.specific_weight)
                + weighted(&retain, self.retain_weight),
            columns: vec![("loss/agnostic", agnostic), ("loss/specific", specific), ("loss/retain", retain)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, constant as f64s, numbers};

    /// Two languages in three dimensions, at (1, 2, 0) and (3, 2, 0): the axis is the second, the space the first.
    fn spaces() -> LanguageSpaces {
        LanguageSpaces::new(&[vec![1.0, 2.0, 0.0], vec![3.0, 2.0, 0.0]]).unwrap()
    }

    fn states(policy: Tensor<1>, means: Tensor<1>) -> ParallelStates {
        let matrix = |tensor: Tensor<1>| {
            let count = tensor.dims()[0];
            tensor.reshape([count / 3, 3])
        };
        ParallelStates {
            policy: matrix(policy),
            reference: matrix(f64s(&[1.0, 2.0, 9.0, 3.0, 1.0, 5.0])),
            policy_means: matrix(means),
            reference_means: matrix(f64s(&[0.5, 0.5, 0.5])),
            languages: vec![vec![0, 1]],
        }
    }

    const POLICY: [f64; 6] = [1.0, 4.0, 7.0, 4.0, 1.0, 2.0];
    const MEANS: [f64; 3] = [0.5, 2.5, 1.5];

    #[test]
    fn by_hand() {
        let lens = Lens { agnostic_weight: 1.0, specific_weight: 2.0, retain_weight: 3.0, language_shift: 1.0 };
        let made = lens.losses(&states(f64s(&POLICY), f64s(&MEANS)), &spaces());
        let part = |name: &str| numbers(made.columns.iter().find(|(of, _)| *of == name).unwrap().1.clone());
        // 4 against 1 on the axis; moved by 1 where 2 are wanted; (4 + 1) of the means.
        check(&part("loss/agnostic"), &[3.0]);
        check(&part("loss/specific"), &[1.0 / 3.0]);
        check(&part("loss/retain"), &[5.0 / 3.0]);
        check(&numbers(made.losses), &[3.0 + 2.0 / 3.0 + 5.0]);
    }

    #[test]
    fn gradients() {
        let lens = Lens { agnostic_weight: 0.7, specific_weight: 1.3, retain_weight: 0.4, language_shift: 0.9 };
        check_gradients(&[&POLICY, &MEANS], |t| lens.losses(&states(t[0].clone(), t[1].clone()), &spaces()).losses);
    }

    #[test]
    fn a_row_lacks_languages_that_others_have() {
        let means = [[1.0, 2.0, 0.0, 1.0], [3.0, 2.0, 0.0, 1.0], [1.0, 2.0, 5.0, 1.0]];
        let spaces = LanguageSpaces::new(&means.map(Vec::from)).unwrap();
        let all = [1.0, 4.0, 7.0, 2.0, 4.0, 1.0, 2.0, 0.5, 0.1, 0.2, 0.3, 0.4, 3.0, 1.0, 2.0, 1.5, 1.0, 1.0, 6.0, 1.0];
        let matrix = |values: &[f64]| f64s(values).reshape([values.len() / 4, 4]);
        let of = |values: &[f64], languages: Vec<Vec<usize>>| {
            let means = matrix(&[0.0; 8]).narrow(0, 0, languages.len());
            let states = ParallelStates {
                policy: matrix(values),
                reference: matrix(values).mul_scalar(0.5),
                policy_means: means.clone(),
                reference_means: means,
                languages,
            };
            numbers(Lens::default().losses(&states, &spaces).losses)
        };
        let both = of(&all, vec![vec![0, 1, 2], vec![0, 2]]);
        let apart = [of(&all[..12], vec![vec![0, 1, 2]]), of(&all[12..], vec![vec![0, 2]])].concat();
        check(&both, &apart);
    }

    #[test]
    fn means_that_leave_a_space_open_are_refused() {
        let spaces = |means: &[[f64; 3]]| {
            let means: Vec<Vec<f64>> = means.iter().map(|mean| mean.to_vec()).collect();
            LanguageSpaces::new(&means).unwrap_err()
        };
        assert_eq!(spaces(&[[1.0, 0.0, 0.0]]), NoSpaces::OneLanguage);
        assert_eq!(spaces(&[[1.0, 0.0, 0.0]; 2]), NoSpaces::Dependent);
        assert_eq!(spaces(&[[1.0, 0.0, 0.0], [2.0, 0.0, 1.0], [3.0, 0.0, 2.0]]), NoSpaces::Dependent);
        assert_eq!(spaces(&[[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), NoSpaces::NothingShared);
        let four = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]];
        assert_eq!(spaces(&four), NoSpaces::Dependent);
    }
}
