//! rDPO, robust DPO (Chowdhury et al., ICML 2024, eq. 12).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::dpo::{BETA, Dpo};
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::ReferencedPairLoss;

/// `[(1 − ε)·ℓ(w, l) − ε·ℓ(l, w)] / (1 − 2ε)` with ℓ DPO's loss: unbiased where a fraction ε of the labels is flipped.
/// It may be negative, and is undefined at ε = 0.5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RobustDpo {
    /// How close the policy is kept to the reference.
    pub beta: f64,
    /// The fraction of labels that are flipped, below 0.5.
    pub epsilon: f64,
}

impl Default for RobustDpo {
    fn default() -> Self {
        Self { beta: 0.1, epsilon: 0.1 }
    }
}

impl RobustDpo {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "rdpo",
        "rDPO, robust DPO (Chowdhury et al., ICML 2024)",
        &[
            BETA,
            Parameter {
                name: "epsilon",
                help: "fraction of labels taken to be flipped",
                values: Values::Below(0.5),
                // The paper lists 0.5 too, where the loss divides by zero.
                search: &[0.1],
            },
        ],
    );

    fn dpo(&self) -> Dpo {
        Dpo { beta: self.beta }
    }
}

impl Objective for RobustDpo {
    fn loss(&self) -> Loss<'_> {
        Loss::ReferencedPairs(self)
    }
}

impl ReferencedPairLoss for RobustDpo {
    fn losses(&self, policy: &PairScore, reference: &PairScore) -> Tensor<1> {
        // ℓ(l, w) = ℓ(w, l) + βΔ, as −log σ(−x) = −log σ(x) + x; so both terms are ℓ(w, l) − ε/(1 − 2ε)·βΔ.
        let margin = policy.margin_over(reference).mul_scalar(self.beta);
        let weight = self.epsilon / (1.0 - 2.0 * self.epsilon);
        self.dpo().losses(policy, reference) - margin.mul_scalar(weight)
    }

    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
        self.dpo().rewards(answers, reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, numbers, pair, reference};

    #[test]
    fn by_hand() {
        // βΔ = 2, ε 0.25: (0.75·log(1 + e⁻²) − 0.25·log(1 + e²)) / 0.5, below zero
        let robust = RobustDpo { beta: 0.5, epsilon: 0.25 };
        let policy = pair((-4.0, 2.0), (-9.0, 3.0));
        let reference = pair((-6.0, 2.0), (-7.0, 3.0));
        let want = (0.75 * (-2f64).exp().ln_1p() - 0.25 * 2f64.exp().ln_1p()) / 0.5;
        assert!(want < 0.0);
        check(&numbers(robust.losses(&policy, &reference)), &[want]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| RobustDpo::default().losses(policy, &reference()));
    }
}
