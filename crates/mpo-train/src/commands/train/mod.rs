//! `mpo-train train`: from a configuration to an aligned model, and what training changed.

mod align;
mod fit;
mod follow;
mod inputs;
mod run;
mod start;
mod told;

use std::path::PathBuf;

use clap::Args;
use mpo_trainer::{Kind, RunFolder, TrainError, TrainOptions, is_marked};

use crate::arguments::bytes;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::output;
use crate::ranks::Ranks;
use follow::follow;
use run::{Ask, run_with};

const EXAMPLES: &str = "\
Examples:
  mpo-train train --model Qwen/Qwen2.5-7B-Instruct --recipe qwen2.5-7b --data rows.json --output runs/qwen
  mpo-train train --config run.yaml --lr 1e-6
  mpo-train train --config run.yaml --eval-data held-out.json --eval-every 20 --early-stop 3
  mpo-train train --config run.yaml --eval-split 0.1 --dry-run
  mpo-train train --model models/llama --data rows.json --output runs/llama --print-config > run.yaml
  mpo-train train --resume --output runs/qwen
  mpo-train train --resume --output runs/qwen --epochs 4";

/// Train a model with MPO, and measure its reward gaps before and after
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArguments {
    /// Configuration file (YAML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Continue the run in the output folder, with its settings
    #[arg(long)]
    resume: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Print the complete configuration as YAML and do nothing else
    #[arg(long)]
    print_config: bool,
    /// Read and check everything, say what the run would take, and train and write nothing
    #[arg(long, conflicts_with_all = ["json", "print_config"])]
    dry_run: bool,
    /// Memory that the run may take, such as 24GB [default: the device's]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    #[command(flatten)]
    options: Flags,
}

pub(crate) fn run(arguments: TrainArguments, quiet: bool) -> Result<(), Failure> {
    let ranks = Ranks::join()?;
    let done = if ranks.all().is_first() { lead(arguments, quiet, &ranks) } else { follow(&ranks) };
    ranks.end(done)
}

/// The part of the first rank, or of the only one: what is asked for, the folder, and what is said of it all.
fn lead(arguments: TrainArguments, quiet: bool, ranks: &Ranks) -> Result<(), Failure> {
    let TrainArguments { config: file, resume, json, print_config, dry_run, memory, options } = arguments;
    let mut options = options.0;
    if let Some(file) = &file {
        options = options.or(TrainOptions::from_file(file)?);
    }
    // Before what an earlier start was given, so that another recipe than then is noticed.
    options = options.with_recipe()?;
    let resumed = if resume {
        let run = RunFolder::open(&output_folder(&options)?, Kind::Train)?;
        if run.config_file().exists() {
            options = options.or(TrainOptions::from_file(&run.config_file())?);
        }
        Some(run)
    } else {
        None
    };
    let config = options.resolve().map_err(|error| match &resumed {
        Some(run) => unsettled(run, error),
        None => error.into(),
    })?;
    if print_config {
        return output::line(config.to_yaml()?.trim_end());
    }
    let output = config.output.clone();
    let ask = Ask { memory, dry_run, json, quiet };
    let trained = run_with(config, resumed, &ask, ranks);
    // A start that failed left nothing to resume.
    trained.map_err(|failure| if is_marked(&output, Kind::Train) { failure } else { failure.without_resume() })
}

fn output_folder(options: &TrainOptions) -> Result<PathBuf, TrainError> {
    let missing = || TrainError::setting("output", "the folder of the run to resume", "nothing");
    options.output.clone().ok_or_else(missing)
}

/// Why a run cannot be resumed with settings that lack something: killed early, it has not written them down.
fn unsettled(run: &RunFolder, error: TrainError) -> Failure {
    let file = run.config_file();
    if file.exists() {
        error.into()
    } else {
        Failure::new(
            format!(
                "{}: expected the settings of the run, got no such file: the run was stopped before it was written; {error}",
                file.display()
            ),
            "give --model, --data and the other settings again beside --resume",
        )
    }
}
