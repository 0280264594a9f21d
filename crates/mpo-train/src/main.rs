//! The command `mpo-train`: alignment of open language models across languages by reward gaps.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod apart;
mod chat;
mod cli;
mod compare;
mod data;
mod device;
mod devices;
mod eval;
mod exam;
mod failure;
mod generate;
mod measure;
mod memory;
mod miniature;
mod model_folder;
mod output;
mod progress;
mod report;
mod results;
mod run;
mod score;
mod session;
mod signals;
mod table;
mod thoughts;
mod threads;
mod train;
mod visible;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};

use cli::{Cli, Command};
use failure::Failure;
use memory::Allocator;
use mpo_kernels::allocator::keep_freed_memory;
use session::Session;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    keep_freed_memory();
    signals::survive_file_limits();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let quiet = cli.quiet;
    threads::start()?;
    let Some(command) = cli.command else {
        let session = Session::new(cli.miniature.device, quiet)?;
        session.catch_interrupts()?;
        return miniature::run(&cli.miniature, &session);
    };
    if cli.miniature.any_given() {
        let message = "--output, --json and --device belong after the subcommand";
        Cli::command().error(ErrorKind::ArgumentConflict, message).exit();
    }
    match command {
        Command::Train(arguments) => train::run(*arguments, quiet),
        Command::Compare(arguments) => compare::run(*arguments, quiet),
        Command::Score(arguments) => score::run(&arguments, quiet),
        Command::Eval(arguments) => eval::run(&arguments, quiet),
        Command::Report(arguments) => report::run(&arguments, quiet),
        Command::Generate(arguments) => generate::run(&arguments, quiet),
        Command::Chat(arguments) => chat::run(&arguments, quiet),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::MiniatureModel(arguments) => {
            let session = Session::new(arguments.device, quiet)?;
            session.catch_interrupts()?;
            miniature::build(&arguments.output, &session)
        }
    }
}
