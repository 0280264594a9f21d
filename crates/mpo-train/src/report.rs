//! `mpo-train report`: runs beside each other in one HTML file.

use mpo_eval::{RunReport, render};
use mpo_trainer::write_atomically;

use crate::cli::ReportArguments;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    let runs: Vec<RunReport> = arguments
        .runs
        .iter()
        .map(|folder| RunReport::read(folder))
        .collect::<Result<_, _>>()?;
    let path = arguments
        .output
        .clone()
        .unwrap_or_else(|| match &arguments.runs[..] {
            [run] => run.join("report.html"),
            _ => "report.html".into(),
        });
    write_atomically(&path, render(&runs)?.as_bytes())?;
    output::line(path.display())
}
