//! Length-normalised direct preference optimization (Lambert et al., Tülu 3, 2024, eq. 6).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::logistic::log_sigmoid;
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::{ReferencedPairLoss, log_ratio};

/// `−log σ(β[(m_w − m_w^ref) − (m_l − m_l^ref)])`: DPO with means in place of sums, so that a long answer does not weigh
/// more than a short one. Means are smaller than sums, so β is larger than DPO's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LengthNormalizedDpo {
    /// How close the policy is kept to the reference.
    pub beta: f64,
}

impl Default for LengthNormalizedDpo {
    fn default() -> Self {
        Self { beta: 5.0 }
    }
}

impl LengthNormalizedDpo {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "ln-dpo",
        "LN-DPO, length-normalised DPO (Lambert et al., Tülu 3, 2024)",
        &[Parameter {
            name: "beta",
            help: "how close to the reference, on means of log-probabilities",
            values: Values::Positive,
            search: &[],
        }],
    );
}

impl Objective for LengthNormalizedDpo {
    fn loss(&self) -> Loss<'_> {
        Loss::ReferencedPairs(self)
    }
}

impl ReferencedPairLoss for LengthNormalizedDpo {
    fn losses(&self, policy: &PairScore, reference: &PairScore) -> Tensor<1> {
        let margin =
            self.rewards(&policy.chosen, &reference.chosen) - self.rewards(&policy.rejected, &reference.rejected);
        log_sigmoid(margin).neg()
    }

    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
        // The sums are nearer to each other than their quotients: their difference loses fewer digits.
        (log_ratio(answers, reference) / answers.tokens.clone()).mul_scalar(self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, numbers, pair, reference};

    #[test]
    fn by_hand() {
        // Means −2 and −3 under the policy, −3 and −2 under the reference: margin 2, β 0.5: −log σ(1)
        let ln_dpo = LengthNormalizedDpo { beta: 0.5 };
        let policy = pair((-4.0, 2.0), (-9.0, 3.0));
        let reference = pair((-6.0, 2.0), (-6.0, 3.0));
        let loss = numbers(ln_dpo.losses(&policy, &reference));
        check(&loss, &[(-1f64).exp().ln_1p()]);
        let reward = ln_dpo.rewards(&policy.chosen, &reference.chosen);
        check(&numbers(reward), &[0.5]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| LengthNormalizedDpo::default().losses(policy, &reference()));
    }
}
