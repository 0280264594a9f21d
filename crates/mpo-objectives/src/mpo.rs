//! MPO, reward gap optimization (Zhao et al., ACL 2025, eq. 5–9). Not TRL's Mixed Preference Optimization.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::PairScore;
use crate::bilingual::{
    BilingualLoss, BilingualLosses, BilingualNeeds, BilingualScores, Goal, Held, Hold, ReferencePairs, asked,
};
use crate::objective::{CONSISTENT, Definition, Loss, OTHER_LANGUAGE, Objective, Parameter, Values, Variant};

/// `mean (β·RG_target − RG_dominant)² + weight · mean retain`: the policy's gap in the target language is drawn towards
/// the reference's in the dominant one, a constant, while the policy is held in place on the dominant language.
///
/// The square draws a gap above its goal down to it. With `one_sided` it is `max(0, RG_dominant − β·RG_target)²`, which
/// leaves such a gap alone; that is not the paper's.
///
/// The paper's ablations are settings: see [`GapSource`], [`Retain`] and `length_normalized`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mpo {
    /// Factor on the target gap.
    pub beta: f64,
    /// What the target gap is drawn towards.
    pub dominant_gap: GapSource,
    /// Whether rows whose target gap is above that have no loss.
    pub one_sided: bool,
    /// Whether gaps are of mean log-probs per token (eq. 4), or of sums.
    pub length_normalized: bool,
    /// What of the policy is held in place on the dominant language.
    pub retain: Retain,
    /// How the distance of hidden states is measured.
    pub retain_scale: RetainScale,
    /// Weight of the retain term.
    pub retain_weight: f64,
    /// With mean-pool: padded lengths are rounded up to a multiple of this.
    pub pad_multiple: usize,
}

/// What the target gap is drawn towards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "GapForm", into = "GapForm")]
pub enum GapSource {
    /// The reference's in the dominant language (eq. 7).
    Reference,
    /// The policy's in the dominant language, with gradients (MPO-Policy, eq. 28).
    Policy,
    /// The reference's in this language (its code), on the same prompts.
    Language(String),
    /// A constant.
    Constant(f64),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum GapForm {
    Number(f64),
    Word(String),
}

impl From<GapForm> for GapSource {
    fn from(form: GapForm) -> Self {
        match form {
            GapForm::Number(gap) => Self::Constant(gap),
            GapForm::Word(word) => match word.as_str() {
                "reference" => Self::Reference,
                "policy" => Self::Policy,
                _ => Self::Language(word),
            },
        }
    }
}

impl From<GapSource> for GapForm {
    fn from(source: GapSource) -> Self {
        match source {
            GapSource::Constant(gap) => Self::Number(gap),
            GapSource::Reference => Self::Word("reference".into()),
            GapSource::Policy => Self::Word("policy".into()),
            GapSource::Language(code) => Self::Word(code),
        }
    }
}

/// What of the policy is held in place on the dominant language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retain {
    /// The hidden state at the prompt's last token (the paper, eq. 8); only the prompt passes through the policy.
    LastToken,
    /// The mean hidden state of prompt and answer, for both answers.
    MaskedMean,
    /// The same over all positions of both padded sequences, padding included (the authors' code).
    MeanPool,
    /// The next-token distributions of both answers, by KL(policy ‖ reference) (the ablation with KL in L2's place).
    Kl,
    /// Nothing (the ablation without L2).
    None,
}

/// How the distance of hidden states is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetainScale {
    /// ‖h − h_ref‖² / elements, as the authors' code has it. Does not depend on the width of the model.
    Mean,
    /// ‖h − h_ref‖², as the paper writes it. At common learning rates this is stiff: its gradient is `hidden_size` times
    /// that of the mean, so a step overshoots by more than the last one corrected.
    Squared,
}

impl Default for Mpo {
    fn default() -> Self {
        Self {
            beta: 1.0,
            dominant_gap: GapSource::Reference,
            one_sided: false,
            length_normalized: true,
            retain: Retain::LastToken,
            retain_scale: RetainScale::Mean,
            retain_weight: 1.0,
            pad_multiple: 8,
        }
    }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "beta",
        help: "factor on the target reward gap",
        values: Values::Positive,
        search: &[1.0, 1.5, 2.0],
    },
    Parameter {
        name: "dominant_gap",
        help: "what the target's gap is drawn towards: reference, policy, a language's code (its gap under the \
               reference) or a number",
        values: Values::NumberOr("reference, policy, a language's code"),
        search: &[],
    },
    Parameter {
        name: "one_sided",
        help: "raise target gaps that are below their goal, and leave those above it alone instead of lowering them",
        values: Values::Switch,
        search: &[],
    },
    Parameter {
        name: "length_normalized",
        help: "gaps of mean log-probabilities per token, or of sums",
        values: Values::Switch,
        search: &[],
    },
    Parameter {
        name: "retain",
        help: "what is held in place on the dominant language: last-token, masked-mean, mean-pool, kl or none",
        values: Values::Words(&["last-token", "masked-mean", "mean-pool", "kl", "none"]),
        search: &[],
    },
    Parameter {
        name: "retain_scale",
        help: "how the distance of hidden states is measured: mean of squares, or squared norm",
        values: Values::Words(&["mean", "squared"]),
        search: &[],
    },
    Parameter { name: "retain_weight", help: "weight of the retain term", values: Values::NotNegative, search: &[] },
    Parameter {
        name: "pad_multiple",
        help: "with mean-pool: padded lengths are rounded up to a multiple of this",
        values: Values::UpTo(4096),
        search: &[],
    },
];

const VARIANTS: &[Variant] = &[
    Variant { name: "no-retain", help: "nothing held in place", settings: &[("retain", "none")] },
    Variant { name: "kl", help: "a KL term in place of the hidden states", settings: &[("retain", "kl")] },
    Variant { name: "sums", help: "gaps without length normalisation", settings: &[("length_normalized", "false")] },
    Variant { name: "constant", help: "every gap drawn towards the same number", settings: &[("dominant_gap", "1.0")] },
    Variant {
        name: "other-gap",
        help: "gaps drawn towards another language's",
        settings: &[("dominant_gap", OTHER_LANGUAGE)],
    },
    Variant {
        name: "policy",
        help: "the dominant gap under the policy, with gradients",
        settings: &[("dominant_gap", "policy")],
    },
    Variant { name: "one-sided", help: "gaps raised, and never lowered", settings: &[("one_sided", "true")] },
    CONSISTENT,
    Variant { name: "other-dominant", help: "another dominant language", settings: &[("pivot", OTHER_LANGUAGE)] },
];

impl Mpo {
    pub(crate) const DEFINITION: Definition = Definition {
        variants: VARIANTS,
        ..Definition::of_pairs::<Self>("mpo", "MPO, reward gap optimization (Zhao et al., ACL 2025)", PARAMETERS)
    };

    /// The gap of pairs, `[pairs]`: of means, nats per token, or of sums, nats.
    fn gap(&self, pairs: &PairScore) -> Tensor<1> {
        if self.length_normalized { pairs.reward_gap() } else { pairs.chosen.sum.clone() - pairs.rejected.sum.clone() }
    }

    /// `(β·RG_target − RG_dominant)²`, `[pairs]`; the gradient is `2β(β·RG_target − RG_dominant)·∇RG_target` (eq. 27).
    /// One-sided, loss and gradient are zero where `β·RG_target ≥ RG_dominant`: the slope has no jump there.
    fn gap_losses(&self, target_gap: Tensor<1>, dominant_gap: Tensor<1>) -> Tensor<1> {
        let above = target_gap.mul_scalar(self.beta) - dominant_gap;
        // A mask, as a maximum with zero would turn NaN into zero.
        let apart = if self.one_sided { above.clone().mask_fill(above.greater_elem(0.0), 0.0) } else { above };
        apart.square()
    }

    /// How far the policy is from the reference on the dominant language, `[rows]` (eq. 8).
    fn retain_losses(&self, held: &Held) -> Tensor<1> {
        let (policy, reference) = match held {
            Held::Divergence(divergence) => return divergence.clone(),
            Held::States { policy, reference } => (policy.clone(), reference.clone()),
        };
        let [rows, _] = policy.dims();
        let squares = (policy - reference).square();
        match self.retain_scale {
            RetainScale::Mean => squares.mean_dim(1),
            RetainScale::Squared => squares.sum_dim(1),
        }
        .reshape([rows])
    }
}

impl BilingualLoss for Mpo {
    fn needs(&self) -> BilingualNeeds {
        BilingualNeeds {
            dominant: self.dominant_gap == GapSource::Policy,
            reference_target: false,
            reference: match &self.dominant_gap {
                GapSource::Reference => Some(ReferencePairs::Dominant),
                GapSource::Language(code) => Some(ReferencePairs::Language(code.clone())),
                GapSource::Policy | GapSource::Constant(_) => None,
            },
            held: match self.retain {
                Retain::LastToken => Some(Hold::LastToken),
                Retain::MaskedMean => Some(Hold::MaskedMean),
                Retain::MeanPool => Some(Hold::MeanPool { pad_multiple: self.pad_multiple }),
                Retain::Kl => Some(Hold::Distributions),
                Retain::None => None,
            },
        }
    }

    fn lowers_to(&self) -> Option<Goal<'_>> {
        let Self { beta, ref dominant_gap, length_normalized, .. } = *self;
        (!self.one_sided).then_some(Goal { beta, dominant_gap, length_normalized })
    }

    fn losses(&self, scores: &BilingualScores) -> BilingualLosses {
        let gap = self.gap(&scores.target);
        let dominant_gap = match &self.dominant_gap {
            GapSource::Reference | GapSource::Language(_) => self.gap(asked(&scores.reference)),
            GapSource::Policy => self.gap(asked(&scores.dominant)),
            GapSource::Constant(constant) => gap.zeros_like().add_scalar(*constant),
        };
        let gap_losses = self.gap_losses(gap, dominant_gap.clone());
        let mut columns = vec![("rg/dominant", dominant_gap), ("loss/gap", gap_losses.clone())];
        let mut losses = gap_losses;
        if let Some(held) = &scores.held {
            let retain = self.retain_losses(held);
            columns.push(("loss/retain", retain.clone()));
            losses = losses + retain.mul_scalar(self.retain_weight);
        }
        // MPO's implicit reward: β times the mean log-prob per token, without a reference.
        let reward = |mean: Tensor<1>| mean.mul_scalar(self.beta);
        BilingualLosses {
            losses,
            chosen_rewards: reward(scores.target.chosen.mean()),
            rejected_rewards: reward(scores.target.rejected.mean()),
            columns,
        }
    }
}

impl Objective for Mpo {
    fn loss(&self) -> Loss<'_> {
        Loss::Bilingual(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_gradients, check_pair_gradients, constant, numbers, pair};

    fn mpo(beta: f64) -> Mpo {
        Mpo { beta, ..Mpo::default() }
    }

    #[test]
    fn gap_by_hand() {
        // β 1.5: (1.5·2 − 1)² = 4, slope 2·1.5·2 = 6; (1.5·(−1) − 0.5)² = 4, slope 2·1.5·(−2) = −6
        let target = constant(&[2.0, -1.0]).require_grad();
        let loss = mpo(1.5).gap_losses(target.clone(), constant(&[1.0, 0.5]));
        let gradients = loss.clone().sum().backward();
        check(&numbers(loss), &[4.0, 4.0]);
        let slopes = target.grad(&gradients).unwrap().into_data();
        check(&slopes.try_to_vec::<f64>().unwrap(), &[6.0, -6.0]);
    }

    /// Losses of gaps towards goals, and the slopes in the gaps.
    fn losses_and_slopes(mpo: &Mpo, target: &[f64], dominant: &[f64]) -> [Vec<f64>; 2] {
        let target = constant(target).require_grad();
        let losses = mpo.gap_losses(target.clone(), constant(dominant));
        let gradients = losses.clone().sum().backward();
        let slopes = target.grad(&gradients).unwrap();
        [numbers(losses), slopes.into_data().try_to_vec().unwrap()]
    }

    #[test]
    fn one_sided_gap_by_hand() {
        // Above, on and below the goal: 1.5·2 − 1 = 2, 1.5·2 − 3 = 0, 1.5·(−1) − 0.5 = −2.
        let (target, dominant) = (&[2.0, 2.0, -1.0], &[1.0, 3.0, 0.5]);
        let one_sided = Mpo { one_sided: true, ..mpo(1.5) };
        let [losses, slopes] = losses_and_slopes(&one_sided, target, dominant);
        check(&losses, &[0.0, 0.0, 4.0]);
        check(&slopes, &[0.0, 0.0, -6.0]);
    }

    #[test]
    fn the_one_sided_slope_has_no_jump_at_the_goal() {
        // A step h below a goal of 3 the loss is (1.5·h)², so the quotient goes to zero with h.
        let one_sided = Mpo { one_sided: true, ..mpo(1.5) };
        for step in [1e-1, 1e-4, 1e-7] {
            let [losses, slopes] = losses_and_slopes(&one_sided, &[2.0 - step, 2.0 + step], &[3.0, 3.0]);
            assert!((losses[0] / step - 2.25 * step).abs() < 1e-8 && losses[1] == 0.0, "{losses:?}");
            assert!((slopes[0] + 4.5 * step).abs() < 1e-8 && slopes[1] == 0.0, "{slopes:?}");
        }
    }

    #[test]
    fn the_two_losses_are_one_up_to_the_goal() {
        let one_sided = Mpo { one_sided: true, ..mpo(1.0) };
        // Down to the last bit below the goal, and to numbers whose squares are no longer normal.
        let below = [-1e150, -3.0, -f64::EPSILON, -1e-160, 0.0];
        let goals = [0.0; 5];
        let [losses, slopes] = losses_and_slopes(&one_sided, &below, &goals);
        assert_eq!([losses, slopes], losses_and_slopes(&mpo(1.0), &below, &goals));
        let above = below.map(|gap| -gap);
        assert_eq!(losses_and_slopes(&one_sided, &above, &goals), [[0.0; 5], [0.0; 5]].map(Vec::from));
    }

    #[test]
    fn a_gap_that_is_no_number_has_a_loss_that_is_none() {
        for one_sided in [false, true] {
            let losses = Mpo { one_sided, ..mpo(1.0) }.gap_losses(constant(&[f64::NAN]), constant(&[1.0]));
            assert!(numbers(losses)[0].is_nan(), "{one_sided}");
        }
    }

    #[test]
    fn gaps_of_means_and_of_sums() {
        // Means −2 and −3; sums −4 and −9
        let scores = pair((-4.0, 2.0), (-9.0, 3.0));
        check(&numbers(mpo(1.0).gap(&scores)), &[1.0]);
        let sums = Mpo { length_normalized: false, ..Mpo::default() };
        check(&numbers(sums.gap(&scores)), &[5.0]);
    }

    #[test]
    fn gradients_of_the_gap_loss() {
        let dominant = || constant(&[1.0, 0.5, 2.0]);
        check_pair_gradients(|policy| mpo(1.5).gap_losses(mpo(1.5).gap(policy), dominant()));
        check_gradients(&[&[2.0, -1.0], &[1.0, 0.5]], |t| mpo(1.5).gap_losses(t[0].clone(), t[1].clone()));
        // Above and below the goal; on it a difference would be half of the slope below.
        let one_sided = Mpo { one_sided: true, ..mpo(1.5) };
        check_gradients(&[&[2.0, -1.0], &[1.0, 0.5]], |t| one_sided.gap_losses(t[0].clone(), t[1].clone()));
        check_pair_gradients(|policy| one_sided.gap_losses(one_sided.gap(policy), dominant()));
    }

    #[test]
    fn retain_by_hand() {
        // (1, 2) from (0, 0): 5 in all, 2.5 in the mean
        let held = Held::States {
            policy: constant(&[1.0, 2.0]).reshape([1, 2]),
            reference: constant(&[0.0, 0.0]).reshape([1, 2]),
        };
        let squared = Mpo { retain_scale: RetainScale::Squared, ..Mpo::default() };
        check(&numbers(squared.retain_losses(&held)), &[5.0]);
        check(&numbers(mpo(1.0).retain_losses(&held)), &[2.5]);
    }

    #[test]
    fn gap_sources_are_words_codes_or_numbers() {
        for (text, source) in [
            ("\"reference\"", GapSource::Reference),
            ("\"policy\"", GapSource::Policy),
            ("\"sw\"", GapSource::Language("sw".into())),
            ("1.58", GapSource::Constant(1.58)),
        ] {
            assert_eq!(serde_json::from_str::<GapSource>(text).unwrap(), source);
            assert_eq!(serde_json::to_string(&source).unwrap(), text);
        }
    }
}
