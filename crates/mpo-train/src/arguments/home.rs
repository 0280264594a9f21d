//! `~/` in what is typed: a shell puts the user's home in its place at the beginning of a word, and not in quotes or behind an
//! equals sign.

use std::any::TypeId;
use std::path::PathBuf;

use clap::Command;
use clap::builder::{PathBufValueParser, TypedValueParser};
use mpo_data::{DataError, TemplateChoice};
use mpo_trainer::at_home;

/// The command, and those below it, where every path that begins with `~/` lies in the user's home.
pub(crate) fn with_home(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        if argument.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
            argument.value_parser(PathBufValueParser::new().map(at_home))
        } else {
            argument
        }
    });
    command.mut_subcommands(with_home)
}

/// Reads a chat template, which may be a file.
pub(crate) fn template(text: &str) -> Result<TemplateChoice, DataError> {
    Ok(match text.parse::<TemplateChoice>()? {
        TemplateChoice::File(path) => TemplateChoice::File(at_home(path)),
        named => named,
    })
}

/// Reads the name of a model, which may be a path.
pub(crate) fn model(text: &str) -> Result<String, String> {
    let path = at_home(text.into()).into_os_string();
    path.into_string().map_err(|path| format!("expected a path in Unicode, got {}", path.display()))
}
