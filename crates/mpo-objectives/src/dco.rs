//! Direct consistency optimization: preferences that agree between two languages (arXiv 2603.04678).

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::bilingual::{BilingualLoss, BilingualLosses, BilingualNeeds, BilingualScores, ReferencePairs, asked};
use crate::objective::{Definition, Loss, Objective, Parameter, Values};

/// `|R_t − G_d/β| + |R_d − β·G_t|` with `R = gap − gap^ref` of the policy and `G = gap^ref` of the reference, in the target
/// and in the dominant language: what is learnt in one language is what the reference prefers in the other. At the
/// minimum both gaps are a product of the two languages' experts.
///
/// Gaps are of sums, as in the authors' code; `length_normalized` takes means, which makes it comparable with MPO.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dco {
    /// How much the dominant language learns of the target's preference; the target learns 1/β of the dominant's.
    pub beta: f64,
    /// Whether gaps are of mean log-probs per token, or of sums.
    pub length_normalized: bool,
}

impl Default for Dco {
    fn default() -> Self {
        Self { beta: 1.0, length_normalized: false }
    }
}

impl Dco {
    pub(crate) const DEFINITION: Definition = Definition::of_pairs::<Self>(
        "dco",
        "DCO, consistency of preferences between languages (arXiv 2603.04678)",
        &[
            Parameter {
                name: "beta",
                help: "how much the dominant language learns of the target's preference",
                values: Values::Positive,
                search: &[],
            },
            Parameter {
                name: "length_normalized",
                help: "gaps of mean log-probabilities per token, or of sums",
                values: Values::Switch,
                search: &[],
            },
        ],
    );

    /// An answer's score, `[answers]`.
    fn score(&self, answers: &SequenceScore) -> Tensor<1> {
        if self.length_normalized { answers.mean() } else { answers.sum.clone() }
    }

    fn gap(&self, pairs: &PairScore) -> Tensor<1> {
        self.score(&pairs.chosen) - self.score(&pairs.rejected)
    }
}

impl Objective for Dco {
    fn loss(&self) -> Loss<'_> {
        Loss::Bilingual(self)
    }
}

impl BilingualLoss for Dco {
    fn needs(&self) -> BilingualNeeds {
        BilingualNeeds { dominant: true, reference_target: true, reference: Some(ReferencePairs::Dominant), held: None }
    }

    fn losses(&self, scores: &BilingualScores) -> BilingualLosses {
        let (target, dominant) = (&scores.target, asked(&scores.dominant));
        let reference_target = asked(&scores.reference_target);
        let reference_dominant = asked(&scores.reference);
        let learnt = |policy: &PairScore, reference: &PairScore| self.gap(policy) - self.gap(reference);
        let wanted_target = self.gap(reference_dominant).div_scalar(self.beta);
        let wanted_dominant = self.gap(reference_target).mul_scalar(self.beta);
        let target_losses = (learnt(target, reference_target) - wanted_target).abs();
        let dominant_losses = (learnt(dominant, reference_dominant) - wanted_dominant).abs();
        let reward = |policy: &SequenceScore, reference: &SequenceScore| self.score(policy) - self.score(reference);
        BilingualLosses {
            losses: target_losses.clone() + dominant_losses.clone(),
            chosen_rewards: reward(&target.chosen, &reference_target.chosen),
            rejected_rewards: reward(&target.rejected, &reference_target.rejected),
            columns: vec![
                ("rg/dominant", dominant.reward_gap()),
                ("loss/target", target_losses),
                ("loss/dominant", dominant_losses),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, numbers, pair, scored};

    fn dco(beta: f64, length_normalized: bool) -> Dco {
        Dco { beta, length_normalized }
    }

    /// Reference gaps: 1 in the target language and 3 in the dominant one; of means, 0.5 and 1.5.
    fn scores(target: PairScore, dominant: PairScore) -> BilingualScores {
        BilingualScores {
            target,
            dominant: Some(dominant),
            reference_target: Some(pair((-6.0, 2.0), (-7.0, 2.0))),
            reference: Some(pair((-4.0, 2.0), (-7.0, 2.0))),
            held: None,
        }
    }

    #[test]
    fn by_hand() {
        // Target: learnt 5 − 1 = 4, wanted 3/2: 2.5. Dominant: learnt 2 − 3 = −1, wanted 2·1: 3.
        let given = scores(pair((-4.0, 2.0), (-9.0, 2.0)), pair((-5.0, 2.0), (-7.0, 2.0)));
        let made = dco(2.0, false).losses(&given);
        check(&numbers(made.losses), &[2.5 + 3.0]);
        check(&numbers(made.chosen_rewards), &[2.0]);
        // Of means all gaps are half as large.
        check(&numbers(dco(2.0, true).losses(&given).losses), &[2.75]);
    }

    #[test]
    fn both_losses_vanish_where_the_languages_agree() {
        // β 1: gaps of 1 + 3 and 3 + 1.
        let given = scores(pair((-5.0, 2.0), (-9.0, 2.0)), pair((-3.0, 2.0), (-7.0, 2.0)));
        check(&numbers(dco(1.0, false).losses(&given).losses), &[0.0]);
    }

    #[test]
    fn gradients() {
        for length_normalized in [false, true] {
            let sums: [&[f64]; 4] = [&[-4.0], &[-9.0], &[-5.0], &[-7.0]];
            check_gradients(&sums, |sums| {
                let pair = |chosen: usize, rejected: usize| PairScore {
                    chosen: scored(sums[chosen].clone(), &[2.0]),
                    rejected: scored(sums[rejected].clone(), &[3.0]),
                };
                dco(1.5, length_normalized).losses(&scores(pair(0, 1), pair(2, 3))).losses
            });
        }
    }
}
