//! `mpo-train report`: runs beside each other in one HTML file.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use mpo_eval::{RunReport, render};
use mpo_trainer::{Kind, RunFolder, is_marked, write_atomically};

use crate::cli::ReportArguments;
use crate::failure::Failure;
use crate::output;

const REPORT: &str = "report.html";

/// What every page of ours begins with, so that no other is replaced.
const MARK: &str = "<meta name=\"generator\" content=\"mpo-train\">";

pub(crate) fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    let path = match (&arguments.output, &arguments.runs[..]) {
        (Some(path), _) => path.clone(),
        (None, [run]) => return report_within(run),
        (None, _) => REPORT.into(),
    };
    check_page(&path)?;
    let runs = arguments.runs.iter().map(|folder| read(folder));
    let runs: Vec<RunReport> = runs.collect::<Result<_, _>>()?;
    write_atomically(&path, render(&runs)?.as_bytes())?;
    output::line(path.display())
}

/// A run's page, in its folder.
fn report_within(folder: &Path) -> Result<(), Failure> {
    let run = read(folder)?;
    let Some(held) = RunFolder::visit(folder)? else {
        return Err(Failure::new(
            format!(
                "{}: expected a folder with the mark of this version, mpo-train.json, to write the page into",
                folder.display()
            ),
            "name the page with --output",
        ));
    };
    write_atomically(&held.report_file(), render(&[run])?.as_bytes())?;
    output::line(held.report_file().display())
}

fn read(folder: &Path) -> Result<RunReport, Failure> {
    if is_marked(folder, Kind::Compare) {
        return Err(Failure::new(
            format!(
                "{}: expected a run or an evaluation, got a comparison",
                folder.display()
            ),
            format!(
                "its table is results.csv; name runs in it, such as {}",
                folder.join("runs/mpo/seed-42").display()
            ),
        ));
    }
    Ok(RunReport::read(folder)?)
}

/// A file that is not a page of ours is somebody's.
fn check_page(path: &Path) -> Result<(), Failure> {
    let mut beginning = vec![];
    let read = match fs::File::open(path) {
        Ok(file) => file.take(1024).read_to_end(&mut beginning),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    read.map_err(Failure::io(path))?;
    match String::from_utf8_lossy(&beginning).contains(MARK) {
        true => Ok(()),
        false => Err(Failure::new(
            format!(
                "{}: expected a new file, or a page of this program, got another file",
                path.display()
            ),
            "name another one with --output",
        )),
    }
}

/// Writes the page of one folder, which this process holds, into it.
pub(crate) fn write(folder: &Path) -> Result<(), Failure> {
    let page = render(&[RunReport::read(folder)?])?;
    Ok(write_atomically(&folder.join(REPORT), page.as_bytes())?)
}
