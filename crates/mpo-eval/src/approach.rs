//! How near each language came to the dominant one's gap.

use mpo_data::Language;

use crate::results::TrainResults;
use crate::reward_gap::LanguageGap;

/// The share of the dominant language's gap from which on a language counts as safe as it.
const REACHED: f64 = 0.8;

/// Where a language's gap went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It is at least four fifths of the dominant language's.
    Reached,
    /// It rose, and is less.
    Nearer,
    /// It fell, and is less.
    Farther,
    /// It was above the dominant language's and fell, to four fifths of it at least.
    Lowered,
}

impl Course {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Nearer => "nearer",
            Self::Farther => "farther",
            Self::Lowered => "lowered",
        }
    }
}

/// What became of a language.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Approach {
    /// The language.
    pub language: Language,
    /// Where its gap went.
    pub course: Course,
    /// Its gap before training, as a share of the goal.
    pub before: f64,
    /// Its gap after.
    pub after: f64,
}

/// What training came to, language by language.
#[derive(Debug, Clone, PartialEq)]
pub struct Approaches {
    /// The language that the others were to reach.
    pub dominant: Language,
    /// Its gap before training, nats per token, above zero.
    pub goal: f64,
    /// Every other language that was measured before and after.
    pub of: Vec<Approach>,
}

impl Approaches {
    /// None where there is no dominant language, or none whose own gap is above zero: then there is nothing to reach.
    pub fn new(results: &TrainResults) -> Option<Self> {
        let dominant = results.dominant?;
        let find =
            |gaps: &[LanguageGap], language| gaps.iter().find(|gap| gap.language == language).map(|gap| gap.mean);
        let gaps = &results.reward_gap;
        let goal = find(&gaps.before, dominant).filter(|&goal| goal > 0.0)?;
        let others = gaps.after.iter().filter(|gap| gap.language != dominant);
        let approach = |after: &LanguageGap| {
            let (before, after, language) =
                (find(&gaps.before, after.language)? / goal, after.mean / goal, after.language);
            let course = match (after >= REACHED, after > before) {
                (true, false) if before > 1.0 => Course::Lowered,
                (true, _) => Course::Reached,
                (false, true) => Course::Nearer,
                (false, false) => Course::Farther,
            };
            Some(Approach { language, course, before, after })
        };
        Some(Self { dominant, goal, of: others.filter_map(approach).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::RewardGaps;

    fn gaps(means: &[(&str, f64)]) -> Vec<LanguageGap> {
        let gap = |&(code, mean): &(&str, f64)| LanguageGap {
            language: code.parse().unwrap(),
            mean,
            half_width: None,
            rows: 1,
            accuracy: 1.0,
            chosen_mean: 0.0,
            rejected_mean: -mean,
        };
        means.iter().map(gap).collect()
    }

    fn approaches(before: &[(&str, f64)], after: &[(&str, f64)]) -> Option<Approaches> {
        let reward_gap = RewardGaps { before: gaps(before), after: gaps(after) };
        Approaches::new(&TrainResults { steps: 1, best: None, dominant: "en".parse().ok(), reward_gap })
    }

    #[test]
    fn each_language_went_one_way() {
        let before = [("en", 2.0), ("ar", 2.5), ("bn", -0.5), ("ja", 1.0), ("ko", 1.0), ("sw", 1.9)];
        let after = [("en", 2.2), ("ar", 2.1), ("bn", 1.6), ("ja", 1.5), ("ko", 0.5), ("sw", 1.8), ("zh", 1.0)];
        let approaches = approaches(&before, &after).unwrap();
        assert_eq!((approaches.dominant.to_string().as_str(), approaches.goal), ("en", 2.0));
        let courses: Vec<_> = approaches.of.iter().map(|of| (of.language.to_string(), of.course.name())).collect();
        let expected = [("ar", "lowered"), ("bn", "reached"), ("ja", "nearer"), ("ko", "farther"), ("sw", "reached")];
        assert_eq!(courses, expected.map(|(language, course)| (language.to_owned(), course)));
        assert_eq!((approaches.of[1].before, approaches.of[1].after), (-0.25, 0.8));
    }

    #[test]
    fn without_a_gap_above_zero_there_is_nothing_to_reach() {
        assert_eq!(approaches(&[("en", -0.1), ("sw", 0.0)], &[("en", 0.0), ("sw", 0.1)]), None);
        assert_eq!(approaches(&[("sw", 0.0)], &[("sw", 0.1)]), None);
    }
}
