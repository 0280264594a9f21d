//! Odds ratio preference optimization (Hong et al., EMNLP 2024, eq. 6–7).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::logistic::{log_odds, log_sigmoid};
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::PairLoss;

/// `−m_w − λ·log σ(log odds_w − log odds_l)`, without a reference; the odds p/(1 − p) of an answer are of
/// `p = exp(m)`, the geometric mean of its tokens' probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orpo {
    /// λ, the weight of the odds ratio.
    pub lambda: f64,
}

impl Default for Orpo {
    fn default() -> Self {
        Self { lambda: 0.1 }
    }
}

impl Orpo {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "orpo",
        "ORPO, odds ratio preference optimization (Hong et al., EMNLP 2024)",
        &[Parameter {
            name: "lambda",
            help: "weight of the odds ratio",
            values: Values::NotNegative,
            search: &[0.01, 0.1, 1.0],
        }],
    );
}

impl Objective for Orpo {
    fn loss(&self) -> Loss<'_> {
        Loss::Pairs(self)
    }
}

impl PairLoss for Orpo {
    fn losses(&self, policy: &PairScore) -> Tensor<1> {
        let ratio = log_odds(policy.chosen.mean()) - log_odds(policy.rejected.mean());
        (policy.chosen.mean() + log_sigmoid(ratio).mul_scalar(self.lambda)).neg()
    }

    fn rewards(&self, answers: &SequenceScore) -> Tensor<1> {
        answers.mean().mul_scalar(self.lambda)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, constant, numbers, pair, score, scored};

    #[test]
    fn by_hand() {
        // p_w = 1/2, odds 1; p_l = 1/4, odds 1/3; −log σ(log 3) = log(4/3)
        let half = 0.5f64.ln();
        let policy = pair((2.0 * half, 2.0), (6.0 * half, 3.0));
        let loss = numbers(Orpo { lambda: 0.5 }.losses(&policy));
        check(&loss, &[-half + 0.5 * (4.0f64 / 3.0).ln()]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| Orpo::default().losses(policy));
    }

    #[test]
    fn an_answer_of_probability_one_is_finite() {
        for (chosen, rejected) in [(0.0, -3.0), (-3.0, 0.0), (0.0, 0.0)] {
            let sums = [chosen, rejected].map(|sum| constant(&[sum]).require_grad());
            let policy =
                PairScore { chosen: scored(sums[0].clone(), &[3.0]), rejected: scored(sums[1].clone(), &[3.0]) };
            let losses = Orpo::default().losses(&policy);
            let gradients = losses.clone().sum().backward();
            let mut all = numbers(losses);
            for sum in sums {
                let gradient = sum.grad(&gradients).unwrap().into_data();
                all.extend(gradient.try_to_vec::<f64>().unwrap());
            }
            assert!(all.iter().all(|x| x.is_finite()), "{all:?}");
        }
        let certain = score(&[0.0], &[1.0]);
        assert_eq!(numbers(Orpo::default().rewards(&certain)), [0.0]);
    }
}
