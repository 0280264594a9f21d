//! What a run came to, on the terminal.

use std::io;

use mpo_eval::{Approaches, Goal, TrainResults};

use crate::failure::Failure;
use crate::output;
use crate::paint::Paint;
use crate::table;

/// Prints what training changed, and what became of each language.
pub(super) fn print(results: &TrainResults, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(results);
    }
    output::line(table::before_and_after(results))?;
    match (Approaches::new(results), Goal::new(results)) {
        (Some(approaches), _) => {
            let verdicts = table::approaches(&approaches, Paint::on(&io::stdout()));
            output::own(format!("\n{verdicts}\n").as_bytes())
        }
        (None, Some(goal)) => output::line(format_args!("\n{goal}")),
        (None, None) => Ok(()),
    }
}
