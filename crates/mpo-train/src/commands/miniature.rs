//! `mpo-train` without a subcommand: the paper in miniature, measured, aligned, measured again.

use std::path::PathBuf;

use clap::Args;
use mpo_eval::compare::Marks;
use mpo_eval::{Change, MiniatureLanguage, MiniatureResults, base};
use mpo_progress::Progress as _;
use mpo_trainer::{DeviceChoice, Identity, Kind, Run, RunFolder, TrainOptions};

use super::report;
use crate::failure::Failure;
use crate::flags::devices;
use crate::miniature::{Miniature, PROMPTS};
use crate::output;
use crate::progress::Lines;
use crate::session::Session;
use crate::table;

/// Those of the command without a subcommand.
#[derive(Debug, Args)]
pub(crate) struct MiniatureArguments {
    /// Run folder [default: runs/miniature]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = devices())]
    device: DeviceChoice,
}

impl MiniatureArguments {
    /// Whether anything was asked of the miniature.
    pub(crate) fn any_given(&self) -> bool {
        self.output.is_some() || self.json || self.device != DeviceChoice::Auto
    }
}

/// Runs it and shows the table. Nothing of it is resumed: it takes a minute, and begins anew each time.
pub(crate) fn run(arguments: &MiniatureArguments, quiet: bool) -> Result<(), Failure> {
    let session = Session::new(arguments.device, quiet)?;
    session.catch_interrupts()?;
    align(arguments, &session).map_err(Failure::without_resume)
}

fn align(arguments: &MiniatureArguments, session: &Session) -> Result<(), Failure> {
    let output = arguments.output.clone().unwrap_or_else(|| PathBuf::from("runs/miniature"));
    let run = RunFolder::begin_anew(&output, Kind::Miniature, Identity::default())?;
    let miniature = Miniature::new(&run, session)?;
    let config = TrainOptions { device: Some(arguments.device), ..miniature.options.clone() }.resolve()?;
    run.start(&run.config_file(), config.to_yaml()?.as_bytes())?;
    let folder = &miniature.folder;
    let model = folder.load(&session.device.clone().autodiff(), session)?;
    let (rows, _) = folder.tokenize(&miniature.rows, config.tokenize_options()?, session)?;
    session.note(&format_args!(
        "{} rows in {} target languages; run folder {}",
        rows.len(),
        rows.len() / PROMPTS,
        output.display()
    ));
    let exam = miniature.test()?;
    let before = exam.examine(&model, folder, "measuring before", session)?;
    let hash = folder.content_hash(session)?;
    let work = Run { config: &config, folder: &run, base: base(folder, &hash), prompts: None, watch: None };
    let mut lines = Lines::new(session);
    let trained = work.train(model, rows, session, &mut |event| lines.event(event))?;
    work.save(&trained.model, None, session)?;
    let after = exam.examine(&trained.model, folder, "measuring after", session)?;
    let results = MiniatureResults {
        dominant: miniature.dominant,
        languages: before.iter().zip(&after).map(|(before, after)| (before.language, changed(before, after))).collect(),
    };
    run.write_value(&run.results_file(), &results)?;
    report::write(&run)?;
    session.note(&format_args!("report in {}", run.report_file().display()));
    if arguments.json { output::json(&results) } else { output::line(table::miniature(&results)) }
}

fn changed(before: &Marks, after: &Marks) -> MiniatureLanguage {
    let change = |of: fn(&Marks) -> f64| Change { before: of(before), after: of(after) };
    MiniatureLanguage {
        reward_gap: change(|marks| marks.reward_gap),
        refusal_rate: change(|marks| marks.refusal_rate.unwrap_or(f64::NAN)),
        benign_answer_rate: change(|marks| marks.benign_answer_rate.unwrap_or(f64::NAN)),
    }
}
