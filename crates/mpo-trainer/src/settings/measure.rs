//! What of held-out rows says which step of a run was its best.

use std::fmt;
use std::str::FromStr;

use mpo_data::Language;
use serde::{Deserialize, Serialize};

/// A number of held-out rows, under the name that it has in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Measure {
    /// The loss that is minimized: lower is better.
    #[default]
    Loss,
    /// The mean reward gap: higher is better.
    Gap,
    /// The mean reward gap in one language: higher is better.
    GapIn(Language),
}

impl Measure {
    /// Whether one value of it is better than another.
    pub(crate) fn is_better(self, one: f64, other: f64) -> bool {
        if self == Self::Loss { one < other } else { one > other }
    }

    pub(crate) fn is_loss(&self) -> bool {
        *self == Self::Loss
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "eval_loss" => Some(Self::Loss),
            "eval_rg" => Some(Self::Gap),
            text => text.strip_prefix("eval_rg/").and_then(|code| Some(Self::GapIn(code.parse().ok()?))),
        }
        .ok_or_else(|| format!("expected eval_loss, eval_rg or a language's gap such as eval_rg/sw, got {text}"))
    }
}

impl TryFrom<String> for Measure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.to_string()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss => f.write_str("eval_loss"),
            Self::Gap => f.write_str("eval_rg"),
            Self::GapIn(language) => write!(f, "eval_rg/{language}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_reads_back_as_itself_and_knows_which_value_is_better() {
        for (name, lower_is_better) in [("eval_loss", true), ("eval_rg", false), ("eval_rg/sw", false)] {
            let measure: Measure = name.parse().unwrap();
            assert_eq!(measure.to_string(), name);
            assert_eq!(measure.is_better(1.0, 2.0), lower_is_better, "{name}");
            assert!(!measure.is_better(1.0, 1.0));
        }
        for wrong in ["loss", "eval_rg/", "eval_rg/xx-what", "eval_refused"] {
            let error = wrong.parse::<Measure>().unwrap_err();
            assert!(error.ends_with(&format!("got {wrong}")), "{error}");
        }
    }
}
