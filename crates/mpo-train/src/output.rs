//! Standard output, where results go and nothing else does. What a model or a file put into them acts on no terminal.

use std::fmt::Display;
use std::io::{self, Write};

use mpo_chat::{Answering, TextAnswer};
use serde::Serialize;

use crate::failure::Failure;
use crate::visible;

/// Prints a line or several.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    written(visible::lines(&text))
}

/// Prints a text of the program's own, as it is.
pub(crate) fn own(text: &[u8]) -> Result<(), Failure> {
    io::stdout().lock().write_all(text).map_err(Failure::Output)
}

fn written(line: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{line}").map_err(Failure::Output)
}

/// Answers a prompt, prints the answer while it grows, and returns it; it is cut where the user asks to stop.
pub(crate) fn growing(answering: &Answering<'_>, prompt: &[u32]) -> Result<TextAnswer, Failure> {
    let answer = answering.growing(prompt, piece)?;
    written("")?;
    Ok(answer)
}

/// Prints a piece of a line, at once.
fn piece(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{}", visible::lines(&text)).and_then(|()| stdout.flush()).map_err(Failure::Output)
}

/// Prints a value as JSON for people and programs.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    written(visible::json(&text))
}

/// Prints a value as JSON on one line.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Output(error.into()))?;
    written(visible::json(&text))
}
