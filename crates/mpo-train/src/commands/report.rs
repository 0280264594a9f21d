//! `mpo-train report`: runs beside each other in one HTML file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use mpo_eval::{RunReport, render, render_comparison};
use mpo_trainer::{CHECKPOINTS, Kind, REPORT_FILE, RunFolder, TrainError, check_page, is_marked, write_atomically};

use crate::apart::{OUTPUT, check_apart};
use crate::failure::Failure;
use crate::output;
use crate::visible;

const EXAMPLES: &str = "\
Examples:
  mpo-train report runs/qwen
  mpo-train report evals/base runs/mpo runs/dpo --output comparison.html";

/// Write one HTML page about a run, or several beside each other
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReportArguments {
    /// Run folders or folders of evaluations, or one of a comparison
    #[arg(value_name = "DIR", required = true)]
    runs: Vec<PathBuf>,
    /// The page [default: report.html, in the run folder if there is one run and nothing is at work there]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &ReportArguments, quiet: bool) -> Result<(), Failure> {
    let path = match (&arguments.output, &arguments.runs[..]) {
        (Some(path), _) => path.clone(),
        (None, [run]) => return report_within(run, quiet),
        (None, _) => REPORT_FILE.into(),
    };
    check(&path)?;
    for folder in &arguments.runs {
        check_within(&path, folder)?;
    }
    write_atomically(&path, page(&arguments.runs, quiet)?.as_bytes())?;
    output::line(path.display())
}

/// A run's page: in its folder, or in this one while a process is at work there.
fn report_within(folder: &Path, quiet: bool) -> Result<(), Failure> {
    let page = page(&[folder.to_owned()], quiet)?;
    let (held, path) = match RunFolder::visit(folder) {
        Ok(None) => {
            return Err(Failure::new(
                format!(
                    "{}: expected a folder with the mark of this version, mpo-train.json, to write the page into",
                    folder.display()
                ),
                "name the page with --output",
            ));
        }
        Err(TrainError::Locked { .. }) => (None, REPORT_FILE.into()),
        held => (held?, folder.join(REPORT_FILE)),
    };
    check(&path)?;
    write_atomically(&path, page.as_bytes())?;
    drop(held);
    output::line(path.display())
}

/// The page of a comparison, or of runs and evaluations beside each other.
fn page(folders: &[PathBuf], quiet: bool) -> Result<String, Failure> {
    if let [folder] = folders
        && is_marked(folder, Kind::Compare)
    {
        return Ok(render_comparison(folder)?);
    }
    let runs = folders.iter().map(|folder| read(folder, quiet));
    let runs: Vec<RunReport> = runs.collect::<Result<_, _>>()?;
    Ok(render(&runs)?)
}

/// A run as the page shows it. What is not as it was written is told of.
fn read(folder: &Path, quiet: bool) -> Result<RunReport, Failure> {
    if is_marked(folder, Kind::Compare) {
        return Err(Failure::new(
            format!("{}: expected runs or evaluations beside each other, got a comparison", folder.display()),
            format!(
                "a comparison has a page of its own; name runs in it, such as {}",
                folder.join("runs/mpo/seed-42").display()
            ),
        ));
    }
    let run = RunReport::read(folder)?;
    for note in run.damaged().iter().filter(|_| !quiet) {
        // A closed stderr leaves nobody to tell.
        _ = writeln!(io::stderr(), "{}: {}", run.name, visible::lines(note));
    }
    Ok(run)
}

/// A page in a folder of which every file is known would be taken for damage.
fn check_within(page: &Path, run: &Path) -> Result<(), Failure> {
    let folder = page.parent().filter(|dir| !dir.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    ["model", CHECKPOINTS, "reference"].iter().try_for_each(|name| {
        let own = format!("the run's {name}/");
        check_apart((OUTPUT, folder), (&own, &run.join(name)))
    })
}

/// A file that is not a page of ours is somebody's.
fn check(path: &Path) -> Result<(), Failure> {
    check_page(path).map_err(|error| match error {
        TrainError::Foreign { path } => Failure::new(
            format!("{}: expected a new file, or a page of this program, got another file", path.display()),
            "name another one with --output",
        ),
        error => error.into(),
    })
}

/// Writes the page of one folder, which this process holds, into it.
pub(crate) fn write(held: &RunFolder) -> Result<(), Failure> {
    let page = render(&[RunReport::read(held.path())?])?;
    Ok(held.write(&held.report_file(), page.as_bytes())?)
}
