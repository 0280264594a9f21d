//! CRPO, cross-lingual ranking of four answers to one prompt (Lee et al., 2026).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::clo::ALPHA;
use crate::crossed::{CrossedAnswer, CrossedLoss, CrossedLosses, Side, beside_likelihood, rewards};
use crate::dpo::BETA;
use crate::logistic::log_sigmoid;
use crate::objective::{Definition, Loss, Objective};

/// `(1 − α)·(−m(y_1 | x)) + α·Σ_{i before j} Δ_ij·(−log σ(r_i − r_j))` over four answers to the target prompt, from the best to
/// the worst: the safe one in its language, the dominant language's safe one, the unsafe one in its language, the
/// dominant one's. `r = β(s − s^ref)`.
///
/// `Δ_ij = |G_i − G_j|·(1/log(1 + d) − 1/log(2 + d))` with the grades G of 9, 7, 5 and 4, and d = |τ_i − τ_j| of the ranks that
/// the policy gives at present: it weighs most what is graded far apart and lies beside each other. Δ is a constant to
/// the gradient. Answers with one reward, as all have before the first step, rank as they are graded. The likelihood is
/// a mean over tokens, as in `sft`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Crpo {
    /// How close the policy is kept to the reference.
    pub beta: f64,
    /// Share of the preferences beside the likelihood.
    pub alpha: f64,
}

/// What the answers are worth, in their order.
const GRADES: [f64; 4] = [9.0, 7.0, 5.0, 4.0];

impl Default for Crpo {
    fn default() -> Self {
        Self { beta: 0.1, alpha: 0.2 }
    }
}

impl Crpo {
    pub(crate) const DEFINITION: Definition = Definition::of::<Self>(
        "crpo",
        "CRPO, ranks of four answers in two languages (Lee et al., 2026)",
        &[BETA.not_searched(), ALPHA],
    );
}

impl Objective for Crpo {
    fn loss(&self) -> Loss<'_> {
        Loss::Crossed(self)
    }
}

impl CrossedLoss for Crpo {
    fn answers(&self) -> &'static [CrossedAnswer] {
        const ANSWERS: [CrossedAnswer; GRADES.len()] = [
            CrossedAnswer::chosen(Side::Target, Side::Target),
            CrossedAnswer::chosen(Side::Target, Side::Dominant),
            CrossedAnswer::rejected(Side::Target, Side::Target),
            CrossedAnswer::rejected(Side::Target, Side::Dominant),
        ];
        &ANSWERS
    }

    fn logged(&self) -> [usize; 2] {
        [0, 2]
    }

    fn losses(&self, policy: &[SequenceScore], reference: &[SequenceScore]) -> CrossedLosses {
        let rewards = rewards(self.beta, policy, reference);
        let ranks: Vec<Tensor<1>> = (0..rewards.len()).map(|of| rank(of, &rewards)).collect();
        let pairs = (0..rewards.len()).flat_map(|worse| (0..worse).map(move |better| (better, worse)));
        let preferences = pairs.map(|(better, worse)| {
            let apart = (ranks[better].clone() - ranks[worse].clone()).abs();
            let weight = discount(&apart, rewards.len()).mul_scalar((GRADES[better] - GRADES[worse]).abs());
            log_sigmoid(rewards[better].clone() - rewards[worse].clone()).neg() * weight
        });
        let preferences = preferences.reduce(|sum, one| sum + one).expect("there are four answers");
        let (losses, columns) = beside_likelihood(self.alpha, &policy[0], preferences);
        CrossedLosses { losses, rewards, columns }
    }
}

/// How many rewards lie before this one, `[rows]`, without gradients.
fn rank(of: usize, rewards: &[Tensor<1>]) -> Tensor<1> {
    let own = &rewards[of];
    let before = rewards.iter().enumerate().filter(|(other, _)| *other != of).map(|(other, reward)| {
        let is_before =
            if other < of { reward.clone().greater_equal(own.clone()) } else { reward.clone().greater(own.clone()) };
        own.zeros_like().mask_fill(is_before, 1.0)
    });
    before.reduce(|sum, one| sum + one).unwrap_or_else(|| own.zeros_like())
}

/// `1/log(1 + d) − 1/log(2 + d)` for distances d between ranks of so many answers.
fn discount(apart: &Tensor<1>, answers: usize) -> Tensor<1> {
    // A few whole numbers, whose logarithms are made in f64 once.
    (1..answers).fold(apart.zeros_like(), |discounts, d| {
        let d = d as f64;
        let discount = d.ln_1p().recip() - (1.0 + d).ln_1p().recip();
        discounts.mask_fill(apart.clone().equal_elem(d), discount)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, numbers, score, scored};

    /// 1/log(1 + d) − 1/log(2 + d)
    fn gain(d: f64) -> f64 {
        1.0 / (1.0 + d).ln() - 1.0 / (2.0 + d).ln()
    }

    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    /// Preferences of answers with these rewards, β being one.
    fn preferences(rewards: [f64; 4]) -> f64 {
        let crpo = Crpo { beta: 1.0, alpha: 1.0 };
        let reference = [-10.0; 4].map(|sum| score(&[sum], &[2.0]));
        let policy = rewards.map(|reward| score(&[reward - 10.0], &[2.0]));
        numbers(crpo.losses(&policy, &reference).losses)[0]
    }

    #[test]
    fn by_hand() {
        // Rewards 1, 2, 0, −1: the second answer is ranked first, so the ranks are 2, 1, 3, 4.
        let expected = 2.0 * gain(1.0) * softplus(1.0)
            + 4.0 * gain(1.0) * softplus(-1.0)
            + 5.0 * gain(2.0) * softplus(-2.0)
            + 2.0 * gain(2.0) * softplus(-2.0)
            + 3.0 * gain(3.0) * softplus(-3.0)
            + 1.0 * gain(1.0) * softplus(-1.0);
        check(&[preferences([1.0, 2.0, 0.0, -1.0])], &[expected]);
        // A mean log-probability of −9/2, and a fifth of the preferences.
        let crpo = Crpo { beta: 1.0, alpha: 0.2 };
        let reference = [-10.0; 4].map(|sum| score(&[sum], &[2.0]));
        let policy = [-9.0, -8.0, -10.0, -11.0].map(|sum| score(&[sum], &[2.0]));
        check(&numbers(crpo.losses(&policy, &reference).losses), &[0.8 * 4.5 + 0.2 * expected]);
    }

    #[test]
    fn equal_rewards_rank_as_they_are_graded() {
        let all = 2f64.ln()
            * (2.0 * gain(1.0) + 4.0 * gain(2.0) + 5.0 * gain(3.0) + 2.0 * gain(1.0) + 3.0 * gain(2.0) + gain(1.0));
        check(&[preferences([0.0; 4])], &[all]);
    }

    #[test]
    fn gradients() {
        let sums: [&[f64]; 4] = [&[-9.0, -60.0], &[-8.0, -3.0], &[-10.5, -7.0], &[-11.0, -8.0]];
        let reference = [[-10.0, -50.0], [-10.0, -2.0], [-10.0, -9.0], [-9.0, -1.0]].map(|sums| score(&sums, &[3.0, 9.0]));
        check_gradients(&sums, |sums| {
            let policy: Vec<SequenceScore> = sums.iter().map(|sums| scored(sums.clone(), &[3.0, 9.0])).collect();
            Crpo { beta: 0.5, alpha: 0.3 }.losses(&policy, &reference).losses
        });
    }
}
