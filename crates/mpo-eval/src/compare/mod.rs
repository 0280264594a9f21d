//! Several methods on one model and one data set, each from the same start, measured on rows that none was trained on.
//!
//! A [`Subject`] is what they are compared on, a [`Request`] says which runs there are, and [`Compare`] makes them.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use mpo_eval::compare::{Compare, Request, Subject, entrants};
//! use mpo_progress::Silent;
//! use mpo_trainer::TrainOptions;
//!
//! let request = Request { methods: vec!["mpo".into(), "dpo".into()], seeds: vec![1, 2], ..Request::default() };
//! let options = TrainOptions {
//!     model: Some("models/qwen".into()),
//!     data: Some("rows.jsonl".into()),
//!     output: Some("runs/compare".into()),
//!     ..TrainOptions::default()
//! };
//! let subject = Subject::read(options, &request, &Silent)?;
//! let comparison = Compare {
//!     subject: &subject,
//!     request: &request,
//!     hyper_parameters: &Default::default(),
//!     save_models: false,
//!     device: &Device::default(),
//!     progress: &Silent,
//! }
//! .run(entrants(&request, "sw".parse()?)?, "runs/compare".as_ref(), None, &mut |run| println!("{run:?}"))?;
//! println!("{:?}", comparison.methods);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod exam;
mod plan;
mod request;
mod results;
mod runs;
mod subject;

use std::path::Path;
use std::time::Duration;

use burn::tensor::Device;
use mpo_progress::Progress;
use mpo_trainer::{HyperParameters, Identity, Kind, RunFolder, TrainError, TrainOptions};

use crate::error::EvalError;
use crate::report::render_comparison;
use runs::Comparing;

pub use crate::prompts::Prompt;
pub use exam::{Exam, Marks, TellsRefusal};
pub use plan::{Dimension, Entrant, Point, entrants};
pub use request::Request;
pub use results::{Comparison, MethodResult, RunResult, SeedResult, Tried, mean};
pub use subject::Subject;

/// A comparison about to be made.
pub struct Compare<'a> {
    /// What methods are compared on.
    pub subject: &'a Subject,
    /// Which runs are asked for.
    pub request: &'a Request,
    /// Hyper-parameters of every method that has them.
    pub hyper_parameters: &'a HyperParameters,
    /// Whether to keep every run's model.
    pub save_models: bool,
    /// Where to compute, without autodiff.
    pub device: &'a Device,
    /// Who is told, and may stop it.
    pub progress: &'a dyn Progress,
}

/// A run that is about to be made, or was made earlier.
#[derive(Debug, Clone, Copy)]
pub struct NextRun<'a> {
    /// Its number, from one.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// Its method, or the ablation of one.
    pub name: &'a str,
    /// What a grid tries with it; empty without one.
    pub settings: &'a str,
    /// Its seed.
    pub seed: u64,
    /// The time that it and those behind it take at the present pace; none before the first is made.
    pub left: Option<Duration>,
}

/// The settings that the comparison in a folder was started with; none are set if it was killed before they were written.
///
/// # Errors
/// If they cannot be read.
pub fn started(held: &RunFolder) -> Result<TrainOptions, TrainError> {
    if !held.config_file().exists() {
        return Ok(TrainOptions::default());
    }
    let mut started = TrainOptions::from_file(&held.config_file())?;
    // The reference's numbers are where the folder is, even after it was moved.
    let within = started.output.as_ref().map(|path| path.join("reference"));
    if started.reference_cache == within {
        started.reference_cache = None;
    }
    Ok(started)
}

impl Compare<'_> {
    /// Makes every run of `entrants` that the folder `output` does not hold yet, and keeps in it what was found, beside what
    /// an earlier call found. `held` is the folder if it was opened already; else it is new. `on_run` is told of each run.
    ///
    /// # Errors
    /// If the folder is of another comparison, a run has settings that make no sense, or the work is stopped: then the same
    /// call goes on.
    pub fn run(
        &self,
        mut entrants: Vec<Entrant>,
        output: &Path,
        held: Option<RunFolder>,
        on_run: &mut dyn FnMut(NextRun<'_>),
    ) -> Result<Comparison, EvalError> {
        self.complete(&mut entrants)?;
        let Self { subject, progress, .. } = *self;
        let model_hash = subject.folder.content_hash(progress)?;
        let (test, validation) = (subject.test.digest(), subject.validation.digest());
        let identity = Identity::default()
            .with("model", &*model_hash)
            .with("rows to measure on", &*test)
            .with("rows to choose settings by", &*validation);
        let held = match held {
            Some(held) => held,
            None => RunFolder::create(output, Kind::Compare, identity.clone())?,
        };
        if held.config_file().exists() {
            held.check(&identity)?;
        } else {
            held.identify(identity)?;
            let settings = TrainOptions { hyper_parameters: self.hyper_parameters.clone(), ..subject.options.clone() };
            held.start(&held.config_file(), settings.to_yaml()?.as_bytes())?;
            self.request.keep(&held)?;
        }
        let work = Comparing {
            of: self,
            output,
            held: &held,
            start: digest_of(&[&test, &model_hash]),
            exam: digest_of(&[&test, &validation, &model_hash]),
            model_hash,
        };
        let earlier = work.earlier()?;
        let comparison = work.compare(&entrants, on_run);
        if let Err(EvalError::Train(TrainError::Interrupted)) = comparison {
            held.keep();
        }
        let comparison = comparison?.with(earlier);
        held.write_value(&held.results_file(), &comparison)?;
        let csv = output.join("results.csv");
        held.write_table(&csv, comparison.to_csv().as_bytes())?;
        let (results, page) = (held.results_file(), held.report_file());
        held.write(&page, render_comparison(output)?.as_bytes())?;
        progress.note(&format_args!("{}, {} and {}", results.display(), csv.display(), page.display()));
        Ok(comparison)
    }

    /// Gives every run the settings that all share, and checks that they make a run: nothing is trained before. Where rows of
    /// several files are tried, a method that is for rows of another kind than a file's is left out.
    fn complete(&self, entrants: &mut Vec<Entrant>) -> Result<(), EvalError> {
        let mut told = vec![];
        let mut unfit: Vec<(String, EvalError)> = vec![];
        for entrant in &mut *entrants {
            let mut own = self.hyper_parameters.clone();
            own.0.retain(|key, _| entrant.has(key));
            for point in &mut entrant.points {
                let weaker = TrainOptions { hyper_parameters: own.clone(), ..self.subject.options.clone() };
                point.options = point.options.clone().or(weaker);
                let config = point.options.clone().resolve()?;
                let folder = &self.subject.folder;
                config.check_adapter(&folder.config, folder.adapter.as_ref())?;
                let cut = match self.subject.rows(&config) {
                    Ok((_, cut)) => cut,
                    Err(error @ EvalError::Train(TrainError::WrongRows { .. }))
                        if !self.request.data_sets().is_empty() =>
                    {
                        let hint = error.hint().unwrap_or_default();
                        self.progress.note(&format_args!("{}: left out; {error}: {hint}", entrant.name));
                        unfit.push((entrant.name.clone(), error));
                        break;
                    }
                    Err(error) => return Err(error),
                };
                // Most runs are trained on the same rows, cut alike, and that is said once.
                if cut.is_worth_saying() && !told.contains(&cut) {
                    self.progress.note(&cut);
                    told.push(cut);
                }
            }
        }
        entrants.retain(|entrant| unfit.iter().all(|(name, _)| *name != entrant.name));
        match unfit.pop() {
            Some((_, error)) if entrants.is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

/// One digest of several.
fn digest_of(digests: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for digest in digests {
        hasher.update(digest.as_bytes());
    }
    hasher.finalize().to_string()
}
