//! Benign prompts to make rows of, as they are typed.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mpo_data::Language;
use mpo_eval::{BUILT_IN, read_benign};
use mpo_prepare::{BenignAnswers, BenignPrompts, RecipeDefinition};

use super::note_parallel;
use crate::failure::Failure;
use crate::session::Session;

/// Prompts that should be answered.
#[derive(Debug, Args)]
pub(super) struct BenignArguments {
    /// Harmless prompts to make rows of too, in which the model's own answer is preferred to a refusal: JSONL of
    /// {language, prompt}
    ///
    /// A language that is trained on refusals alone learns to refuse. In these rows the answer to prefer is the model's own
    /// to the prompt, greedily, and the one to avoid is a refusal that other rows of the language prefer. In a file of
    /// several languages the first prompts of all are the same, the second ones too, and so on; a prompt that it does not
    /// have in a language is translated.
    #[arg(long = "benign", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Share of benign rows among those of each language, above 0 and below 1 [default: a row of every prompt]
    #[arg(long = "benign-share", value_name = "X", value_parser = share, requires = "file")]
    share: Option<f64>,
    /// The answer to prefer in a target language: the model's own there, or a translation of its answer in the dominant one
    #[arg(long = "benign-answers", value_name = "WHICH", default_value = "own", requires = "file")]
    answers: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Own,
    Translated,
}

impl BenignArguments {
    /// The file of prompts.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The prompts, where there are any.
    pub(super) fn prompts(
        &self,
        dominant: Language,
        recipe: &RecipeDefinition,
        session: &Session,
    ) -> Result<Option<BenignPrompts>, Failure> {
        let Some(file) = &self.file else { return Ok(None) };
        if !recipe.refuses {
            return Err(Failure::new(
                format!("--benign: expected a recipe whose rows prefer refusals, got {}", recipe.name),
                "leave one of the two out: benign rows avoid the refusals of others",
            ));
        }
        if file.as_os_str() == BUILT_IN {
            return Err(Failure::new(
                format!("--benign: expected a file, got {BUILT_IN}, which models are evaluated on"),
                "what a model is trained on says nothing about it: write harmless prompts of your own",
            ));
        }
        let answers = match self.answers {
            Which::Own => BenignAnswers::Own,
            Which::Translated => BenignAnswers::Translated,
        };
        let prompts = read_benign(file)?;
        note_parallel(&prompts, session);
        Ok(Some(BenignPrompts::new(prompts, file, dominant, answers, self.share)?))
    }

    /// What of this decides the rows, for the report.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        if self.file.is_none() {
            return vec![];
        }
        let answers = match self.answers {
            Which::Own => "own",
            Which::Translated => "translated",
        };
        let share = self.share.map_or("all".to_owned(), |share| share.to_string());
        vec![("benign_answers", answers.to_owned()), ("benign_share", share)]
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| format!("expected a number above 0 and below 1, got {text}"))
}
