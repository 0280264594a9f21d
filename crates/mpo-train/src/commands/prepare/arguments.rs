//! What rows may be asked for.

use std::path::PathBuf;

use clap::Args;
use mpo_data::Language;
use mpo_prepare::{RECIPES, RecipeDefinition};

use super::benign::BenignArguments;
use super::translator::TranslatorArguments;
use crate::arguments::{ModelArguments, RowArguments, SamplingArguments, answer_length, model, positive};
use crate::commands::eval::judge::JudgeArguments;

const EXAMPLES: &str = "\
Examples:
  mpo-train prepare --model Qwen/Qwen2.5-0.5B-Instruct --data unsafe.jsonl --languages zh,ja,ko,ar,bn,sw --output runs/rows
  mpo-train prepare --model runs/qwen/model --data unsafe.jsonl --languages sw --samples 8 --temperature 0.8 --output runs/rows
  mpo-train prepare --model Qwen/Qwen2.5-0.5B-Instruct --data unsafe.jsonl --languages sw,bn --output runs/rows \\
    --translator phrases --translator google --translator-key google=GOOGLE_API_KEY --back-translation 0.4
  mpo-train prepare --model Qwen/Qwen2.5-0.5B-Instruct --data unsafe.jsonl --languages sw,bn --output runs/rows \\
    --benign harmless.jsonl --benign-share 0.3
  mpo-train prepare --recipe lidr --model Qwen/Qwen2.5-0.5B-Instruct --data prompts.jsonl --languages sw,bn --output runs/lidr
  mpo-train train --model Qwen/Qwen2.5-0.5B-Instruct --data runs/rows/rows.jsonl --output runs/mpo";

/// Make rows from a model's own answers: answer, judge, translate, check
///
/// From prompts with bad answers it makes rows in two languages: the model's own refusal is the answer to prefer, and what the
/// data does not have in a target language is translated. The good answers of the data are not used. Other recipes make other
/// rows of the prompts. The same command again goes on where it was interrupted; answers and translations that are kept in the
/// folder are not asked for again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PrepareArguments {
    #[command(flatten)]
    pub(super) model: ModelArguments,
    /// Rows with a prompt and a bad answer: a file, a folder, or a name on the hub. For recipes without bad answers prompts will
    /// do: JSONL of {language, prompt}
    #[arg(long, value_name = "PATH|NAME")]
    pub(super) data: PathBuf,
    /// How rows are made
    #[arg(long, value_name = "NAME", default_value = "paper", value_parser = recipe, long_help = recipe_help())]
    pub(super) recipe: &'static RecipeDefinition,
    /// The model that --model was trained from, for recipes that ask both
    #[arg(long, value_name = "DIR|NAME", value_parser = model)]
    pub(super) reference: Option<String>,
    /// With lacomsa, icr and mapo: beside each row the data's own pair of the dominant language, so that MPO can be trained on them
    /// [default: rows of the target language alone]
    #[arg(long)]
    pub(super) dominant_pairs: bool,
    /// Languages to make rows in
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', required = true)]
    pub(super) languages: Vec<Language>,
    #[command(flatten)]
    pub(super) rows: RowArguments,
    #[command(flatten)]
    pub(super) benign: BenignArguments,
    /// Longest answer, in tokens; a longer one is cut after its last whole sentence
    #[arg(long, value_name = "N", default_value = "64", value_parser = answer_length)]
    pub(super) max_new_tokens: usize,
    /// Answers to a prompt at most, of which the first refusal is taken, or of which a recipe chooses; more than one are drawn
    /// at temperature 1 unless another is given [default: 1, or what the recipe draws]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) samples: Option<usize>,
    #[command(flatten)]
    pub(super) sampling: SamplingArguments,
    /// Prompts answered at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive)]
    pub(super) batch_size: usize,
    #[command(flatten)]
    pub(super) judge: JudgeArguments,
    #[command(flatten)]
    pub(super) translator: TranslatorArguments,
    /// How many times longer or shorter than expected a translation may be
    #[arg(long, value_name = "X", default_value = "2.5", value_parser = ratio)]
    pub(super) length_ratio: f64,
    /// Translate back, and drop what is less like its source than this: chrF, from 0 to 1 [default: nothing is translated back]
    #[arg(long, value_name = "X", value_parser = score)]
    pub(super) back_translation: Option<f64>,
    /// Folder for the rows and the report
    #[arg(long, short, value_name = "DIR")]
    pub(super) output: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

fn recipe(name: &str) -> Result<&'static RecipeDefinition, String> {
    RecipeDefinition::of(name).map_err(|error| error.to_string())
}

fn recipe_help() -> String {
    let mut help = String::from("How rows are made; not a recipe of settings, which `train` has:\n");
    for recipe in RECIPES {
        help += &format!("  {:<8} {}\n", recipe.name, recipe.help);
    }
    help
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio: &f64| *ratio >= 1.0 && ratio.is_finite());
    ratio.ok_or_else(|| format!("expected a number of at least 1, got {text}"))
}

fn score(text: &str) -> Result<f64, String> {
    let score = text.parse().ok().filter(|score: &f64| (0.0..=1.0).contains(score));
    score.ok_or_else(|| format!("expected a number from 0 to 1, got {text}"))
}
