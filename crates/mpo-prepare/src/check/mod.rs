//! What a translation must stand before it is in a row: one file per check.

mod back;
mod chrf;
mod echo;
mod language;
mod length;
mod untranslated;

use mpo_data::{DataError, Detector, Language};

use crate::answers::{Answer, Answered};
use crate::dropped::Reason;
use crate::translate::Direction;

pub(crate) use back::says_the_same;

/// How strict the checks are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Checks {
    /// How many times longer or shorter a translation may be than texts of its language are.
    pub length_ratio: f64,
    /// How alike a text and its translation back must be, by chrF from 0 to 1; none to translate nothing back.
    pub back_translation: Option<f64>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { length_ratio: 2.5, back_translation: None }
    }
}

/// Why something does not stand a check.
pub(crate) type Problem = (Reason, String);

/// What is wrong with a text, and the text, where there is one.
pub(crate) type Failed = (Problem, Option<String>);

/// The checks at work.
pub(crate) struct Checker {
    detector: Detector,
    pub(crate) checks: Checks,
}

impl Checker {
    pub(crate) fn new(checks: Checks) -> Result<Self, DataError> {
        Ok(Self { detector: Detector::new(None)?, checks })
    }

    /// Whether detection can tell this language.
    pub(crate) fn knows(&self, language: Language) -> bool {
        self.detector.knows(language)
    }

    /// A refusal in the language of its prompt.
    pub(crate) fn refusal(&self, language: Language, text: &str) -> Result<(), Problem> {
        match language::other(&self.detector, language, text) {
            None => Ok(()),
            Some(found) => Err((Reason::RefusedInAnotherLanguage, format!("in {}", found.name()))),
        }
    }

    /// An answer that is in the language of its question.
    pub(crate) fn in_language(&self, language: Language, asked: &str, answer: Answer) -> Answered {
        match language::check_answer(&self.detector, language, asked, &answer.text) {
            Ok(()) => Ok(answer),
            Err(problem) => Err((problem, Some(answer.text))),
        }
    }

    /// An answer that is more than what was asked, and in its language.
    pub(crate) fn answers(&self, language: Language, asked: &str, answer: Answer) -> Answered {
        match echo::check(asked, &answer.text) {
            Ok(()) => self.in_language(language, asked, answer),
            Err(problem) => Err((problem, Some(answer.text))),
        }
    }

    /// A translation, beside its source.
    pub(crate) fn translation(&self, direction: Direction, source: &str, text: &str) -> Result<(), Problem> {
        untranslated::check(source, text)?;
        language::check(&self.detector, direction.to, text)?;
        length::check(direction, source, text, self.checks.length_ratio)
    }
}
