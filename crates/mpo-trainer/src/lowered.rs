//! Languages that a loss would lower: a gap above its goal is drawn down to it, which nobody may have meant.

use std::collections::BTreeMap;

use mpo_data::Language;
use mpo_objectives::{GapSource, Goal, Loss, Objective};
use mpo_progress::Progress;

use crate::score::ScoredRow;

/// Tells the user which languages `objective` would lower, and what to do about it. `scored` are rows under the model that
/// training begins with; those in `dominant` are its dominant side.
pub fn warn_of_lowered_gaps(
    scored: &[ScoredRow],
    dominant: Option<Language>,
    objective: &dyn Objective,
    progress: &dyn Progress,
) {
    let Loss::Bilingual(loss) = objective.loss() else {
        return;
    };
    let lowered = loss.lowers_to().and_then(|goal| Lowered::by(goal, scored, dominant));
    let Some(Lowered { goal, height, gaps }) = lowered else {
        return;
    };
    let of = match (goal.dominant_gap, dominant) {
        (GapSource::Reference | GapSource::Policy, Some(language)) => format!(", {language}'s gap before training"),
        (GapSource::Language(code), _) => format!(", {code}'s gap before training"),
        _ => String::new(),
    };
    let unit = if goal.length_normalized { "nats per token" } else { "nats" };
    let factor = if goal.beta == 1.0 { String::new() } else { format!(", taken {} times", goal.beta) };
    let gaps: Vec<String> = gaps.iter().map(|(language, gap)| format!("{language} ({gap:.2})")).collect();
    progress.note(&format_args!(
        "warning: training would lower the gaps of {}{factor}: they are above the goal, {height:.2} {unit}{of}.\n\
         one_sided: true leaves them as they are; another pivot, or a number as dominant_gap, is another goal; rows with the \
         model's own answers (mpo-train prepare) raise the goal where other people's answers are what makes it low",
        gaps.join(", "),
    ));
}

/// Languages whose mean gap is above the goal.
#[derive(Debug, PartialEq)]
struct Lowered<'a> {
    goal: Goal<'a>,
    /// The goal, nats.
    height: f64,
    /// Times β, the highest first.
    gaps: Vec<(Language, f64)>,
}

impl<'a> Lowered<'a> {
    /// None if there are none, or no row shows how high the goal is.
    fn by(goal: Goal<'a>, scored: &[ScoredRow], dominant: Option<Language>) -> Option<Self> {
        // Below this neither a few rows nor training tells two gaps apart; nats.
        const WORTH_SAYING: f64 = 0.1;
        let mut of: BTreeMap<Language, Vec<f64>> = BTreeMap::new();
        for row in scored {
            let gap = if goal.length_normalized { row.reward_gap() } else { row.chosen.0 - row.rejected.0 };
            of.entry(row.language).or_default().push(gap);
        }
        let means = of.into_iter().map(|(language, gaps)| (language, gaps.iter().sum::<f64>() / gaps.len() as f64));
        let means: BTreeMap<Language, f64> = means.collect();
        let height = match goal.dominant_gap {
            // Before training the policy is the reference.
            GapSource::Reference | GapSource::Policy => *means.get(&dominant?)?,
            GapSource::Language(code) => *means.get(&code.parse().ok()?)?,
            GapSource::Constant(gap) => *gap,
        };
        let targets = means.into_iter().filter(|(language, _)| Some(*language) != dominant);
        let mut gaps: Vec<(Language, f64)> = targets.map(|(language, gap)| (language, goal.beta * gap)).collect();
        gaps.retain(|(_, gap)| gap - height > WORTH_SAYING);
        gaps.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        (!gaps.is_empty()).then_some(Self { goal, height, gaps })
    }
}

#[cfg(test)]
mod tests {
    use mpo_objectives::{OBJECTIVES, Settings};
    use mpo_progress::Recorder;
    use serde_json::json;

    use super::*;

    /// Two rows a language: means of gaps 1 for en, 2 for sw, 0.5 for bn, 1.05 for zh; answers of 2 and 4 tokens.
    fn scored() -> Vec<ScoredRow> {
        let gaps = [("en", 0.0), ("en", 2.0), ("sw", 2.5), ("sw", 1.5), ("bn", 0.5), ("bn", 0.5), ("zh", 1.05)];
        let row = |(language, gap): (&str, f64)| ScoredRow {
            language: language.parse().unwrap(),
            chosen: (2.0 * (gap - 3.0), 2),
            rejected: (4.0 * -3.0, 4),
        };
        gaps.map(row).to_vec()
    }

    /// What is said of training by `method` with these settings.
    fn said(method: &str, settings: serde_json::Value, dominant: Option<&str>) -> String {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let definition = OBJECTIVES.iter().find(|one| one.name == method).unwrap();
        let (objective, recorder) = (definition.objective(&settings).unwrap(), Recorder::default());
        let dominant = dominant.map(|code| code.parse().unwrap());
        warn_of_lowered_gaps(&scored(), dominant, &*objective, &recorder);
        recorder.texts().join("\n")
    }

    #[test]
    fn languages_above_the_goal_are_named() {
        for (settings, beginning) in [
            (json!({}), "sw (2.00): they are above the goal, 1.00 nats per token, en's gap before training."),
            (json!({"dominant_gap": "policy"}), "sw (2.00): they are above the goal, 1.00"),
            (json!({"beta": 1.5}), "sw (3.00), zh (1.58), taken 1.5 times: they are above the goal, 1.00"),
            (json!({"dominant_gap": "bn"}), "sw (2.00), zh (1.05): they are above the goal, 0.50 nats per token, bn's"),
            (
                json!({"dominant_gap": -1}),
                "sw (2.00), zh (1.05), bn (0.50): they are above the goal, -1.00 nats per token.\n",
            ),
            // Sums: 2(gap − 3) + 12 = 2·gap + 6.
            (json!({"length_normalized": false}), "sw (10.00): they are above the goal, 8.00 nats, en's"),
        ] {
            let said = said("mpo", settings.clone(), Some("en"));
            let want = format!("warning: training would lower the gaps of {beginning}");
            assert!(said.starts_with(&want), "{settings}: {said}");
            assert!(said.contains("one_sided: true") && said.contains("mpo-train prepare"), "{said}");
        }
    }

    #[test]
    fn nothing_is_said_where_nothing_is_lowered_or_nothing_known() {
        for (method, settings, dominant) in [
            ("mpo", json!({"one_sided": true}), Some("en")),
            ("mpo", json!({"dominant_gap": 2}), Some("en")),
            ("mpo", json!({"dominant_gap": "ja"}), Some("en")),
            ("mpo", json!({}), Some("ja")),
            ("mpo", json!({}), None),
            ("dco", json!({}), Some("en")),
            ("dpo", json!({}), Some("en")),
        ] {
            assert_eq!(said(method, settings.clone(), dominant), "", "{method} {settings}");
        }
    }
}
