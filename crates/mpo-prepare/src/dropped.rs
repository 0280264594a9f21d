//! What becomes no row, and why.

use mpo_data::{Language, Origin};
use serde::{Deserialize, Serialize};

use crate::check::Problem;

/// Why a prompt becomes no row in a language. In the order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The model said nothing.
    NoAnswer,
    /// The model's answer was cut before its first sentence ended.
    NoSentence,
    /// The model did what it was asked to.
    NotRefused,
    /// The judge could not tell whether the model refused.
    NoVerdict,
    /// The model refused in another language than the dominant one.
    RefusedInAnotherLanguage,
    /// The model refused a benign prompt.
    Refused,
    /// The model answered a benign prompt in another language than the prompt's, or in none that can be told.
    AnsweredInAnotherLanguage,
    /// The model said a benign prompt back.
    SaidBack,
    /// There is no refusal in the language to set a benign prompt's answer beside.
    NoRefusal,
    /// The model said less than two different things to choose of.
    TooFewAnswers,
    /// A score of an answer is no finite number.
    NoScore,
    /// No answer is better than another by the recipe.
    NoneBetter,
    /// No translator had a translation.
    NoTranslation,
    /// A translation says what its source says, letter for letter.
    Untranslated,
    /// A translation is in another language, or in none that can be told.
    OtherLanguage,
    /// A translation is much longer or much shorter than its source lets expect.
    Length,
    /// Translated back, a translation says something else.
    BackTranslation,
    /// Both answers are the same.
    SameAnswers,
    /// The same row is there already.
    Duplicate,
    /// There are as many benign rows as were asked for.
    NotNeeded,
}

impl Reason {
    /// All of them, in the order of the steps.
    pub const ALL: [Self; 20] = [
        Self::NoAnswer,
        Self::NoSentence,
        Self::NotRefused,
        Self::NoVerdict,
        Self::RefusedInAnotherLanguage,
        Self::Refused,
        Self::AnsweredInAnotherLanguage,
        Self::SaidBack,
        Self::NoRefusal,
        Self::TooFewAnswers,
        Self::NoScore,
        Self::NoneBetter,
        Self::NoTranslation,
        Self::Untranslated,
        Self::OtherLanguage,
        Self::Length,
        Self::BackTranslation,
        Self::SameAnswers,
        Self::Duplicate,
        Self::NotNeeded,
    ];

    /// What happened, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer",
            Self::NoSentence => "cut before a sentence ended",
            Self::NotRefused => "not refused",
            Self::NoVerdict => "no verdict",
            Self::RefusedInAnotherLanguage => "refused in another language",
            Self::Refused => "refused",
            Self::AnsweredInAnotherLanguage => "answered in another language",
            Self::SaidBack => "prompt said back",
            Self::NoRefusal => "no refusal to avoid",
            Self::TooFewAnswers => "too few answers",
            Self::NoScore => "no score",
            Self::NoneBetter => "none better",
            Self::NoTranslation => "no translation",
            Self::Untranslated => "left untranslated",
            Self::OtherLanguage => "translation in another language",
            Self::Length => "length of translation",
            Self::BackTranslation => "back-translation differs",
            Self::SameAnswers => "answers are the same",
            Self::Duplicate => "duplicate",
            Self::NotNeeded => "more than the share",
        }
    }
}

/// A part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What is asked.
    Prompt,
    /// The answer to prefer.
    Chosen,
    /// The answer to avoid.
    Rejected,
}

impl Part {
    /// Its name in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Chosen => "chosen",
            Self::Rejected => "rejected",
        }
    }
}

/// A row that was not made.
#[derive(Debug, Clone, Serialize)]
pub struct Dropped {
    /// The language it would have been in.
    pub language: Language,
    /// Why.
    pub reason: Reason,
    /// The part that it is about.
    pub part: Part,
    /// More about it, in words.
    pub detail: String,
    /// That part in the dominant language.
    pub source: String,
    /// That part in the language of the row, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The row of the data that it is of.
    pub origin: Origin,
    /// Whether the prompt is a benign one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub benign: bool,
}

impl Dropped {
    /// One of which there is nothing in the target language yet.
    pub(crate) fn early(
        language: Language,
        part: Part,
        (reason, detail): Problem,
        source: impl Into<String>,
        origin: &Origin,
        benign: bool,
    ) -> Self {
        let (source, origin) = (source.into(), origin.clone());
        Self { language, reason, part, detail, source, text: None, origin, benign }
    }
}
