//! Direct preference optimization (Rafailov et al., NeurIPS 2023, eq. 7).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::logistic::log_sigmoid;
use crate::objective::{CONSISTENT, Definition, Loss, Objective, Parameter, Values, Variant};
use crate::pair::{ReferencedPairLoss, log_ratio};

/// `−log σ(βΔ)`, with sums: `Δ = (s_w − s_w^ref) − (s_l − s_l^ref)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dpo {
    /// How close the policy is kept to the reference.
    pub beta: f64,
}

/// The β of every objective derived from DPO.
pub(crate) const BETA: Parameter = Parameter {
    name: "beta",
    help: "how close to the reference",
    values: Values::Positive,
    search: &[0.01, 0.05, 0.1],
};

impl Default for Dpo {
    fn default() -> Self {
        Self { beta: 0.1 }
    }
}

impl Dpo {
    pub(crate) const DEFINITION: Definition = Definition {
        variants: &[
            Variant {
            name: "nll",
            help: "the safe answer's likelihood beside it, as LIDR, ICR and LaCoMSA train",
            settings: &[("sft_weight", "1")],
        },
            CONSISTENT,
        ],
        ..Definition::of_pairs::<Self>(
            "dpo",
            "DPO, direct preference optimization (Rafailov et al., NeurIPS 2023)",
            &[BETA],
        )
    };
}

impl Objective for Dpo {
    fn loss(&self) -> Loss<'_> {
        Loss::ReferencedPairs(self)
    }
}

impl ReferencedPairLoss for Dpo {
    fn losses(&self, policy: &PairScore, reference: &PairScore) -> Tensor<1> {
        log_sigmoid(policy.margin_over(reference).mul_scalar(self.beta)).neg()
    }

    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
        log_ratio(answers, reference).mul_scalar(self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, numbers, pair, reference};

    #[test]
    fn by_hand() {
        // Δ = (−4 + 6) − (−9 + 7) = 4, β 0.5: −log σ(2) = log(1 + e⁻²)
        let dpo = Dpo { beta: 0.5 };
        let policy = pair((-4.0, 2.0), (-9.0, 3.0));
        let reference = pair((-6.0, 2.0), (-7.0, 3.0));
        let loss = numbers(dpo.losses(&policy, &reference));
        check(&loss, &[(-2f64).exp().ln_1p()]);
        let reward = dpo.rewards(&policy.chosen, &reference.chosen);
        check(&numbers(reward), &[1.0]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| Dpo::default().losses(policy, &reference()));
    }
}
