//! The questions of a file, and how it is known that two lists of them are of one set.

use std::ops::Deref;

use mpo_data::Language;
use serde::{Deserialize, Serialize};

use super::{Expected, Item};

/// The questions that were chosen of a file or folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions {
    items: Vec<Item>,
    /// A digest of all that there are, chosen or not.
    source: String,
    notes: Vec<String>,
}

/// What tells a set of questions from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionSet {
    /// A digest of the file or folder that they came from, all languages together.
    source: String,
    /// A digest of what is the same in every language of a set, ids and answers expected; none where every file has the
    /// same, such as the numbers of its rows.
    answers: Option<String>,
}

impl QuestionSet {
    /// Whether questions in another language are of the same set: they came from the same file, or their answers are the
    /// same.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.source == other.source || self.answers.is_some() && self.answers == other.answers
    }
}

impl Questions {
    /// All questions of a file or folder.
    pub(crate) fn new(items: Vec<Item>) -> Self {
        let parts = items.iter().flat_map(|item| {
            let language = item.language.map_or("mixed".into(), |of| of.to_string());
            let own = [item.id.clone(), language, format!("{:?}", item.expected)];
            // A turn more in one question is no turn less in the next.
            let turns = [item.turns.len().to_string()].into_iter();
            own.into_iter().chain(turns).chain(item.turns.clone())
        });
        Self { source: digest(parts), items, notes: vec![] }
    }

    /// And what is to be known of how they were read.
    pub(super) fn with(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// What of the file or folder was left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Leaves out those that are not to be kept.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Item) -> bool) {
        self.items.retain(keep);
    }

    /// The set that the questions in a language are of.
    pub fn set(&self, language: Option<Language>) -> QuestionSet {
        let of = self.items.iter().filter(|item| item.language == language);
        let answers: Option<Vec<String>> = of
            .map(|item| match &item.expected {
                Expected::Option(option) => Some(format!("{} {option}", item.id)),
                Expected::Number(number) => Some(format!("{} {number}", item.id)),
                Expected::Safe | Expected::Help | Expected::Good(_) => None,
            })
            .collect();
        QuestionSet { source: self.source.clone(), answers: answers.map(|answers| digest(answers.into_iter())) }
    }
}

impl Deref for Questions {
    type Target = [Item];

    fn deref(&self) -> &[Item] {
        &self.items
    }
}

/// A digest of texts, each with its length: no two lists of texts share one.
fn digest(texts: impl Iterator<Item = String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_by_its_file_or_by_its_answers() {
        let number = |answer: &str| Expected::Number(answer.into());
        let set = |language: &str, text: &str, expected: Expected| {
            let item = Item::testing(language, &[text], expected);
            Questions::new(vec![item]).set(language.parse().ok())
        };
        let english = set("en", "How many?", number("5"));
        assert!(set("sw", "Ngapi?", number("5")).is_of(&english));
        assert!(!set("sw", "Ngapi?", number("6")).is_of(&english));
        // A request has no answer that says which set it is of.
        let english = set("en", "How?", Expected::Help);
        assert!(!set("sw", "Vipi?", Expected::Help).is_of(&english));
        assert!(set("en", "How?", Expected::Help).is_of(&english));
        assert!(!set("en", "Why?", Expected::Help).is_of(&english));
    }
}
