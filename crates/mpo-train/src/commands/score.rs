//! `mpo-train score`: the reward gap of any model on any preference file, language by language.

use std::path::PathBuf;

use clap::Args;
use mpo_chat::ModelFolder;
use mpo_data::{ReadReport, TokenizeOptions, TruncationReport};
use mpo_eval::{EvalSet, LanguageGap};
use mpo_trainer::{TrainError, check_pairs, read_rows};
use serde::Serialize;

use crate::arguments::{ModelArguments, RowArguments, TruncationArguments};
use crate::failure::Failure;
use crate::output;
use crate::session::Session;
use crate::table;

const EXAMPLES: &str = "\
Examples:
  mpo-train score --model runs/qwen/model --data rows.json
  mpo-train score --model Qwen/Qwen2.5-0.5B-Instruct --data pairs.jsonl --rows 70 --json
  mpo-train score --model runs/qwen/model --data pairs.parquet --columns prompt=question,chosen=good,rejected=bad --language sw";

/// Measure a model's reward gap in each language of a preference file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScoreArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Preference rows: a file, a folder of files, or owner/name of a data set on the hub
    #[arg(long, value_name = "PATH|NAME")]
    data: PathBuf,
    #[command(flatten)]
    rows: RowArguments,
    #[command(flatten)]
    truncation: TruncationArguments,
    /// Print the gaps and the report on the data as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Scores {
    reward_gap: Vec<LanguageGap>,
    data: ReadReport,
    truncation: TruncationReport,
}

pub(crate) fn run(arguments: &ScoreArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.model.device, quiet)?;
    session.catch_interrupts()?;
    let folder = ModelFolder::open(&arguments.model.model, &arguments.model.template_options(), &session)?;
    let (options, limit) = (arguments.rows.options(), arguments.rows.rows);
    let data = read_rows(&arguments.data, &options, limit, None, &session)?;
    let tokenize = TokenizeOptions { truncation: arguments.truncation.limits()?, skip_bad_rows: options.skip_bad_rows };
    let (rows, truncation) = folder.tokenize(&data.rows, tokenize, &session)?;
    check_pairs(&arguments.data, &data.report, &rows)?;
    let dominant = data.report.dominant.or(options.dominant);
    let eval = EvalSet::new(&rows, rows.len(), dominant);
    let model = arguments.model.load(&folder, &session)?;
    // As many tokens at once as one pair may have: its prompt, and two answers.
    let at_once = arguments.truncation.max_tokens.saturating_mul(2);
    let reward_gap = eval.measure(&model, at_once, "scoring", &session).map_err(|error| match error {
        TrainError::Interrupted => Failure::Stopped,
        error => error.into(),
    })?;
    let scores = Scores { reward_gap, data: data.report, truncation };
    if arguments.json { output::json(&scores) } else { output::line(table::gaps(&scores.reward_gap, eval.dominant)) }
}
