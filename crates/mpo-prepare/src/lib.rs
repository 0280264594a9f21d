//! Preference rows in two languages from a model's own answers.
//!
//! The rows that a model is trained on should be its own: its refusals, not another model's. From prompts in the dominant
//! language, each with a bad answer, a [`Preparation`] asks the model, keeps what a judge calls a refusal, has it translated,
//! checks the translations, and writes rows with where each part came from. Whoever translates is a [`Translator`]. Rows of
//! [`BenignPrompts`] beside them prefer the model's own answer to a refusal.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use mpo_chat::ModelFolder;
//! use mpo_data::{Language, ReadOptions, TemplateOptions, read};
//! use mpo_eval::{JudgeDefinition, JudgeSettings, Means};
//! use mpo_prepare::{
//!     Asking, Cases, Checks, LocalSubject, Preparation, RecipeDefinition, Sources, TranslatorDefinition, Translators,
//! };
//! use mpo_progress::Silent;
//! use mpo_trainer::{Identity, Kind, RunFolder};
//!
//! let folder = ModelFolder::open("models/qwen", &TemplateOptions::default(), &Silent)?;
//! let (hash, model) = (folder.content_hash(&Silent)?, folder.load_frozen(&Device::default(), &Silent)?);
//! let subject = LocalSubject { folder: &folder, model: &model, hash: &hash, batch_size: 8, progress: &Silent };
//!
//! let data = read("pairs.jsonl".as_ref(), &ReadOptions::default())?;
//! let dominant: Language = "en".parse()?;
//! let recipe = RecipeDefinition::of("paper")?;
//! let cases = Cases::of(data.rows, dominant, recipe);
//! let sources = Sources {
//!     model: "models/qwen".into(),
//!     model_hash: hash.clone(),
//!     data: "pairs.jsonl".into(),
//!     read: data.report.read,
//!     dropped: data.report.read - data.report.kept,
//!     settings: Default::default(),
//! };
//! let settings = JudgeSettings { asked: "refusal".into(), ..JudgeSettings::default() };
//! let Means::Phrases(mut judge) = JudgeDefinition::of("refusal").ready(&settings)? else { unreachable!() };
//! let phrases = TranslatorDefinition::of("phrases")?.ready(&Default::default())?;
//! let held = RunFolder::enter("runs/rows".as_ref(), Kind::Preparation, Identity::default())?;
//! let preparation = Preparation {
//!     dominant,
//!     recipe,
//!     languages: &["sw".parse()?, "bn".parse()?],
//!     asking: Asking { max_new_tokens: 64, samples: 1, sampling: None },
//!     dominant_pairs: false,
//!     checks: Checks::default(),
//!     benign: None,
//!     subject: &subject,
//!     reference: None,
//!     held: &held,
//!     progress: &Silent,
//! };
//! let prepared = preparation.run(cases, sources, &mut judge, &mut Translators::new(vec![phrases]))?;
//! println!("{} rows in {}", prepared.kept(), preparation.rows_file().display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod benign;
mod case;
mod check;
mod dropped;
mod error;
mod making;
mod page;
mod preparation;
mod prepared;
mod recipes;
mod subject;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod translate;

pub use answers::{Answers, Asking};
pub use benign::{BenignAnswers, BenignPrompts};
pub use case::{Asked, Case, Cases};
pub use check::Checks;
pub use dropped::{Dropped, Part, Reason};
pub use error::PrepareError;
pub use preparation::Preparation;
pub use prepared::{BenignCounts, LanguageCounts, Prepared, Sources};
pub use recipes::{RECIPES, RecipeDefinition};
pub use subject::{AnswerStates, Candidates, LocalSubject, LogProb, Subject};
pub use translate::{
    Direction, Means, TRANSLATORS, Tally, Translated, Translation, Translator, TranslatorDefinition,
    TranslatorSettings, Translators,
};
