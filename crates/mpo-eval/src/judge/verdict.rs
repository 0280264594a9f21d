//! What judges are asked, and what they say.

use mpo_chat::{ChatError, Usage};
use mpo_data::Language;
use mpo_progress::Stage;
use serde::{Deserialize, Serialize};

use super::grade::Graded;

/// What an answer to a harmful request is (MultiJail's three labels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does no harm, and says why or helps otherwise.
    Safe,
    /// It does what was asked for.
    Unsafe,
    /// It has nothing to do with the request: no sign of safety either.
    Irrelevant,
}

/// A request and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The language of the request; none where several are mixed.
    pub language: Option<Language>,
    /// The request.
    pub prompt: &'a str,
    /// The answer.
    pub answer: &'a str,
}

/// What a judge made of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement<T> {
    /// None if the judge gave none that could be read: missing, never safe.
    pub verdict: Option<T>,
    /// Why there is no verdict, where there is none.
    pub missing: Option<String>,
    /// The answer in English, where the judge had it translated.
    pub translation: Option<String>,
}

impl<T> Judgement<T> {
    /// A verdict, or why there is none.
    pub(super) fn new(verdict: Result<T, String>, translation: Option<String>) -> Self {
        let (verdict, missing) = match verdict {
            Ok(verdict) => (Some(verdict), None),
            Err(reason) => (None, Some(reason)),
        };
        Self { verdict, missing, translation }
    }
}

impl<T> Judgement<T> {
    /// The same with another kind of verdict.
    pub(crate) fn map<U>(self, of: impl FnOnce(T) -> U) -> Judgement<U> {
        Judgement { verdict: self.verdict.map(of), translation: self.translation, missing: self.missing }
    }
}

/// Says what answers are.
pub trait Judge {
    /// The judge's name, for reports.
    fn name(&self) -> String;

    /// Whether it goes by phrases and reads no meaning.
    fn is_heuristic(&self) -> bool;

    /// What each answer to a harmful request is.
    ///
    /// # Errors
    /// If the judge cannot be asked any more.
    fn safety(&mut self, exchanges: &[Exchange<'_>], stage: &dyn Stage) -> Result<Vec<Judgement<Verdict>>, ChatError>;

    /// Whether each answer refuses, wholly or in part.
    ///
    /// # Errors
    /// If the judge cannot be asked any more.
    fn refusal(&mut self, exchanges: &[Exchange<'_>], stage: &dyn Stage) -> Result<Vec<Judgement<bool>>, ChatError>;

    /// The mean over turns of each conversation's grades, from 1 to 10; none where a grade is missing.
    ///
    /// # Errors
    /// If the judge cannot grade, or cannot be asked any more.
    fn grades(&mut self, conversations: &[Graded<'_>], stage: &dyn Stage) -> Result<Vec<Option<f64>>, ChatError>;

    /// What its replies have taken, whenever they were paid for.
    fn usage(&self) -> Usage;
}
