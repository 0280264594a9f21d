//! SDRRL (ACL 2024): the model's own answer in the dominant language teaches it the others. Question and answer are translated, and
//! demonstrations are made of each question with each answer.

use mpo_data::Language;

use crate::answers::Answers;
use crate::error::PrepareError;
use crate::making::{Maker, OfLanguage};

use super::greedy::Answering;
use super::{Recipe, RecipeDefinition};

const NAME: &str = "sdrrl";

pub(super) static RECIPE: RecipeDefinition = RecipeDefinition {
    name: NAME,
    help: "demonstrations: its answer in the dominant language and the prompt, both translated, each with each",
    refuses: false,
    draws: None,
    rows_of_prompt: Some(4),
    needs_reference: false,
    begin: |cases, maker| Ok(Box::new(Distilled(Answering::asked(cases, maker)?))),
};

/// Answers to distil.
struct Distilled<'a>(Answering<'a>);

impl Recipe for Distilled<'_> {
    fn answers(&self) -> Answers {
        self.0.counts
    }

    fn rows(&mut self, language: Language, maker: &mut Maker<'_>) -> Result<OfLanguage, PrepareError> {
        let (mut made, drafts) = self.0.translated(language, NAME, maker)?;
        for draft in &drafts {
            made.keep_crossed(draft, maker.dominant)?;
        }
        Ok(made)
    }
}
