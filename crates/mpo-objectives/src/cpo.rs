//! Contrastive preference optimization (Xu et al., ICML 2024, eq. 5–7).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::logistic::log_sigmoid;
use crate::objective::{Definition, Loss, Objective, Parameter, Values};
use crate::pair::PairLoss;

/// `−log σ(β·s_w − β·s_l) + λ·NLL`, without a reference. The negative log-likelihood of the safe answer is its sum
/// `−s_w`, as in the paper's Table 7; or its mean over tokens `−m_w`, as TRL has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpo {
    /// Factor on the sums.
    pub beta: f64,
    /// λ, the weight of the likelihood term.
    pub lambda: f64,
    /// How the likelihood of an answer is taken.
    pub nll: Nll,
}

/// A sum over an answer's tokens, or their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nll {
    /// `−s_w`
    Sum,
    /// `−m_w`
    Mean,
}

impl Default for Cpo {
    fn default() -> Self {
        Self { beta: 0.1, lambda: 1.0, nll: Nll::Sum }
    }
}

impl Cpo {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "cpo",
        "CPO, contrastive preference optimization (Xu et al., ICML 2024)",
        &[
            Parameter {
                name: "beta",
                help: "factor on the sums of log-probabilities",
                values: Values::Positive,
                search: &[0.01, 0.05, 0.1],
            },
            Parameter {
                name: "lambda",
                help: "weight of the safe answer's likelihood",
                values: Values::NotNegative,
                search: &[],
            },
            Parameter {
                name: "nll",
                help: "that likelihood as the sum over tokens, or as TRL's mean",
                values: Values::Words(&["sum", "mean"]),
                search: &[],
            },
        ],
    );
}

impl Objective for Cpo {
    fn loss(&self) -> Loss<'_> {
        Loss::Pairs(self)
    }
}

impl PairLoss for Cpo {
    fn losses(&self, policy: &PairScore) -> Tensor<1> {
        let margin = self.rewards(&policy.chosen) - self.rewards(&policy.rejected);
        let likelihood = match self.nll {
            Nll::Sum => policy.chosen.sum.clone(),
            Nll::Mean => policy.chosen.mean(),
        };
        (log_sigmoid(margin) + likelihood.mul_scalar(self.lambda)).neg()
    }

    fn rewards(&self, answers: &SequenceScore) -> Tensor<1> {
        answers.sum.clone().mul_scalar(self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_pair_gradients, numbers, pair};

    #[test]
    fn by_hand() {
        // β 0.5: −log σ(0.5·(−4 + 6)) = log(1 + e⁻¹); λ 2: plus 2·4, or 2·4/2 with the mean over two tokens
        let cpo = |nll| Cpo { beta: 0.5, lambda: 2.0, nll };
        let policy = pair((-4.0, 2.0), (-6.0, 3.0));
        let contrast = (-1f64).exp().ln_1p();
        check(&numbers(cpo(Nll::Sum).losses(&policy)), &[contrast + 8.0]);
        check(&numbers(cpo(Nll::Mean).losses(&policy)), &[contrast + 4.0]);
    }

    #[test]
    fn gradients() {
        check_pair_gradients(|policy| Cpo::default().losses(policy));
        let nll = Nll::Mean;
        check_pair_gradients(|policy| {
            let cpo = Cpo { nll, ..Cpo::default() };
            cpo.losses(policy)
        });
    }
}
