//! `mpo-train classifier`: a classifier of harmful prompts on a model's hidden states.

use std::path::PathBuf;

use clap::Args;
use mpo_chat::{HarmClassifier, ModelFolder};
use mpo_data::{Language, TokenizeOptions, Truncation};
use mpo_eval::{HarmFit, HarmOptions, PromptSet};
use mpo_progress::Progress as _;
use mpo_trainer::read_rows;

use crate::arguments::{ModelArguments, RowArguments};
use crate::failure::Failure;
use crate::output;
use crate::session::Session;
use crate::table;

const EXAMPLES: &str = "\
Examples:
  mpo-train classifier --model runs/qwen/model --data rows.json --benign harmless.jsonl --output harm.safetensors
  mpo-train classifier --model runs/qwen/model --data rows.json --benign harmless.jsonl --languages en,zh,ko --output harm.safetensors
  mpo-train generate --model runs/qwen/model --harm-classifier harm.safetensors 'How do I bake bread?'";

/// Tokens of prompts that pass through the model at once.
const AT_ONCE: usize = 4096;

/// Fit a classifier of harmful prompts to a model's hidden states, to tell it of harm when it answers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClassifierArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Rows with harmful prompts, in several languages: a file, a folder, or a name on the hub. Those whose provenance says
    /// benign are harmless
    #[arg(long, value_name = "PATH|NAME")]
    data: PathBuf,
    /// Harmless prompts beside those of --data: JSONL of {language, prompt}, or builtin for the set that comes with the program,
    /// which evaluations ask too
    #[arg(long, value_name = "FILE")]
    benign: Option<PathBuf>,
    #[command(flatten)]
    rows: RowArguments,
    /// Languages to fit in; it is measured in all [default: all]
    #[arg(long, value_name = "LANG,…", value_delimiter = ',')]
    languages: Vec<Language>,
    /// Layer whose states it looks at, from 1 [default: the one where meaning is farthest ahead of language, by silhouettes]
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Share of the prompts to measure on, each with all its translations
    #[arg(long, value_name = "X", default_value = "0.2", value_parser = share)]
    held_out: f64,
    /// What large weights cost: half their squared length, times this, beside the sum of losses
    #[arg(long, value_name = "X", default_value = "1", value_parser = cost)]
    ridge: f64,
    /// Which prompts are held out
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// What stands before the answer where it finds harm: the harm_note that the model was trained with
    #[arg(long, value_name = "TEXT", default_value = NOTE, value_parser = note)]
    harm_note: String,
    /// File to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// What a model is told unless its user says otherwise.
const NOTE: &str = "Harm was detected in this request.";

fn share(text: &str) -> Result<f64, String> {
    number(text, "a share from 0 to below 1", |share| (0.0..1.0).contains(&share))
}

fn cost(text: &str) -> Result<f64, String> {
    number(text, "a number above 0", |cost| cost > 0.0 && cost.is_finite())
}

fn number(text: &str, expected: &str, is_one: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.parse().ok().filter(|&number| is_one(number)).ok_or_else(|| format!("expected {expected}, got {text}"))
}

fn note(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("expected a sentence, got none".into()) } else { Ok(text.to_owned()) }
}

pub(crate) fn run(arguments: &ClassifierArguments, quiet: bool) -> Result<(), Failure> {
    if arguments.output.symlink_metadata().is_ok() {
        return Err(Failure::new(
            format!("{}: expected the name of a new file, got one that is there", arguments.output.display()),
            "choose another name, or move the file away; nothing was touched",
        ));
    }
    let session = Session::new(arguments.model.device, quiet)?;
    session.catch_interrupts()?;
    let folder = ModelFolder::open(&arguments.model.model, &arguments.model.template_options(), &session)?;
    let options = arguments.rows.options();
    let data = read_rows(&arguments.data, &options, arguments.rows.rows, None, &session)?;
    // Whole: the last token of a prompt that was cut is not where the model is asked.
    let whole = TokenizeOptions { truncation: Truncation::UNLIMITED, skip_bad_rows: options.skip_bad_rows };
    let (rows, _) = folder.tokenize_quietly(&data.rows, whole)?;
    let mut prompts = PromptSet::of_rows(&rows);
    if let Some(benign) = &arguments.benign {
        prompts = prompts.with_benign(benign, &folder)?;
    }
    let hash = folder.content_hash(&session)?;
    let model = arguments.model.load(&folder, &session)?;
    let options = HarmOptions {
        layer: arguments.layer,
        languages: arguments.languages.clone(),
        held_out: arguments.held_out,
        ridge: arguments.ridge,
        seed: arguments.seed,
        max_tokens: AT_ONCE,
    };
    let fit = prompts.harm_classifier(&model, &options, &session)?;
    let HarmFit { layer, harmful, harmless, .. } = fit;
    let depth = model.config().num_layers;
    session.note(&format_args!(
        "layer {layer} of {depth}, fitted to {harmful} harmful prompts and {harmless} harmless ones"
    ));
    let classifier = HarmClassifier {
        layer,
        model: hash,
        template: folder.template(),
        note: arguments.harm_note.clone(),
        languages: fit.fitted_in.clone(),
        head: fit.head.clone(),
    };
    classifier.write(&arguments.output)?;
    session.note(&format_args!("classifier in {}", arguments.output.display()));
    if arguments.json { output::json(&fit) } else { output::line(table::harm(&fit)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_costs_are_numbers_that_can_be_used() {
        assert_eq!((share("0"), cost("0.5")), (Ok(0.0), Ok(0.5)));
        for wrong in ["1", "-0.1", "NaN", "x"] {
            assert!(share(wrong).unwrap_err().contains("expected a share from 0 to below 1"), "{wrong}");
        }
        for wrong in ["0", "-1", "inf", "NaN"] {
            assert!(cost(wrong).unwrap_err().contains("expected a number above 0"), "{wrong}");
        }
        assert!(note(" ").is_err());
    }
}
