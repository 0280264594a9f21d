//! R-DPO, DPO with a length penalty (Park et al., ACL Findings 2024, eq. 9).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::dpo::{BETA, Dpo};
use crate::logistic::log_sigmoid;
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::ReferencedPairLoss;

/// `−log σ(βΔ + α·n_w − α·n_l)`: a pair whose safe answer is the longer one pulls less.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LengthRegularizedDpo {
    /// How close the policy is kept to the reference.
    pub beta: f64,
    /// α, for each token of difference.
    pub alpha: f64,
}

impl Default for LengthRegularizedDpo {
    fn default() -> Self {
        Self { beta: 0.1, alpha: 0.05 }
    }
}

impl LengthRegularizedDpo {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "r-dpo",
        "R-DPO, length-regularized DPO (Park et al., ACL Findings 2024)",
        &[
            BETA,
            Parameter {
                name: "alpha",
                help: "weight of the difference in length, a token",
                values: Values::NotNegative,
                search: &[0.05, 0.1, 0.5, 1.0],
            },
        ],
    );
}

impl Objective for LengthRegularizedDpo {
    fn loss(&self) -> Loss<'_> {
        Loss::ReferencedPairs(self)
    }
}

impl ReferencedPairLoss for LengthRegularizedDpo {
    fn losses(&self, policy: &PairScore, reference: &PairScore) -> Tensor<1> {
        let longer = policy.chosen.tokens.clone() - policy.rejected.tokens.clone();
        let margin = policy.margin_over(reference).mul_scalar(self.beta);
        log_sigmoid(margin + longer.mul_scalar(self.alpha)).neg()
    }

    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
        Dpo { beta: self.beta }.rewards(answers, reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, numbers, pair, reference};

    #[test]
    fn by_hand() {
        // βΔ = 2, α (n_w − n_l) = 0.5·(2 − 3): −log σ(1.5)
        let r_dpo = LengthRegularizedDpo { beta: 0.5, alpha: 0.5 };
        let policy = pair((-4.0, 2.0), (-9.0, 3.0));
        let reference = pair((-6.0, 2.0), (-7.0, 3.0));
        let loss = numbers(r_dpo.losses(&policy, &reference));
        check(&loss, &[(-1.5f64).exp().ln_1p()]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| LengthRegularizedDpo::default().losses(policy, &reference()));
    }
}
