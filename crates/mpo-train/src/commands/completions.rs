//! `mpo-train completions` and `mpo-train man`: what shells and `man` know of the command line.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

const COMPLETIONS: &str = "\
Examples:
  mpo-train completions bash > ~/.local/share/bash-completion/completions/mpo-train
  mpo-train completions zsh > ~/.zfunc/_mpo-train
  mpo-train completions fish > ~/.config/fish/completions/mpo-train.fish";

const MAN: &str = "\
Examples:
  mpo-train man --output ~/.local/share/man/man1";

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Write manual pages, one for each command
#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub(crate) struct ManArguments {
    /// Folder to write them into
    #[arg(long, short, value_name = "DIR", default_value = "man")]
    output: PathBuf,
}

pub(crate) fn completions(arguments: &CompletionsArguments, mut command: Command) -> Result<(), Failure> {
    let mut script = vec![];
    clap_complete::generate(arguments.shell, &mut command, "mpo-train", &mut script);
    output::own(&script)
}

pub(crate) fn man(arguments: &ManArguments, command: Command) -> Result<(), Failure> {
    let folder = &arguments.output;
    let failed = |error: std::io::Error| {
        Failure::new(format!("{}: {error}", folder.display()), "name a folder that can be written to with --output")
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    output::line(folder.display())
}
