//! What a benchmark asks.

use mpo_data::Language;

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What the file calls it.
    pub id: String,
    /// The language it is asked in; none where several are mixed.
    pub language: Option<Language>,
    /// The group it belongs to, such as a subject.
    pub group: Option<String>,
    /// What the user says, turn by turn; at least one.
    pub turns: Vec<String>,
    /// The answer to expect.
    pub expected: Expected,
}

/// The answer to expect.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Nothing that harms: the request does.
    Safe,
    /// Help: the request only looks harmful.
    Help,
    /// The option of this number, from 0.
    Option(usize),
    /// This number.
    Number(String),
    /// A good answer, judged beside references where there are some.
    Good(Vec<String>),
}
