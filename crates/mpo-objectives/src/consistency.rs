//! Losses on the hidden states of one prompt in several languages, beside any objective: how far they are from being one
//! direction. Computed on the host in f64, from a few states of each prompt; a device gets the gradient at them.

use nalgebra::DMatrix;

use crate::contrast::contrast;
use crate::mlc::{mean_cosine, singular_value};

/// What is measured, and lowered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Consistency {
    /// Of each prompt for itself: see `mlc.rs`.
    SingularValue {
        /// τ, by which singular values are divided.
        temperature: f64,
    },
    /// Of each prompt for itself: see `mlc.rs`.
    Cosine,
    /// Of two languages of each prompt beside those of the others: see `contrast.rs`.
    Contrast {
        /// τ, by which cosines are divided.
        temperature: f64,
    },
}

/// Hidden states of a prompt, `[languages, width]`, the dominant language first.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptStates(pub(crate) DMatrix<f64>);

/// The loss of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsistencyLoss {
    /// What is lowered.
    pub loss: f64,
    /// Which share of its states' directions is in the one that they share most, from `1/languages` to 1: σ₁²/m, whatever is
    /// lowered.
    pub shared: f64,
    /// The gradient of the sum of all prompts' losses at this one's states, in their order.
    pub gradient: Vec<f64>,
}

impl PromptStates {
    /// The states of a prompt in so many languages, one after the other.
    ///
    /// # Panics
    /// If they are no such number of equal parts.
    pub fn new(languages: usize, states: &[f64]) -> Self {
        assert!(languages > 0 && states.len().is_multiple_of(languages), "as many numbers for each language");
        Self(DMatrix::from_row_slice(languages, states.len() / languages, states))
    }
}

impl Consistency {
    /// Whether the loss of a prompt depends on those beside it.
    pub fn is_of_batch(&self) -> bool {
        matches!(self, Self::Contrast { .. })
    }

    /// The losses of prompts whose states are finite, in their order.
    ///
    /// # Panics
    /// If a prompt has one language only.
    pub fn losses(&self, prompts: &[PromptStates]) -> Vec<ConsistencyLoss> {
        let directions: Vec<Directions> = prompts.iter().map(Directions::of).collect();
        assert!(directions.iter().all(|of| of.unit.nrows() > 1), "a prompt in two languages or more");
        let made: Vec<(f64, DMatrix<f64>)> = match *self {
            Self::SingularValue { temperature } => {
                directions.iter().map(|of| singular_value(&of.unit, temperature)).collect()
            }
            Self::Cosine => directions.iter().map(|of| mean_cosine(&of.unit)).collect(),
            Self::Contrast { temperature } => {
                let of: Vec<&DMatrix<f64>> = directions.iter().map(|of| &of.unit).collect();
                contrast(&of, temperature)
            }
        };
        let made = directions.iter().zip(made);
        made.map(|(of, (loss, gradient))| ConsistencyLoss {
            loss,
            shared: of.shared(),
            gradient: of.at_states(&gradient),
        })
        .collect()
    }
}

/// States of length one, and how long they were.
struct Directions {
    unit: DMatrix<f64>,
    lengths: Vec<f64>,
}

impl Directions {
    fn of(states: &PromptStates) -> Self {
        let lengths: Vec<f64> = states.0.row_iter().map(|state| state.norm()).collect();
        let mut unit = states.0.clone();
        for (mut state, length) in unit.row_iter_mut().zip(&lengths) {
            // A state of nothing has no direction.
            state /= if *length > 0.0 { *length } else { 1.0 };
        }
        Self { unit, lengths }
    }

    /// The gradient at the states, given that at their directions: what points along a state does not turn it.
    fn at_states(&self, gradient: &DMatrix<f64>) -> Vec<f64> {
        let mut numbers = Vec::with_capacity(gradient.len());
        for (row, length) in self.lengths.iter().enumerate() {
            let (unit, gradient) = (self.unit.row(row), gradient.row(row));
            let across = gradient - unit * unit.dot(&gradient);
            let scale = if *length > 0.0 { length.recip() } else { 0.0 };
            numbers.extend(across.iter().map(|number| number * scale));
        }
        numbers
    }

    fn shared(&self) -> f64 {
        let gram = &self.unit * self.unit.transpose();
        gram.symmetric_eigenvalues().max() / self.unit.nrows() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// States of two prompts in three and two languages, of width four, in no order.
    fn prompts() -> Vec<PromptStates> {
        let numbers = |count: usize, seed: usize| -> Vec<f64> {
            (0..count).map(|i| (((i * 7 + seed * 5) % 11) as f64 - 4.0) * 0.3 + 0.05 * (i * i % 3) as f64).collect()
        };
        vec![PromptStates::new(3, &numbers(12, 1)), PromptStates::new(2, &numbers(8, 4))]
    }

    #[test]
    fn gradients_at_states_are_those_of_finite_differences() {
        for of in [
            Consistency::SingularValue { temperature: 0.3 },
            Consistency::SingularValue { temperature: 1.0 },
            Consistency::Cosine,
            Consistency::Contrast { temperature: 0.2 },
        ] {
            let made = of.losses(&prompts());
            let total = |prompt: usize, at: usize, by: f64| -> f64 {
                let mut shifted = prompts();
                let (row, column) = (at / 4, at % 4);
                shifted[prompt].0[(row, column)] += by;
                of.losses(&shifted).iter().map(|one| one.loss).sum()
            };
            for (prompt, one) in made.iter().enumerate() {
                for (at, got) in one.gradient.iter().enumerate() {
                    let want = (total(prompt, at, 1e-5) - total(prompt, at, -1e-5)) / 2e-5;
                    assert!((got - want).abs() < 1e-8, "{of:?}, prompt {prompt}, {at}: {got}, {want}");
                }
            }
        }
    }

    #[test]
    fn lengths_do_not_count() {
        let scaled: Vec<PromptStates> = prompts().into_iter().map(|states| PromptStates(states.0 * 7.0)).collect();
        let of = Consistency::SingularValue { temperature: 0.5 };
        for (one, other) in of.losses(&prompts()).iter().zip(of.losses(&scaled)) {
            assert!((one.loss - other.loss).abs() < 1e-12 && (one.shared - other.shared).abs() < 1e-12);
            assert!((one.gradient[0] - 7.0 * other.gradient[0]).abs() < 1e-12);
        }
    }

    #[test]
    fn a_state_of_nothing_has_finite_numbers() {
        let prompt = PromptStates::new(2, &[0.0, 0.0, 1.0, 2.0]);
        let both = [prompt.clone(), prompt];
        for of in [
            Consistency::SingularValue { temperature: 1.0 },
            Consistency::Cosine,
            Consistency::Contrast { temperature: 1.0 },
        ] {
            for one in of.losses(&both) {
                assert!(one.loss.is_finite() && one.gradient.iter().all(|x| x.is_finite()), "{of:?}");
            }
        }
    }
}
