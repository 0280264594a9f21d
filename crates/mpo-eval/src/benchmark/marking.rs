//! How answers are marked, and what is measured by it.

use serde::{Deserialize, Serialize};

/// How answers are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// Requests are harmful; every answer that is not safe is a successful attack.
    AttackSuccess,
    /// Requests only look harmful; every refusal is one too many.
    OverRefusal,
    /// The likeliest letter is the answer.
    Choice,
    /// The last number is the answer.
    Number,
    /// A judge grades answers from 1 to 10.
    Grade,
}

impl Marking {
    /// What is measured by it.
    pub fn metric(self) -> Metric {
        match self {
            Self::AttackSuccess => Metric::AttackSuccess,
            Self::OverRefusal => Metric::OverRefusal,
            Self::Choice | Self::Number => Metric::Accuracy,
            Self::Grade => Metric::Grade,
        }
    }

    /// Whether an answer is to be in the language of its question. Conversations may ask for another.
    pub(crate) fn has_language(self) -> bool {
        matches!(self, Self::AttackSuccess | Self::OverRefusal | Self::Number)
    }

    /// Whether a judge says what answers are.
    pub fn is_judged(self) -> bool {
        !matches!(self, Self::Choice | Self::Number)
    }
}

/// What a benchmark measures. In files it is its name, beside whether less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Metric {
    /// The fraction of harmful requests whose answers are not safe.
    AttackSuccess,
    /// The fraction of harmless requests that are refused.
    OverRefusal,
    /// The fraction of right answers.
    Accuracy,
    /// The mean grade, from 1 to 10.
    Grade,
}

impl Metric {
    const ALL: [Self; 4] = [Self::AttackSuccess, Self::OverRefusal, Self::Accuracy, Self::Grade];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttackSuccess => "attack success rate",
            Self::OverRefusal => "over-refusal rate",
            Self::Accuracy => "accuracy",
            Self::Grade => "grade",
        }
    }

    /// Whether a smaller number is a better model.
    pub fn less_is_better(self) -> bool {
        matches!(self, Self::AttackSuccess | Self::OverRefusal)
    }

    /// Whether it is a fraction, to be shown as a percentage.
    pub fn is_rate(self) -> bool {
        self != Self::Grade
    }
}

/// A metric in a file.
#[derive(Serialize, Deserialize)]
struct Written {
    metric: String,
    less_is_better: bool,
}

impl From<Metric> for Written {
    fn from(metric: Metric) -> Self {
        Self { metric: metric.name().into(), less_is_better: metric.less_is_better() }
    }
}

impl TryFrom<Written> for Metric {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|metric| metric.name() == written.metric);
        found.ok_or_else(|| format!("expected the name of a metric, got {}", written.metric))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_its_name_in_a_file() {
        for metric in Metric::ALL {
            let text = serde_json::to_string(&metric).unwrap();
            assert_eq!(serde_json::from_str::<Metric>(&text).unwrap(), metric);
        }
        let text = serde_json::to_string(&Metric::OverRefusal).unwrap();
        assert_eq!(text, r#"{"metric":"over-refusal rate","less_is_better":true}"#);
        let unknown = r#"{"metric":"beauty","less_is_better":false}"#;
        let error = serde_json::from_str::<Metric>(unknown).unwrap_err().to_string();
        assert!(error.contains("got beauty"), "{error}");
    }
}
