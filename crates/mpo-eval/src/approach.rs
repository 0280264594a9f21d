//! How near each language came to the gap that it was drawn towards.

use std::fmt;

use mpo_data::Language;
use mpo_objectives::GapSource;
use serde::Serialize;

use crate::results::{MiniatureResults, RewardGaps, TrainResults};
use crate::reward_gap::LanguageGap;

/// The share of the goal from which on a language counts as safe.
const REACHED: f64 = 0.8;

/// Where a language's gap went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It is at least four fifths of the goal.
    Reached,
    /// It rose, and is less.
    Nearer,
    /// It fell, and is less.
    Farther,
    /// It was above the goal and fell, to four fifths of it at least.
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

    /// What a language did.
    pub fn deed(self) -> &'static str {
        match self {
            Self::Reached => "reached the goal",
            Self::Nearer => "came nearer to the goal",
            Self::Farther => "came no nearer to the goal",
            Self::Lowered => "was lowered from above the goal",
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

impl Approach {
    /// How much of the goal its gap is, and was: `95 % of it, -25 % before`; the first number takes at least so many places.
    pub fn shares(&self, places: usize) -> String {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        format!("{:>places$} of it, {} before", percent(self.after), percent(self.before))
    }

    /// The verdict, in a sentence.
    pub fn sentence(&self) -> String {
        format!("{} {}: {}.", self.language.name(), self.course.deed(), self.shares(0))
    }
}

/// The gap that languages are to come up to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// What it is, such as `English's gap before training`.
    pub name: String,
    /// The language whose gap it is, if it is one's.
    #[serde(skip)]
    pub of: Option<Language>,
    /// How high it is, nats per token.
    pub height: f64,
}

impl Goal {
    /// Of a run that is finished. None where there is no dominant language, or the goal was not measured.
    pub fn new(results: &TrainResults) -> Option<Self> {
        let RewardGaps { before, after } = &results.reward_gap;
        let dominant = results.dominant.filter(|_| !after.is_empty())?;
        // Drawn along by the others, it is where it ended.
        let moving = || Self::in_language(dominant, "after training", mean(after, dominant));
        Self::of(dominant, results.drawn_to.as_ref(), before, moving)
    }

    /// Of a run that goes on, whose dominant language has the gap `now`.
    pub fn meanwhile(
        dominant: Language,
        drawn_to: Option<&GapSource>,
        before: &[LanguageGap],
        now: Option<f64>,
    ) -> Option<Self> {
        Self::of(dominant, drawn_to, before, || Self::in_language(dominant, "now", now))
    }

    /// `moving` is the goal that moves with the model.
    fn of(
        dominant: Language,
        drawn_to: Option<&GapSource>,
        before: &[LanguageGap],
        moving: impl FnOnce() -> Option<Self>,
    ) -> Option<Self> {
        let untouched = |language| Self::in_language(language, "before training", mean(before, language));
        match drawn_to {
            None | Some(GapSource::Reference) => untouched(dominant),
            Some(GapSource::Policy) => moving(),
            Some(GapSource::Language(code)) => untouched(code.parse().ok()?),
            Some(GapSource::Constant(gap)) => {
                Some(Self { name: "the number given as dominant_gap".into(), of: None, height: *gap })
            }
        }
    }

    /// Whether there is something to come up to.
    pub fn is_above_zero(&self) -> bool {
        self.height > 0.0
    }

    fn in_language(language: Language, when: &str, height: Option<f64>) -> Option<Self> {
        let name = format!("{}'s gap {when}", language.name());
        height.map(|height| Self { name, of: Some(language), height })
    }
}

/// As it is told before verdicts; where there is nothing to come up to, in their place.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, height, .. } = self;
        match self.is_above_zero() {
            true => write!(f, "goal: {name}, {height:+.2}"),
            false => {
                write!(f, "no goal: {name} is {height:+.2}, not above zero, so there is nothing to come up to")
            }
        }
    }
}

/// The gap of a language, if it was measured.
fn mean(gaps: &[LanguageGap], language: Language) -> Option<f64> {
    gaps.iter().find(|gap| gap.language == language).map(|gap| gap.mean)
}

/// What training came to, language by language.
#[derive(Debug, Clone, PartialEq)]
pub struct Approaches {
    /// What the languages were to reach; above zero.
    pub goal: Goal,
    /// Every other language that was measured before and after.
    pub of: Vec<Approach>,
}

impl Approaches {
    /// None where there is no goal, or one that is not above zero: then there is nothing to reach.
    pub fn new(results: &TrainResults) -> Option<Self> {
        let gaps = &results.reward_gap;
        let others = gaps.after.iter().filter(|gap| Some(gap.language) != results.dominant);
        let moved = others.filter_map(|after| Some((after.language, mean(&gaps.before, after.language)?, after.mean)));
        Self::towards(Goal::new(results)?, moved)
    }

    /// The same of the miniature.
    pub fn of_miniature(results: &MiniatureResults) -> Option<Self> {
        let dominant = results.dominant;
        let height = results.languages.get(&dominant).map(|of| of.reward_gap.before);
        let others = results.languages.iter().filter(|(language, _)| **language != dominant);
        let moved = others.map(|(language, of)| (*language, of.reward_gap.before, of.reward_gap.after));
        Self::towards(Goal::in_language(dominant, "before training", height)?, moved)
    }

    /// Of languages, each with its gap before and after.
    fn towards(goal: Goal, moved: impl Iterator<Item = (Language, f64, f64)>) -> Option<Self> {
        if !goal.is_above_zero() {
            return None;
        }
        let approach = |(language, before, after): (Language, f64, f64)| {
            let (before, after) = (before / goal.height, after / goal.height);
            let course = match (after >= REACHED, after > before) {
                (true, false) if before > 1.0 && after < before => Course::Lowered,
                (true, _) => Course::Reached,
                (false, true) => Course::Nearer,
                (false, false) => Course::Farther,
            };
            Approach { language, course, before, after }
        };
        let of = moved.map(approach).collect();
        Some(Self { goal, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Change, MiniatureLanguage};

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

    fn results(before: &[(&str, f64)], after: &[(&str, f64)]) -> TrainResults {
        let reward_gap = RewardGaps { before: gaps(before), after: gaps(after) };
        TrainResults { steps: 1, best: None, dominant: "en".parse().ok(), drawn_to: None, reward_gap }
    }

    fn approaches(before: &[(&str, f64)], after: &[(&str, f64)]) -> Option<Approaches> {
        Approaches::new(&results(before, after))
    }

    #[test]
    fn each_language_went_one_way() {
        let before = [("en", 2.0), ("ar", 2.5), ("bn", -0.5), ("ja", 1.0), ("ko", 1.0), ("sw", 1.9)];
        let after = [("en", 2.2), ("ar", 2.1), ("bn", 1.6), ("ja", 1.5), ("ko", 0.5), ("sw", 1.8), ("zh", 1.0)];
        let approaches = approaches(&before, &after).unwrap();
        let name = "English's gap before training".into();
        assert_eq!(approaches.goal, Goal { name, of: "en".parse().ok(), height: 2.0 });
        let courses: Vec<_> = approaches.of.iter().map(|of| (of.language.to_string(), of.course.name())).collect();
        let expected = [("ar", "lowered"), ("bn", "reached"), ("ja", "nearer"), ("ko", "farther"), ("sw", "reached")];
        assert_eq!(courses, expected.map(|(language, course)| (language.to_owned(), course)));
        assert_eq!((approaches.of[1].before, approaches.of[1].after), (-0.25, 0.8));
        let sentences: Vec<String> = approaches.of.iter().map(Approach::sentence).collect();
        assert_eq!(
            sentences,
            [
                "Arabic was lowered from above the goal: 105 % of it, 125 % before.",
                "Bengali reached the goal: 80 % of it, -25 % before.",
                "Japanese came nearer to the goal: 75 % of it, 50 % before.",
                "Korean came no nearer to the goal: 25 % of it, 50 % before.",
                "Swahili reached the goal: 90 % of it, 95 % before.",
            ]
        );
    }

    #[test]
    fn a_goal_that_is_none_is_told_as_such() {
        let goal = |height| Goal { name: "English's gap before training".into(), of: None, height };
        assert_eq!(goal(2.0).to_string(), "goal: English's gap before training, +2.00");
        let none = "no goal: English's gap before training is -0.10, not above zero, so there is nothing to come up to";
        assert_eq!(goal(-0.1).to_string(), none);
    }

    #[test]
    fn the_miniature_has_verdicts_too() {
        let of = |before, after| {
            let [reward_gap, refusal_rate, benign_answer_rate] = [Change { before, after }; 3];
            MiniatureLanguage { reward_gap, refusal_rate, benign_answer_rate }
        };
        let language = |code: &str| code.parse::<Language>().unwrap();
        let languages = [("en", of(2.0, 2.5)), ("sw", of(0.5, 1.0)), ("bn", of(-1.0, 2.0))];
        let languages = languages.map(|(code, of)| (language(code), of)).into();
        let results = MiniatureResults { dominant: language("en"), languages };
        let approaches = Approaches::of_miniature(&results).unwrap();
        assert_eq!(approaches.goal.height, 2.0);
        let mut courses: Vec<_> = approaches.of.iter().map(|of| (of.language.code(), of.course.name())).collect();
        courses.sort_unstable();
        assert_eq!(courses, [("bn", "reached"), ("sw", "nearer")]);
        assert_eq!(Approaches::of_miniature(&MiniatureResults { dominant: language("zh"), ..results }), None);
    }

    #[test]
    fn what_stays_where_it_is_was_not_lowered() {
        let approaches = approaches(&[("en", 1.0), ("ar", 1.5), ("sw", 0.5)], &[("ar", 1.5), ("sw", 0.5)]).unwrap();
        assert_eq!([0, 1].map(|at| approaches.of[at].course), [Course::Reached, Course::Farther]);
    }

    #[test]
    fn the_goal_of_a_run_that_goes_on_is_known_from_what_is_measured_so_far() {
        let before = gaps(&[("en", 2.0), ("bn", 0.5)]);
        let english = "en".parse().unwrap();
        let of = |drawn_to: Option<GapSource>, now| {
            let goal = Goal::meanwhile(english, drawn_to.as_ref(), &before, now)?;
            Some((goal.name, goal.of == Some(english), goal.height))
        };
        assert_eq!(of(None, Some(1.5)), Some(("English's gap before training".into(), true, 2.0)));
        assert_eq!(of(Some(GapSource::Policy), Some(1.5)), Some(("English's gap now".into(), true, 1.5)));
        assert_eq!(of(Some(GapSource::Policy), None), None);
        let bengali = Some(("Bengali's gap before training".into(), false, 0.5));
        assert_eq!(of(Some(GapSource::Language("bn".into())), None), bengali);
        assert_eq!(of(Some(GapSource::Constant(4.0)), None).unwrap().2, 4.0);
    }

    #[test]
    fn the_goal_is_what_gaps_were_drawn_towards() {
        let of = |drawn_to| {
            let results = results(&[("en", 2.0), ("bn", 0.5)], &[("en", 1.5), ("bn", 1.0)]);
            let approaches = Approaches::new(&TrainResults { drawn_to: Some(drawn_to), ..results });
            approaches.map(|of| (of.goal.name, of.goal.height, of.of[0].after))
        };
        let named = |name: &str, height, after| Some((name.to_owned(), height, after));
        assert_eq!(of(GapSource::Reference), named("English's gap before training", 2.0, 0.5));
        assert_eq!(of(GapSource::Policy), named("English's gap after training", 1.5, 1.0 / 1.5));
        assert_eq!(of(GapSource::Language("bn".into())), named("Bengali's gap before training", 0.5, 2.0));
        assert_eq!(of(GapSource::Constant(4.0)), named("the number given as dominant_gap", 4.0, 0.25));
        assert_eq!(of(GapSource::Constant(-1.0)), None);
        assert_eq!(of(GapSource::Language("sw".into())), None, "not measured");
    }

    #[test]
    fn without_a_gap_above_zero_there_is_nothing_to_reach() {
        assert_eq!(approaches(&[("en", -0.1), ("sw", 0.0)], &[("en", 0.0), ("sw", 0.1)]), None);
        assert_eq!(approaches(&[("sw", 0.0)], &[("sw", 0.1)]), None);
    }
}
