//! `mpo-train difference`: whether a model does better than another one, or chance alone could make it look so.

use std::path::{Path, PathBuf};

use clap::Args;
use mpo_data::Language;
use mpo_eval::{Evaluated, MeasureDifference, differences};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::table;

const EXAMPLES: &str = "\
Examples:
  mpo-train difference evals/base runs/mpo
  mpo-train difference evals/base evals/mpo-seed-1 evals/mpo-seed-2 evals/mpo-seed-3 --dominant en
  mpo-train difference evals/base runs/mpo --json";

/// Tell whether a model does better than another one, with intervals: both were evaluated on the same questions
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DifferenceArguments {
    /// Folder of the evaluation to compare with, such as that of the untouched model
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// Folder of the other's, or several of one method: its runs with other seeds
    #[arg(value_name = "AFTER", required = true)]
    after: Vec<PathBuf>,
    /// The language that means over languages leave out [default: that of the first evaluation]
    #[arg(long, value_name = "LANGUAGE")]
    dominant: Option<Language>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Differences<'a> {
    before: &'a Path,
    after: &'a [PathBuf],
    dominant: Option<Language>,
    differences: Vec<MeasureDifference>,
}

pub(crate) fn run(arguments: &DifferenceArguments) -> Result<(), Failure> {
    let before = read(&arguments.before)?;
    let after: Vec<Evaluated> = arguments.after.iter().map(|folder| read(folder)).collect::<Result<_, _>>()?;
    let dominant = arguments.dominant.or(before.evaluation.dominant);
    let found = differences(&before, &after, dominant)?;
    if arguments.json {
        let (before, after) = (&*arguments.before, &*arguments.after);
        return output::json(&Differences { before, after, dominant, differences: found });
    }
    output::line(table::differences(&found, after.len(), dominant))
}

/// The evaluation in a folder, of which nothing may be damaged.
fn read(folder: &Path) -> Result<Evaluated, Failure> {
    let evaluated = Evaluated::find(folder)?.ok_or_else(|| {
        Failure::new(
            format!("{}: expected the folder of an evaluation, got one without evaluation.json", folder.display()),
            "name the --output of `mpo-train eval`, or a run folder with eval/ in it",
        )
    })?;
    match evaluated.damaged.first() {
        None => Ok(evaluated),
        Some(damage) => Err(Failure::new(
            format!("{}: expected answers as they were written, got others: {damage}", folder.display()),
            "give the `eval` command again: answers that are not damaged are kept",
        )),
    }
}
