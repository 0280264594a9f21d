//! Identity preference optimization (Azar et al., AISTATS 2024, eq. 17).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::{ReferencedPairLoss, log_ratio};

/// `(Δ − 1/(2τ))²`. Δ is of sums, as in the paper's Table 7; or of log-ratios each divided by its answer's length, as
/// TRL has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ipo {
    /// The margin aimed at is 1/(2τ).
    pub tau: f64,
    /// Whether log-ratios are divided by their answer's length.
    pub length_normalized: bool,
}

impl Default for Ipo {
    fn default() -> Self {
        Self { tau: 0.1, length_normalized: false }
    }
}

impl Ipo {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "ipo",
        "IPO, identity preference optimization (Azar et al., AISTATS 2024)",
        &[
            Parameter {
                name: "tau",
                help: "the margin aimed at is 1/(2 tau)",
                values: Values::Positive,
                search: &[0.01, 0.1, 0.5, 1.0],
            },
            Parameter {
                name: "length_normalized",
                help: "divide log-ratios by their answer's length, as TRL does",
                values: Values::Switch,
                search: &[],
            },
        ],
    );

    fn log_ratio(&self, policy: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
        let ratio = log_ratio(policy, reference);
        if self.length_normalized { ratio / policy.tokens.clone() } else { ratio }
    }
}

impl Objective for Ipo {
    fn loss(&self) -> Loss<'_> {
        Loss::ReferencedPairs(self)
    }
}

impl ReferencedPairLoss for Ipo {
    fn losses(&self, policy: &PairScore, reference: &PairScore) -> Tensor<1> {
        let margin =
            self.log_ratio(&policy.chosen, &reference.chosen) - self.log_ratio(&policy.rejected, &reference.rejected);
        margin.sub_scalar(0.5 / self.tau).square()
    }

    fn rewards(&self, answers: &SequenceScore, reference: &SequenceScore) -> Tensor<1> {
        self.log_ratio(answers, reference).mul_scalar(self.tau)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, numbers, pair, reference};

    const IPO: Ipo = Ipo { tau: 0.25, length_normalized: false };

    const NORMALIZED: Ipo = Ipo { length_normalized: true, ..IPO };

    #[test]
    fn by_hand() {
        // Δ = (−4 + 6) − (−9 + 8) = 3, from 1/(2·0.25) = 2: 1. Divided by lengths: 2/2 − (−1)/4 = 1.25, 0.75² = 0.5625
        let policy = pair((-4.0, 2.0), (-9.0, 4.0));
        let reference = pair((-6.0, 2.0), (-8.0, 4.0));
        check(&numbers(IPO.losses(&policy, &reference)), &[1.0]);
        check(&numbers(NORMALIZED.losses(&policy, &reference)), &[0.5625]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| IPO.losses(policy, &reference()));
        check_pair_gradients(|policy| NORMALIZED.losses(policy, &reference()));
    }
}
