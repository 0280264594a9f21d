//! The command `mpo-train`: alignment of open language models across languages by reward gaps.

#![cfg_attr(test, allow(clippy::unwrap_used))]
// The comments of arguments are their help: plain text, not Markdown.
#![allow(rustdoc::invalid_html_tags, rustdoc::bare_urls)]

mod apart;
mod arguments;
mod commands;
mod device;
mod disk;
mod duration;
mod failure;
mod flags;
mod memory;
mod miniature;
mod output;
mod paint;
mod planning;
mod progress;
mod ranks;
mod session;
mod signals;
mod table;
mod threads;
mod visible;
mod way;

use std::process::ExitCode;

use commands::Cli;
use failure::Failure;
use memory::Allocator;
use mpo_kernels::allocator::keep_freed_memory;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    keep_freed_memory();
    #[cfg(feature = "persistence")]
    mpo_kernels::keep_compiled();
    signals::survive_file_limits();
    match run(Cli::typed()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    threads::start()?;
    cli.run()
}
