//! SimPO (Meng et al., NeurIPS 2024, eq. 6).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::logistic::log_sigmoid;
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::PairLoss;

/// `−log σ(β·m_w − β·m_l − γ)`, without a reference. γ stands outside β; TRL's ratio γ/β gives the same number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SimPo {
    /// Factor on the means.
    pub beta: f64,
    /// γ, the margin aimed at.
    pub gamma: f64,
}

impl Default for SimPo {
    fn default() -> Self {
        Self { beta: 2.0, gamma: 1.0 }
    }
}

impl SimPo {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "simpo",
        "SimPO, simple preference optimization (Meng et al., NeurIPS 2024)",
        &[
            Parameter {
                name: "beta",
                help: "factor on the means of log-probabilities",
                values: Values::Positive,
                search: &[2.0, 2.5],
            },
            Parameter {
                name: "gamma",
                help: "the margin aimed at",
                values: Values::NotNegative,
                search: &[1.0, 1.2, 1.4, 1.6],
            },
        ],
    );
}

impl Objective for SimPo {
    fn loss(&self) -> Loss<'_> {
        Loss::Pairs(self)
    }
}

impl PairLoss for SimPo {
    fn losses(&self, policy: &PairScore) -> Tensor<1> {
        let margin = policy.reward_gap().mul_scalar(self.beta);
        log_sigmoid(margin.sub_scalar(self.gamma)).neg()
    }

    fn rewards(&self, answers: &SequenceScore) -> Tensor<1> {
        answers.mean().mul_scalar(self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, numbers, pair};

    #[test]
    fn by_hand() {
        // Means −2 and −3: 2·1 − 0.5 = 1.5
        let simpo = SimPo { beta: 2.0, gamma: 0.5 };
        let loss = numbers(simpo.losses(&pair((-4.0, 2.0), (-9.0, 3.0))));
        check(&loss, &[(-1.5f64).exp().ln_1p()]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| SimPo::default().losses(policy));
    }
}
