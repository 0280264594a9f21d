//! `mpo-train score`: the reward gap of any model on any preference file, language by language.

use mpo_data::{ReadReport, TokenizeOptions, TruncationReport};
use mpo_eval::LanguageGap;
use mpo_trainer::TrainError;
use serde::Serialize;

use crate::cli::ScoreArguments;
use crate::data;
use crate::failure::Failure;
use crate::measure::EvalSet;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::session::Session;
use crate::table;

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
    let data = data::read(&arguments.data, &options, limit, None, &session)?;
    let tokenize = TokenizeOptions { truncation: arguments.truncation.limits()?, skip_bad_rows: options.skip_bad_rows };
    let (rows, truncation) = folder.tokenize(&data.rows, tokenize, &session)?;
    data::check_pairs(&arguments.data, &data.report, &rows)?;
    let dominant = data.report.dominant.or(options.dominant);
    let eval = EvalSet::new(&rows, rows.len(), dominant);
    let model = folder.load(&session.device, &session)?;
    // As many tokens at once as one pair may have: its prompt, and two answers.
    let at_once = arguments.truncation.max_tokens.saturating_mul(2);
    let reward_gap = eval.measure(&model, at_once, "scoring", &session).map_err(|failure| match failure {
        Failure::Train(TrainError::Interrupted) => Failure::Stopped,
        failure => failure,
    })?;
    let scores = Scores { reward_gap, data: data.report, truncation };
    match arguments.json {
        true => output::json(&scores),
        false => output::line(table::gaps(&scores.reward_gap, eval.dominant)),
    }
}
