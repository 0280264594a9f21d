//! Ways of making rows: one file per recipe. Adding one takes a file beside these and its line in [`RECIPES`].

mod greedy;
mod icr;
mod lacomsa;
mod lidr;
mod mapo;
mod paper;
mod sampled;
mod sdrrl;

use std::collections::HashMap;

use mpo_data::Language;

use crate::answers::Answers;
use crate::case::Case;
use crate::dropped::Part;
use crate::error::PrepareError;
use crate::making::{Draft, Found, Given, Kind, Maker, OfLanguage};

/// Every recipe.
pub static RECIPES: &[&RecipeDefinition] =
    &[&paper::RECIPE, &lidr::RECIPE, &lacomsa::RECIPE, &icr::RECIPE, &mapo::RECIPE, &sdrrl::RECIPE];

/// A way of making rows.
#[derive(Debug)]
pub struct RecipeDefinition {
    /// Its name.
    pub name: &'static str,
    /// What rows it makes.
    pub help: &'static str,
    /// Whether its rows prefer refusals, which rows of benign prompts can then avoid.
    pub refuses: bool,
    /// Answers to a prompt that it draws to choose of, unless the user says otherwise; none where it takes what is likeliest, or
    /// needs one refusal.
    pub draws: Option<usize>,
    /// How many rows it makes of a prompt, if several.
    pub rows_of_prompt: Option<usize>,
    /// Whether a second model is asked: the one that the first was made from.
    pub needs_reference: bool,
    /// Asks what is the same for every target language.
    begin: Begin,
}

type Begin = for<'a> fn(&'a [Case], &mut Maker<'_>) -> Result<Box<dyn Recipe + 'a>, PrepareError>;

/// A recipe at work on prompts.
pub(crate) trait Recipe {
    /// What the model has said so far.
    fn answers(&self) -> Answers;

    /// The rows in a language.
    fn rows(&mut self, language: Language, maker: &mut Maker<'_>) -> Result<OfLanguage, PrepareError>;
}

/// A row in the making by a recipe that judges nothing and takes nothing of the data but the prompt.
fn begun<'a>(number: usize, case: &'a Case, language: Language, recipe: &'static str) -> Draft<'a> {
    Draft {
        number,
        origin: &case.origin,
        kind: Kind::Any,
        prompt: &case.asked.prompt,
        tools: case.asked.tools.as_ref(),
        given: Given { rejected: None, ..case.given(language) },
        dominant: HashMap::from([(Part::Prompt, Found::prompt(&case.asked.prompt))]),
        target: HashMap::new(),
        is_cut: false,
        told: vec![("recipe", recipe.into())],
    }
}

impl RecipeDefinition {
    /// The recipe of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(name: &str) -> Result<&'static Self, PrepareError> {
        let found = RECIPES.iter().find(|recipe| recipe.name == name).copied();
        found.ok_or_else(|| PrepareError::UnknownRecipe {
            got: name.to_owned(),
            known: RECIPES.iter().map(|recipe| recipe.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// Whether it takes the most probable answer alone, so that there is nothing to draw.
    pub fn is_greedy(&self) -> bool {
        !self.refuses && self.draws.is_none()
    }

    /// Whether the model that the first was made from is there, where it is needed.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_reference(&self, is_there: bool) -> Result<(), PrepareError> {
        if self.needs_reference && !is_there { Err(PrepareError::NoReference { name: self.name }) } else { Ok(()) }
    }

    /// Whether it makes rows of the target language alone, beside which the data's own pair can stand.
    pub fn is_of_one_language(&self) -> bool {
        !self.refuses && self.draws.is_some()
    }

    pub(crate) fn begin<'a>(
        &self,
        cases: &'a [Case],
        maker: &mut Maker<'_>,
    ) -> Result<Box<dyn Recipe + 'a>, PrepareError> {
        (self.begin)(cases, maker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_known_by_its_name() {
        for recipe in RECIPES {
            assert_eq!(RecipeDefinition::of(recipe.name).unwrap().name, recipe.name);
        }
        let error = RecipeDefinition::of("stew").unwrap_err();
        assert!(error.to_string().contains("paper, lidr, lacomsa, icr, mapo, sdrrl"), "{error}");
        assert!(error.hint().is_some());
    }
}
