//! Recipes: settings to begin with, in files that people can read, copy and name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::list::TrainOptions;
use crate::error::TrainError;

/// The recipes that the program carries: each one's name and text.
pub(super) const RECIPES: [(&str, &str); 5] = [
    ("llama-3.1-8b", include_str!("../../../../recipes/llama-3.1-8b.yaml")),
    ("gemma-2-9b", include_str!("../../../../recipes/gemma-2-9b.yaml")),
    ("qwen2.5-7b", include_str!("../../../../recipes/qwen2.5-7b.yaml")),
    ("cla", include_str!("../../../../recipes/cla.yaml")),
    ("miniature", include_str!("../../../../recipes/miniature.yaml")),
];

/// Settings to begin with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "String")]
pub enum Recipe {
    /// One that the program carries, by its name.
    Carried(&'static str),
    /// A configuration file.
    File(PathBuf),
}

impl Recipe {
    /// What it says.
    ///
    /// # Errors
    /// If its file cannot be read or has a key or value that is not one of ours.
    pub fn options(&self) -> Result<TrainOptions, TrainError> {
        match self {
            Self::File(path) => TrainOptions::from_file(path),
            Self::Carried(name) => {
                let text = RECIPES.iter().find(|(of, _)| of == name).map_or("", |(_, text)| text);
                TrainOptions::from_yaml(text, &PathBuf::from(format!("recipe {name}")))
            }
        }
    }

    /// The same recipe, found from everywhere.
    pub(super) fn absolute(self) -> Self {
        match self {
            Self::File(path) => Self::File(std::path::absolute(&path).unwrap_or(path)),
            carried => carried,
        }
    }

    /// What it says, which is no other recipe.
    pub(super) fn settings(&self) -> Result<TrainOptions, TrainError> {
        let said = self.options()?;
        match &said.recipe {
            Some(other) => {
                Err(TrainError::setting("recipe", format!("settings in {self}"), format!("the recipe {other}")))
            }
            None => Ok(said),
        }
    }
}

impl FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((name, _)) = RECIPES.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Carried(name));
        }
        if text.ends_with(".yaml") || text.ends_with(".yml") {
            return Ok(Self::File(text.into()));
        }
        Err(format!("expected one of {}, or a YAML file, got {text}", RECIPES.map(|(name, _)| name).join(", ")))
    }
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl From<Recipe> for String {
    fn from(recipe: Recipe) -> Self {
        recipe.to_string()
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carried(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_read_and_makes_a_run() {
        for (name, _) in RECIPES {
            let recipe: Recipe = name.parse().unwrap();
            assert_eq!(recipe.to_string(), name);
            let run = TrainOptions { recipe: Some(recipe.clone()), ..TrainOptions::minimal() };
            let (config, said) = (run.resolve().unwrap(), recipe.options().unwrap());
            assert_eq!(Some(config.lr), said.lr, "{name}");
            assert_eq!(Some(config.batch_size), said.batch_size, "{name}");
        }
    }

    #[test]
    fn a_recipe_is_a_name_or_a_file() {
        assert_eq!("mine.yaml".parse(), Ok(Recipe::File("mine.yaml".into())));
        let error = "gemma".parse::<Recipe>().unwrap_err();
        assert!(error.contains("gemma-2-9b") && error.contains("or a YAML file, got gemma"), "{error}");
    }

    #[test]
    fn a_file_that_is_gone_is_named() {
        let recipe = Recipe::File("no/such.yaml".into());
        assert!(recipe.options().unwrap_err().to_string().contains("no/such.yaml"));
    }
}
