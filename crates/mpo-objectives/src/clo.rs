//! CLO, cross-lingual optimization (Lee et al., 2025): an answer in the prompt's language is preferred to one in the other.

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::crossed::{CrossedAnswer, CrossedLoss, CrossedLosses, Side, beside_likelihood, rewards};
use crate::dpo::BETA;
use crate::logistic::log_sigmoid;
use crate::objective::{Definition, Loss, Objective, Parameter, Values};

/// `(1 − α)·(−m(y_t | x_t)) + α·½[ℓ(y_t over y_d | x_t) + ℓ(y_d over y_t | x_d)]` with the safe answers `y` of both
/// languages and DPO's `ℓ = −log σ(r − r')`, `r = β(s − s^ref)`. Only the target language's answer is imitated.
///
/// A row has both of what are two samples in the paper, so their preferences are averaged. The likelihood is a mean over
/// tokens, as in `sft`. Unsafe answers are not used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clo {
    /// How close the policy is kept to the reference.
    pub beta: f64,
    /// Share of the preferences beside the likelihood.
    pub alpha: f64,
}

impl Default for Clo {
    fn default() -> Self {
        Self { beta: 0.1, alpha: 0.5 }
    }
}

/// Of every loss that has a likelihood of its own beside preferences between languages.
pub(crate) const ALPHA: Parameter = Parameter {
    name: "alpha",
    help: "share of the preferences between answers; the rest is the likelihood of the target language's safe answer",
    values: Values::Share,
    search: &[],
};

impl Clo {
    pub(crate) const DEFINITION: Definition = Definition::of::<Self>(
        "clo",
        "CLO, cross-lingual optimization (Lee et al., 2025)",
        &[BETA.not_searched(), ALPHA],
    );
}

impl Objective for Clo {
    fn loss(&self) -> Loss<'_> {
        Loss::Crossed(self)
    }
}

impl CrossedLoss for Clo {
    fn answers(&self) -> &'static [CrossedAnswer] {
        const ANSWERS: [CrossedAnswer; 4] = [
            CrossedAnswer::chosen(Side::Target, Side::Target),
            CrossedAnswer::chosen(Side::Target, Side::Dominant),
            CrossedAnswer::chosen(Side::Dominant, Side::Dominant),
            CrossedAnswer::chosen(Side::Dominant, Side::Target),
        ];
        &ANSWERS
    }

    fn logged(&self) -> [usize; 2] {
        [0, 1]
    }

    fn losses(&self, policy: &[SequenceScore], reference: &[SequenceScore]) -> CrossedLosses {
        let rewards = rewards(self.beta, policy, reference);
        let preferred = |own: usize, other: usize| -> Tensor<1> {
            log_sigmoid(rewards[own].clone() - rewards[other].clone()).neg()
        };
        let preferences = (preferred(0, 1) + preferred(2, 3)).mul_scalar(0.5);
        let (losses, columns) = beside_likelihood(self.alpha, &policy[0], preferences);
        CrossedLosses { losses, rewards, columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, numbers, score, scored};

    #[test]
    fn by_hand() {
        // Rewards of 1, −1 | 0, 2 with β ½: the target prompt's margin is 2, the dominant one's −2. Likelihood 6/3.
        let clo = Clo { beta: 0.5, alpha: 0.25 };
        let answers = |sums: [f64; 4]| sums.map(|sum| score(&[sum], &[3.0]));
        let made = clo.losses(&answers([-6.0, -9.0, -4.0, -5.0]), &answers([-8.0, -7.0, -4.0, -9.0]));
        let softplus = |x: f64| x.exp().ln_1p();
        check(&numbers(made.losses), &[0.75 * 2.0 + 0.25 * 0.5 * (softplus(-2.0) + softplus(2.0))]);
        let rewards: Vec<f64> = made.rewards.into_iter().flat_map(numbers).collect();
        check(&rewards, &[1.0, -1.0, 0.0, 2.0]);
    }

    #[test]
    fn gradients() {
        let sums: [&[f64]; 4] = [&[-6.0, -60.0], &[-9.0, -3.0], &[-4.0, -7.0], &[-5.0, -8.0]];
        let reference = [[-8.0, -50.0], [-7.0, -3.0], [-4.0, -9.0], [-9.0, -1.0]].map(|sums| score(&sums, &[3.0, 9.0]));
        check_gradients(&sums, |sums| {
            let policy: Vec<SequenceScore> = sums.iter().map(|sums| scored(sums.clone(), &[3.0, 9.0])).collect();
            Clo::default().losses(&policy, &reference).losses
        });
    }
}
