//! What an objective is: a name, hyper-parameters, and a loss on scores.

use std::fmt::{self, Debug};

use burn::tensor::Tensor;
use mpo_kernels::SequenceScore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bilingual::BilingualLoss;
use crate::crossed::CrossedLoss;
use crate::pair::{PairLoss, ReferencedPairLoss};
use crate::parallel::ParallelLoss;
use crate::unpaired::UnpairedLoss;

/// Hyper-parameters by name, as a configuration file gives them.
pub type Settings = Map<String, Value>;

/// An objective with its hyper-parameters.
pub trait Objective: Debug {
    /// Its loss, by what it is computed from.
    fn loss(&self) -> Loss<'_>;

    /// Weight of the safe answer's negative log-likelihood beside it: see [`sft_losses`](crate::sft_losses).
    fn sft_weight(&self) -> f64 {
        0.0
    }
}

/// A loss by what it is computed from. What is not named here is not computed: no reference, no rejected answer.
#[derive(Debug, Clone, Copy)]
pub enum Loss<'a> {
    /// Safe answers.
    Demonstrations(&'a dyn DemonstrationLoss),
    /// Pairs of answers.
    Pairs(&'a dyn PairLoss),
    /// Pairs of answers, under the reference too.
    ReferencedPairs(&'a dyn ReferencedPairLoss),
    /// Single answers, each good or bad, under the reference too.
    Unpaired(&'a dyn UnpairedLoss),
    /// Pairs in two languages, and what the loss needs of both models.
    Bilingual(&'a dyn BilingualLoss),
    /// Answers of both languages to one prompt, under the reference too.
    Crossed(&'a dyn CrossedLoss),
    /// Hidden states of prompts in several languages, of both models; no answers.
    Parallel(&'a dyn ParallelLoss),
}

/// A loss on safe answers.
pub trait DemonstrationLoss: Debug {
    /// `[answers]`
    fn losses(&self, answers: &SequenceScore) -> Tensor<1>;
}

/// A hyper-parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name in configuration files; a flag is the same with hyphens.
    pub name: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// What it may be.
    pub values: Values,
    /// The values that the paper tries (Table 7); none if it is not searched.
    pub search: &'static [f64],
}

impl Parameter {
    /// The same of an objective that the paper does not search.
    pub(crate) const fn not_searched(self) -> Self {
        Self { search: &[], ..self }
    }
}

/// What a hyper-parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// A number above zero.
    Positive,
    /// A number of at least zero.
    NotNegative,
    /// A number from zero to below this.
    Below(f64),
    /// A number from zero to one.
    Share,
    /// A whole number from one to this.
    UpTo(u64),
    /// True or false.
    Switch,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A number, or a word such as these.
    NumberOr(&'static str),
}

impl Values {
    /// Whether `value` is one of these.
    fn contain(self, value: &Value) -> bool {
        let number = value.as_f64().filter(|x| x.is_finite());
        match self {
            Self::Positive => number.is_some_and(|x| x > 0.0),
            Self::NotNegative => number.is_some_and(|x| x >= 0.0),
            Self::Below(end) => number.is_some_and(|x| (0.0..end).contains(&x)),
            Self::Share => number.is_some_and(|x| (0.0..=1.0).contains(&x)),
            Self::UpTo(last) => value.as_u64().is_some_and(|n| (1..=last).contains(&n)),
            Self::Switch => value.is_boolean(),
            Self::Words(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::NumberOr(_) => number.is_some() || value.is_string(),
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Positive => f.write_str("a number above 0"),
            Self::NotNegative => f.write_str("a number of at least 0"),
            Self::Below(end) => write!(f, "a number from 0 to below {end}"),
            Self::Share => f.write_str("a number from 0 to 1"),
            Self::UpTo(last) => write!(f, "a whole number from 1 to {last}"),
            Self::Switch => f.write_str("true or false"),
            Self::Words(words) => f.write_str(&words.join(", ")),
            Self::NumberOr(words) => write!(f, "{words} or a number"),
        }
    }
}

/// The same objective with other settings, under a name of its own.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Its name, after the objective's: `no-retain` of `mpo` is `mpo-no-retain`.
    pub name: &'static str,
    /// What is different, in a line.
    pub help: &'static str,
    /// Settings of the run, the objective's among them. [`OTHER_LANGUAGE`] stands for a language of the data that is
    /// not its dominant one.
    pub settings: &'static [(&'static str, &'static str)],
}

/// Any objective beside MLC, with the weight of its paper's example.
pub(crate) const CONSISTENT: Variant = Variant {
    name: "mlc",
    help: "a prompt's states in all its languages drawn to one direction (MLC)",
    settings: &[("consistency_weight", "0.8")],
};

/// Stands for a language in the settings of a [`Variant`].
pub const OTHER_LANGUAGE: &str = "OTHER";

/// An entry of the list of objectives.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its name in configuration files.
    pub name: &'static str,
    /// Its full name and where it comes from.
    pub source: &'static str,
    /// Hyper-parameters of its own.
    pub(crate) own: &'static [Parameter],
    /// Whether the safe answer's likelihood can be added to the loss.
    pub(crate) takes_sft: bool,
    /// Ablations of it.
    pub variants: &'static [Variant],
    /// Rows that a batch needs at least.
    pub min_batch: usize,
    pub(crate) defaults: fn() -> Settings,
    pub(crate) build: fn(Settings) -> Result<Box<dyn Objective>, String>,
}

/// Settings that do not make an objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}, got {got}")]
pub struct SettingError {
    /// The name of the setting.
    pub key: String,
    /// What it may be.
    pub expected: String,
    /// What it is.
    pub got: String,
}

impl Definition {
    pub(crate) const fn of<T>(name: &'static str, source: &'static str, parameters: &'static [Parameter]) -> Self
    where
        T: Objective + Default + Serialize + DeserializeOwned + 'static,
    {
        Self {
            name,
            source,
            own: parameters,
            takes_sft: false,
            variants: &[],
            min_batch: 1,
            defaults: || match serde_json::to_value(T::default()) {
                Ok(Value::Object(settings)) => settings,
                _ => Settings::new(),
            },
            build: |settings| match serde_json::from_value::<T>(Value::Object(settings)) {
                Ok(objective) => Ok(Box::new(objective)),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// The same for a loss on pairs, to which the safe answer's likelihood can be added.
    pub(crate) const fn of_pairs<T>(name: &'static str, source: &'static str, parameters: &'static [Parameter]) -> Self
    where
        T: Objective + Default + Serialize + DeserializeOwned + 'static,
    {
        Self { takes_sft: true, ..Self::of::<T>(name, source, parameters) }
    }

    /// Its hyper-parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &'static Parameter> + use<> {
        let shared: &[Parameter] = if self.takes_sft { &[SFT_WEIGHT] } else { &[] };
        self.own.iter().chain(shared)
    }

    /// Every hyper-parameter: `given`, and its default where nothing is given.
    ///
    /// # Errors
    /// If a key is not one of this objective's, or a value is not one that it may be.
    pub fn resolve(&self, given: &Settings) -> Result<Settings, SettingError> {
        let mut settings = (self.defaults)();
        if self.takes_sft {
            settings.insert(SFT_WEIGHT.name.into(), 0.0.into());
        }
        for (key, value) in given {
            let error = |expected: String, got: String| SettingError { key: key.clone(), expected, got };
            let Some(parameter) = self.parameters().find(|one| one.name == key) else {
                let names: Vec<&str> = self.parameters().map(|one| one.name).collect();
                let expected = match names[..] {
                    [] => format!("none, as {} has no hyper-parameters", self.name),
                    _ => format!("a hyper-parameter of {} ({})", self.name, names.join(", ")),
                };
                return Err(error(expected, "another's".into()));
            };
            if !parameter.values.contain(value) {
                return Err(error(parameter.values.to_string(), shown(value)));
            }
            settings.insert(key.clone(), value.clone());
        }
        Ok(settings)
    }

    /// The objective with these hyper-parameters, and defaults for the others.
    ///
    /// # Errors
    /// Those of [`resolve`](Self::resolve).
    pub fn objective(&self, given: &Settings) -> Result<Box<dyn Objective>, SettingError> {
        let mut settings = self.resolve(given)?;
        let sft_weight = settings.remove(SFT_WEIGHT.name);
        let objective = (self.build)(settings).map_err(|got| SettingError {
            key: self.name.to_owned(),
            expected: "settings that agree with each other".into(),
            got,
        })?;
        Ok(Box::new(WithSft { objective, weight: sft_weight.and_then(|weight| weight.as_f64()).unwrap_or(0.0) }))
    }
}

/// A value that is refused. A text that reads like a number is refused for being one.
fn shown(value: &Value) -> String {
    let is_text_of = |text: &str| matches!(serde_json::from_str(text), Ok(Value::Number(_) | Value::Bool(_)));
    match value.as_str() {
        Some(text) if is_text_of(text) => format!("the text {text:?}, in quotes"),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

/// A hyper-parameter of every loss on pairs.
const SFT_WEIGHT: Parameter = Parameter {
    name: "sft_weight",
    help: "weight of the safe answer's negative log-likelihood per token, added to the loss",
    values: Values::NotNegative,
    search: &[],
};

/// An objective and the weight of the likelihood beside it.
#[derive(Debug)]
struct WithSft {
    objective: Box<dyn Objective>,
    weight: f64,
}

impl Objective for WithSft {
    fn loss(&self) -> Loss<'_> {
        self.objective.loss()
    }

    fn sft_weight(&self) -> f64 {
        self.weight
    }
}
