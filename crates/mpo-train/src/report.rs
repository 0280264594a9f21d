//! `mpo-train report`: runs beside each other in one HTML file.

use std::path::Path;

use mpo_eval::{RunReport, render};
use mpo_trainer::write_atomically;

use crate::cli::ReportArguments;
use crate::failure::Failure;
use crate::output;

const REPORT: &str = "report.html";

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
            [run] => run.join(REPORT),
            _ => REPORT.into(),
        });
    write_atomically(&path, render(&runs)?.as_bytes())?;
    output::line(path.display())
}

/// Writes the page of one folder into it.
pub(crate) fn write(folder: &Path) -> Result<(), Failure> {
    let page = render(&[RunReport::read(folder)?])?;
    Ok(write_atomically(&folder.join(REPORT), page.as_bytes())?)
}
