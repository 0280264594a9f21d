//! Where a run begins: in a new folder, where it was stopped, or at the end that it had.

use mpo_eval::TrainResults;
use mpo_objectives::Settings;
use mpo_progress::{Counted, Progress};
use mpo_trainer::{Identity, Kind, RunFolder, TrainConfig, TrainError};

use super::super::report;
use crate::failure::Failure;

/// Where a run begins.
#[derive(Debug)]
pub(super) enum Start {
    /// In a new folder.
    Anew,
    /// In the folder of a run that was started with the same settings.
    Again(RunFolder),
    /// In that of one which is given another end.
    Extended(RunFolder),
}

impl Start {
    /// Of a run with these settings, of which `deciding` decide what it comes to.
    ///
    /// # Errors
    /// If there is a run in a new run's folder, or one that was started with other settings in that of a run to resume.
    pub(super) fn new(
        config: &TrainConfig,
        deciding: &Settings,
        resumed: Option<RunFolder>,
    ) -> Result<Self, TrainError> {
        match resumed {
            None => RunFolder::check_new(&config.output, Kind::Train).map(|()| Self::Anew),
            Some(run) if run.ends_otherwise(deciding) => Ok(Self::Extended(run)),
            Some(run) => run.check_settings(deciding).map(|()| Self::Again(run)),
        }
    }

    /// The run that is gone on with.
    pub(super) fn run(&self) -> Option<&RunFolder> {
        match self {
            Self::Anew => None,
            Self::Again(run) | Self::Extended(run) => Some(run),
        }
    }

    /// What it found at its end, if it came to one.
    pub(super) fn results(&self, progress: &dyn Progress) -> Result<Option<TrainResults>, TrainError> {
        let Some(run) = self.run() else {
            return Ok(None);
        };
        let results = run.read_value::<TrainResults>(&run.results_file(), progress)?;
        // Those of an earlier end are of another model.
        let is_earlier = |steps| run.earlier_ends().last().is_some_and(|end| steps <= *end);
        Ok(results.filter(|results| !is_earlier(results.steps)))
    }

    /// The folder that the run is kept in from here on.
    pub(super) fn folder(self, config: &TrainConfig, identity: &Identity) -> Result<RunFolder, TrainError> {
        match self {
            Self::Anew => RunFolder::create(&config.output, Kind::Train, identity.clone()),
            Self::Again(run) | Self::Extended(run) => Ok(run),
        }
    }
}

/// Whether a finished run has its model, so that nothing is left to do; what a kill left undone after that is done here.
pub(super) fn is_whole(
    run: &RunFolder,
    results: &TrainResults,
    config: &TrainConfig,
    progress: &dyn Progress,
) -> Result<bool, Failure> {
    if !run.has_model(progress)? {
        progress.note(&format_args!(
            "{}: the trained model is gone; it is made again, from the last checkpoint if there is one",
            run.model_dir().display()
        ));
        return Ok(false);
    }
    if !run.report_file().exists() {
        report::write(run)?;
    }
    if config.save_only_model {
        run.remove_checkpoints()?;
    }
    let (path, steps) = (run.path().display(), Counted(results.steps, "step"));
    progress.note(&format_args!("{path}: finished already, after {steps}"));
    Ok(true)
}
