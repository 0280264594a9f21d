//! `mpo-train miniature-model`: the model that the program carries, made again from nothing.

use std::path::PathBuf;

use clap::Args;
use mpo_trainer::DeviceChoice;

use crate::failure::Failure;
use crate::flags::devices;
use crate::miniature;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  mpo-train miniature-model --output miniature";

/// Make the miniature's model again, by supervised fine-tuning
#[derive(Debug, Args)]
#[command(hide = true, alias = "build-miniature", after_help = EXAMPLES)]
pub(crate) struct MiniatureModelArguments {
    /// Folder for the model
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = devices())]
    device: DeviceChoice,
}

pub(crate) fn run(arguments: &MiniatureModelArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.device, quiet)?;
    session.catch_interrupts()?;
    miniature::build(&arguments.output, &session)
}
