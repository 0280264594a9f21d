//! Why no rows are made.

use std::path::PathBuf;

use mpo_chat::ChatError;
use mpo_data::{DataError, Language, Origin};
use mpo_trainer::TrainError;

/// What stops the making of rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// Nobody is called so.
    #[error("expected a translator, one of {known}, got {got}")]
    UnknownTranslator {
        /// What was asked for.
        got: String,
        /// Those that there are.
        known: String,
    },
    /// There is no such recipe.
    #[error("expected a recipe for rows, one of {known}, got {got}")]
    UnknownRecipe {
        /// What was asked for.
        got: String,
        /// Those that there are.
        known: String,
    },
    /// A recipe that needs a second model.
    #[error("recipe {name}: expected a reference, the model that this one was made from, got none")]
    NoReference {
        /// The recipe.
        name: &'static str,
    },
    /// A translator lacks what comes behind its name.
    #[error("translator {name}: expected {expected}, got nothing")]
    Incomplete {
        /// The translator.
        name: &'static str,
        /// What is missing.
        expected: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// A translator is told more than it takes.
    #[error("translator {name}: expected nothing behind its name, got {got}")]
    Needless {
        /// The translator.
        name: &'static str,
        /// What it was told.
        got: String,
    },
    /// A table of phrases cannot be read.
    #[error("{}, line {line}: expected known translations, got: {problem}", path.display())]
    Phrases {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The dominant language is to be translated to.
    #[error("expected languages other than the dominant one, {0}, got it among them")]
    Dominant(Language),
    /// Nothing to ask.
    #[error("{}: expected prompts in {language}{}, got none in {read} rows{first}", path.display(), with(*.bad_answers))]
    NothingToAsk {
        /// The rows.
        path: PathBuf,
        /// The dominant language.
        language: Language,
        /// Whether the recipe needs bad answers to them.
        bad_answers: bool,
        /// Rows that were read.
        read: usize,
        /// Why one was left out.
        first: String,
    },
    /// A prompt whose data has no pair to stand on the dominant side.
    #[error("{origin}: expected a good and a bad answer in {}, for the dominant side of its rows, got none", language.name())]
    NoDominantPair {
        /// The row.
        origin: Origin,
        /// The dominant language.
        language: Language,
    },
    /// A folder has rows of another recipe, which would be lost.
    #[error("{}: expected a folder without rows or with those of recipe {expected}, got rows of {got}", folder.display())]
    OtherRecipe {
        /// The folder.
        folder: PathBuf,
        /// The recipe that is asked for.
        expected: &'static str,
        /// The one whose rows are there.
        got: String,
    },
    /// A file without benign prompts.
    #[error("{}: expected benign prompts, got none", path.display())]
    NoBenign {
        /// The file.
        path: PathBuf,
    },
    /// A file of prompts has fewer in one language than in another.
    #[error("{}: expected {most} prompts in each language, got {got} in {}", path.display(), language.name())]
    UnevenPrompts {
        /// The file.
        path: PathBuf,
        /// The language that has fewer.
        language: Language,
        /// How many it has.
        got: usize,
        /// How many another has.
        most: usize,
    },
    /// The page cannot be written.
    #[error("the page: {0}")]
    Page(String),
    /// A model or a service cannot be asked.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A row cannot be written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The folder cannot be used.
    #[error(transparent)]
    Train(Box<TrainError>),
}

/// What prompts come with.
fn with(bad_answers: bool) -> &'static str {
    if bad_answers { " with bad answers" } else { "" }
}

impl From<TrainError> for PrepareError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

impl PrepareError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownTranslator { .. } => Some("such as phrases, model, or google".into()),
            Self::UnknownRecipe { .. } => Some("recipes of settings belong to `train`".into()),
            Self::NoReference { .. } => Some("name the model that training began with".into()),
            Self::Incomplete { hint, .. } => Some((*hint).into()),
            Self::Needless { name, .. } => Some(format!("write {name} alone")),
            Self::Phrases { .. } => {
                Some("write a translation a line, such as {\"en\": \"No.\", \"sw\": \"Hapana.\"}".into())
            }
            Self::Dominant(_) => Some("leave it out, or name another dominant language".into()),
            Self::NothingToAsk { bad_answers: false, .. } => Some("name the language of the prompts as the dominant one".into()),
            Self::NothingToAsk { .. } => Some(
                "a row needs a prompt and a bad answer to it, `rejected`: what a model must not say cannot be made up here"
                    .into(),
            ),
            Self::NoDominantPair { .. } => {
                Some("give rows with `chosen` and `rejected` in the dominant language, or make rows of one language".into())
            }
            Self::NoBenign { .. } => Some("write one {\"language\": \"en\", \"prompt\": \"…\"} a line".into()),
            Self::UnevenPrompts { .. } => {
                Some("the first prompts of all languages are the same, the second ones too: leave out those that one lacks".into())
            }
            Self::OtherRecipe { .. } => Some("make these rows in a folder of their own".into()),
            Self::Page(_) => None,
            Self::Chat(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::Train(error) => error.hint_to("give the same command again"),
        }
    }
}
