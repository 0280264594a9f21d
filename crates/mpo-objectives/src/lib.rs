//! Objectives: pure functions of sequence scores and hidden states. They know neither models nor files.
//!
//! One objective, one file: its source, its formula, its conventions, a hand-worked test. [`OBJECTIVES`] lists them.
//! Sums and means are kept apart: `s` is a sum over an answer's tokens, `m` their mean.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use mpo_kernels::SequenceScore;
//! use mpo_objectives::{Dpo, PairScore, ReferencedPairLoss};
//!
//! let device = Device::flex();
//! // An answer's log-probability, and how many tokens it has.
//! let score = |sum: f32, tokens: f32| SequenceScore {
//!     sum: Tensor::from_data([sum], &device),
//!     tokens: Tensor::from_data([tokens], &device),
//! };
//! let policy = PairScore { chosen: score(-4.0, 2.0), rejected: score(-9.0, 3.0) };
//! let reference = PairScore { chosen: score(-6.0, 2.0), rejected: score(-7.0, 3.0) };
//!
//! // Δ = (−4 + 6) − (−9 + 7) = 4, and the loss is −log σ(0.5 · 4).
//! let losses = Dpo { beta: 0.5 }.losses(&policy, &reference);
//! assert!((losses.into_scalar::<f32>() - 0.126_928).abs() < 1e-6);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bilingual;
mod consistency;
mod contrast;
mod crossed;
mod logistic;
mod mlc;
mod objective;
mod pair;
mod parallel;
#[cfg(test)]
mod testing;
mod unpaired;

pub use bilingual::{
    BilingualLoss, BilingualLosses, BilingualNeeds, BilingualScores, Goal, Held, Hold, ReferencePairs,
};
pub use consistency::{Consistency, ConsistencyLoss, PromptStates};
pub use crossed::{CrossedAnswer, CrossedLoss, CrossedLosses, Side};
pub use objective::{
    Definition, DemonstrationLoss, Loss, OTHER_LANGUAGE, Objective, Parameter, SettingError, Settings, Values, Variant,
};
pub use pair::{PairLoss, PairScore, ReferencedPairLoss};
pub use parallel::{ParallelLoss, ParallelLosses, ParallelStates};
pub use unpaired::{UnpairedLoss, UnpairedScore};

/// Declares the modules, exports the types and lists the definitions.
macro_rules! objectives {
    ($($module:ident::$objective:ident,)*) => {
        $(mod $module; pub use $module::$objective;)*

        /// Every objective there is.
        pub static OBJECTIVES: &[Definition] = &[$($objective::DEFINITION),*];
    };
}

objectives! {
    mpo::Mpo,
    sft::Sft,
    dpo::Dpo,
    ipo::Ipo,
    rdpo::RobustDpo,
    cpo::Cpo,
    kto::Kto,
    orpo::Orpo,
    r_dpo::LengthRegularizedDpo,
    simpo::SimPo,
    ln_dpo::LengthNormalizedDpo,
    dco::Dco,
    clo::Clo,
    crpo::Crpo,
    lens::Lens,
}

pub use lens::{LanguageSpaces, NoSpaces};
pub use mpo::{GapSource, Retain, RetainScale};
pub use sft::sft_losses;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_values_that_parameters_may_have() {
        for definition in OBJECTIVES {
            let settings = definition.resolve(&Settings::new()).unwrap();
            let names: Vec<&str> = definition.parameters().map(|one| one.name).collect();
            let keys: Vec<&str> = settings.keys().map(String::as_str).collect();
            assert_eq!(names, keys, "{}", definition.name);
            definition.objective(&settings).unwrap();
            // What the paper searches may be tried, except rDPO's ε = 0.5.
            for parameter in definition.parameters() {
                for &value in parameter.search {
                    let one = Settings::from_iter([(parameter.name.into(), value.into())]);
                    definition.objective(&one).unwrap();
                }
            }
        }
    }

    #[test]
    fn names_of_objectives_and_variants_are_unique() {
        let variants = |one: &'static Definition| {
            let variants = one.variants.iter();
            variants.map(|variant| format!("{}-{}", one.name, variant.name))
        };
        let mut names: Vec<String> =
            OBJECTIVES.iter().flat_map(|one| variants(one).chain([one.name.to_owned()])).collect();
        names.sort_unstable();
        let all = names.len();
        assert!(all > OBJECTIVES.len(), "no variants");
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_variant_can_be_built_and_differs_from_its_objective() {
        // Settings of the run, which no objective knows.
        let is_of_run = |key: &str| key == "pivot" || key.starts_with("consistency");
        let variants = OBJECTIVES.iter().flat_map(|one| one.variants.iter().map(move |variant| (one, variant)));
        let mut built = 0;
        for (definition, variant) in variants {
            let (run, own): (Vec<_>, Vec<_>) = variant.settings.iter().partition(|(key, _)| is_of_run(key));
            let own = own.into_iter().map(|&(key, value)| {
                let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
                (key.to_owned(), value)
            });
            let settings = definition.resolve(&own.collect()).unwrap();
            definition.objective(&settings).unwrap();
            let differs = settings != definition.resolve(&Settings::new()).unwrap();
            assert!(differs || !run.is_empty(), "{}-{}", definition.name, variant.name);
            built += 1;
        }
        assert!(built > 0);
    }

    #[test]
    fn every_loss_on_pairs_can_be_given_the_likelihood_of_safe_answers() {
        for definition in OBJECTIVES {
            let settings = Settings::from_iter([("sft_weight".into(), 0.5.into())]);
            match definition.objective(&settings) {
                Ok(objective) => assert_eq!(objective.sft_weight(), 0.5),
                Err(_) => assert!(["sft", "kto", "clo", "crpo", "lens"].contains(&definition.name)),
            }
            let without = definition.objective(&Settings::new()).unwrap();
            assert_eq!(without.sft_weight(), 0.0);
        }
    }

    #[test]
    fn an_invalid_setting_is_named() {
        let definition = |name: &str| OBJECTIVES.iter().find(|one| one.name == name).unwrap();
        for (name, key, value, expected) in [
            ("rdpo", "epsilon", 0.5, "a number from 0 to below 0.5"),
            ("dpo", "beta", 0.0, "a number above 0"),
            ("dpo", "beta", f64::NAN, "a number above 0"),
            ("dpo", "tau", 0.1, "a hyper-parameter of dpo (beta, sft_weight)"),
            ("sft", "beta", 0.1, "none, as sft has no hyper-parameters"),
        ] {
            let settings = Settings::from_iter([(key.into(), value.into())]);
            let error = definition(name).objective(&settings).unwrap_err();
            assert_eq!((error.key.as_str(), error.expected.as_str()), (key, expected));
        }
    }
}
