//! Kahneman–Tversky optimization (Ethayarajh et al., ICML 2024, eq. 8).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::logistic::sigmoid;
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::log_ratio;
use crate::unpaired::{UnpairedLoss, UnpairedScore};

/// `λ_w·(1 − σ(r − z))` of a good answer and `λ_l·(1 − σ(z − r))` of a bad one, with `r = β(s − s^ref)` and the
/// reference point z of [`reference_point`](UnpairedLoss::reference_point).
///
/// The paper's Table 7 prints the second term as `+λ_l·σ(z − r_l)`, which would raise the bad answer; this is the
/// original's sign. Answers need not come in pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kto {
    /// How close the policy is kept to the reference.
    pub beta: f64,
    /// λ_w, the weight of good answers.
    pub chosen_weight: f64,
    /// λ_l, the weight of bad answers.
    pub rejected_weight: f64,
}

impl Default for Kto {
    fn default() -> Self {
        Self { beta: 0.1, chosen_weight: 1.0, rejected_weight: 1.0 }
    }
}

impl Kto {
    pub(crate) const DEFINITION: Definition = Definition {
        // The reference point pairs each prompt with another's answer.
        min_batch: 2,
        ..Definition::of::<Self>(
            "kto",
            "KTO, Kahneman-Tversky optimization (Ethayarajh et al., ICML 2024)",
            &[
                Parameter {
                    name: "beta",
                    help: "how close to the reference",
                    values: Values::Positive,
                    search: &[0.01, 0.1, 1.0],
                },
                Parameter {
                    name: "chosen_weight",
                    help: "weight of good answers",
                    values: Values::NotNegative,
                    search: &[],
                },
                Parameter {
                    name: "rejected_weight",
                    help: "weight of bad answers",
                    values: Values::NotNegative,
                    search: &[],
                },
            ],
        )
    };
}

impl UnpairedLoss for Kto {
    /// `z = max(0, β·mean(s − s^ref))` over answers to other prompts than their own: an estimate of how far the policy
    /// has moved. A number, as no gradient flows through it.
    ///
    /// # Panics
    /// If there is no log-ratio.
    fn reference_point(&self, mismatched_log_ratios: &[f64]) -> f64 {
        assert!(!mismatched_log_ratios.is_empty(), "no mismatched pairs");
        let mean = mismatched_log_ratios.iter().sum::<f64>() / mismatched_log_ratios.len() as f64;
        (self.beta * mean).max(0.0)
    }

    fn losses(&self, answers: &UnpairedScore, reference_point: f64) -> Tensor<1> {
        let side = |good: f64, bad: f64| -> Tensor<1> {
            let of = |&desirable: &bool| if desirable { good } else { bad };
            let values: Vec<f64> = answers.desirable.iter().map(of).collect();
            let sums = &answers.policy.sum;
            Tensor::from_data(values.as_slice(), (&sums.device(), sums.dtype()))
        };
        // 1 − σ(x) = σ(−x), which loses no digits.
        let disappointment =
            self.rewards(&answers.policy, &answers.reference).sub_scalar(reference_point) * side(-1.0, 1.0);
        sigmoid(disappointment) * side(self.chosen_weight, self.rejected_weight)
    }

    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
        log_ratio(answers, reference).mul_scalar(self.beta)
    }
}

impl Objective for Kto {
    fn loss(&self) -> Loss<'_> {
        Loss::Unpaired(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, numbers, score, scored};

    const KTO: Kto = Kto { beta: 0.5, chosen_weight: 2.0, rejected_weight: 3.0 };

    fn answers(sums: Tensor<1>) -> UnpairedScore {
        let tokens = [2.0, 3.0, 4.0];
        UnpairedScore {
            policy: scored(sums, &tokens),
            reference: score(&[-6.0, -7.0, -9.0], &tokens),
            desirable: vec![true, false, true],
        }
    }

    fn logistic(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn by_hand() {
        // β 0.5: rewards 1, −1, 0; z 0.5; 2(1 − σ(0.5)), 3(1 − σ(1.5)), 2(1 − σ(−0.5))
        let sums = score(&[-4.0, -9.0, -9.0], &[2.0, 3.0, 4.0]).sum;
        let want = [2.0 * logistic(-0.5), 3.0 * logistic(-1.5), 2.0 * logistic(0.5)];
        check(&numbers(KTO.losses(&answers(sums), 0.5)), &want);
    }

    #[test]
    fn the_reference_point_is_never_below_zero() {
        // 0.5·mean(4, −1) = 0.75; a policy that has moved away from these answers gives 0
        assert_eq!(KTO.reference_point(&[4.0, -1.0]), 0.75);
        assert_eq!(KTO.reference_point(&[-4.0, 1.0]), 0.0);
    }

    #[test]
    fn gradients_raise_good_answers_and_lower_bad_ones() {
        let sums: &[f64] = &[-4.0, -9.0, -9.0];
        check_gradients(&[sums], |t| KTO.losses(&answers(t[0].clone()), 0.5));
        let sums = score(sums, &[2.0, 3.0, 4.0]).sum.require_grad();
        let gradients = KTO.losses(&answers(sums.clone()), 0.5).sum().backward();
        let slopes = sums.grad(&gradients).unwrap().into_data();
        let slopes = slopes.try_to_vec::<f64>().unwrap();
        assert!(slopes[0] < 0.0 && slopes[1] > 0.0 && slopes[2] < 0.0, "{slopes:?}");
    }
}
