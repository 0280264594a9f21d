//! `mpo-train compare`: several methods on one model and one data set, each from the same start, measured on rows that
//! none was trained on.

mod plan;
mod request;
mod results;
mod settings;
mod subject;

use std::path::{Path, PathBuf};
use std::time::Instant;

use mpo_models::{CausalLm, SamplingError};
use mpo_trainer::{
    Identity, Kind, RunFolder, TrainConfig, TrainError, TrainOptions, TrainingRows, check_ours, is_marked,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::apart::{CACHE, OUTPUT, check_apart, check_cache};
use crate::cli::CompareArguments;
use crate::exam::{Exam, Marks};
use crate::failure::Failure;
use crate::output;
use crate::results::{keep, kept};
use crate::run::Run;
use crate::session::Session;
use plan::{Asked, Entrant, Point};
use request::Request;
use results::{Comparison, Tried};
use settings::{check_miniature, check_nothing_twice, check_used, complete, is_miniature, joined, started};
use subject::Subject;

/// Longest answer to a held-out prompt, in tokens.
const MAX_NEW_TOKENS: usize = 32;

/// What is kept of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RunResult {
    /// Identifies what it was examined on, and the model that it began with.
    exam: String,
    /// Steps taken.
    steps: u64,
    /// Of training, in this process.
    seconds: f64,
    /// Why it has no marks, if training ended in numbers that are none.
    failure: Option<String>,
    /// On the test's rows.
    test: Vec<Marks>,
    /// On the validation's rows; empty where nothing is to choose.
    validation: Vec<Marks>,
}

pub(crate) fn run(arguments: CompareArguments, quiet: bool) -> Result<(), Failure> {
    let mut options = arguments.options.clone();
    if let Some(file) = &arguments.config {
        options = options.or(TrainOptions::from_file(file)?);
    }
    check_nothing_twice(&options)?;
    let output = options.output.get_or_insert_with(|| PathBuf::from("runs/compare")).clone();
    run_in(&output, options, arguments, quiet).map_err(|failure| {
        match is_marked(&output, Kind::Compare) {
            true => failure,
            // A start that failed left nothing to resume.
            false => failure.without_resume(),
        }
    })
}

/// Compares in a folder.
fn run_in(output: &Path, options: TrainOptions, arguments: CompareArguments, quiet: bool) -> Result<(), Failure> {
    let resume = arguments.resume;
    let flags = arguments.options.hyper_parameters.clone();
    let mut held = match resume {
        true => Some(RunFolder::open(output, Kind::Compare)?),
        false => {
            RunFolder::check_new(output, Kind::Compare)?;
            None
        }
    };
    let started = match &held {
        Some(held) => started(held)?,
        None => TrainOptions::default(),
    };
    let request = Request::new(&arguments, held.as_ref())?;
    let mut options = joined(options, started)?;
    if let Some(cache) = &options.reference_cache {
        check_cache(cache, output)?;
        check_ours(cache, Kind::Reference)?;
    }
    options.reference_cache.get_or_insert_with(|| output.join("reference"));
    let is_miniature = is_miniature(&options);
    if is_miniature {
        check_miniature(&options, &arguments)?;
    }
    // Hyper-parameters are checked with the method that they belong to.
    let hyper_parameters = std::mem::take(&mut options.hyper_parameters);
    let device = options.device.unwrap_or(mpo_trainer::DeviceChoice::Auto);
    let session = Session::new(device, quiet)?;
    session.catch_interrupts()?;
    if let Some(held) = &held {
        held.mend_reference(&mut |note| session.note(note))?;
    }
    let subject = match is_miniature {
        true => {
            // It is unpacked there.
            let taken = match held.take() {
                Some(taken) => taken,
                None => RunFolder::create(output, Kind::Compare, Identity::default())?,
            };
            let subject = Subject::miniature(options, &taken, &session)?;
            held = Some(taken);
            subject
        }
        false => {
            let config = options.clone().resolve()?;
            let cache = config.reference_cache.as_deref();
            let cache = cache.map(|cache| (CACHE, cache));
            for written in [(OUTPUT, output)].into_iter().chain(cache) {
                check_apart(written, ("--data", &config.data))?;
                check_apart(written, ("--model", Path::new(&config.model)))?;
            }
            let tokens = request.max_new_tokens.unwrap_or(MAX_NEW_TOKENS);
            let benign = request.benign.as_deref();
            Subject::read(&config, options, benign, tokens, &session)?
        }
    };
    let asked = Asked { methods: &request.methods, all: request.all, grid: &request.grid, search: request.search };
    let other = subject.other_language().ok_or(TrainError::NoRows)?;
    let mut entrants = plan::entrants(&asked, other)?;
    check_used(&flags, &entrants)?;
    complete(&mut entrants, &hyper_parameters, &subject, &session)?;
    let model_hash = subject.folder.content_hash(&session)?;
    let (test, validation) = (subject.test.digest(), subject.validation.digest());
    let identity = Identity::default()
        .with("model", &*model_hash)
        .with("rows to measure on", &*test)
        .with("rows to choose settings by", &*validation);
    let held = match held {
        Some(held) => held,
        None => RunFolder::create(output, Kind::Compare, identity.clone())?,
    };
    match held.config_file().exists() {
        true => held.check(&identity)?,
        false => {
            held.identify(identity)?;
            let settings = TrainOptions { hyper_parameters, ..subject.options.clone() };
            held.start(&held.config_file(), settings.to_yaml()?.as_bytes())?;
            request.keep(&held)?;
        }
    }
    let work = Compare {
        subject: &subject,
        session: &session,
        output,
        held: &held,
        seeds: &request.seeds,
        save_models: arguments.save_models,
        start: digest_of(&[&test, &model_hash]),
        exam: digest_of(&[&test, &validation, &model_hash]),
        model_hash,
    };
    let earlier = match resume {
        true => work.earlier()?,
        false => None,
    };
    let comparison = work.compare(&entrants);
    if let Err(Failure::Train(TrainError::Interrupted)) = comparison {
        held.keep();
    }
    let comparison = comparison?.with(earlier);
    keep(&held, &held.results_file(), &comparison)?;
    let csv = output.join("results.csv");
    held.write_table(&csv, comparison.to_csv().as_bytes())?;
    session.note(format_args!("{} and {}", held.results_file().display(), csv.display()));
    match arguments.json {
        true => output::json(&comparison),
        false => output::line(comparison.table()),
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

/// A folder in which other rows or another model were measured.
fn changed(path: &Path) -> Failure {
    Failure::Train(TrainError::Changed {
        path: path.to_owned(),
        what: "different rows to measure on, or a different model".into(),
    })
}

struct Compare<'a> {
    subject: &'a Subject,
    session: &'a Session,
    output: &'a Path,
    held: &'a RunFolder,
    seeds: &'a [u64],
    save_models: bool,
    model_hash: String,
    /// Identifies the model that runs begin with and the test.
    start: String,
    /// Identifies these and the validation.
    exam: String,
}

impl Compare<'_> {
    fn compare(&self, entrants: &[Entrant]) -> Result<Comparison, Failure> {
        let before = self.before()?;
        let points: usize = entrants.iter().map(|entrant| entrant.points.len()).sum();
        let all = points * self.seeds.len();
        let (began, mut done, mut trained) = (Instant::now(), 0, 0);
        let mut methods = vec![];
        for entrant in entrants {
            let mut tried = vec![];
            for point in &entrant.points {
                let mut runs = vec![];
                for &seed in self.seeds {
                    done += 1;
                    let left = match trained {
                        0 => String::new(),
                        _ => {
                            let pace = began.elapsed() / trained;
                            let left = pace * (all - done + 1) as u32;
                            format!("; about {:#} left", indicatif::HumanDuration(left))
                        }
                    };
                    let of = [&*entrant.name, &*point.label].join(" ");
                    self.session.note(format_args!("{done}/{all}  {}, seed {seed}{left}", of.trim_end()));
                    let (result, is_new) = self.run(entrant, point, seed)?;
                    trained += u32::from(is_new);
                    if let Some(failure) = &result.failure {
                        self.session.note(failure);
                    }
                    runs.push(result);
                }
                tried.push(Tried::new(point.label.clone(), self.seeds, runs));
            }
            methods.push((entrant.name.clone(), tried));
        }
        Ok(Comparison::new(self.subject.dominant, self.seeds, before, methods))
    }

    /// The marks of the model that every run begins with.
    fn before(&self) -> Result<Vec<Marks>, Failure> {
        #[derive(Serialize, Deserialize)]
        struct Before {
            exam: String,
            test: Vec<Marks>,
        }
        let path = self.held.before_file();
        if let Some(before) = self.kept::<Before>(&path)? {
            return match before.exam == self.start {
                true => Ok(before.test),
                false => Err(changed(self.output)),
            };
        }
        let model = self.load()?;
        let Subject { folder, test, .. } = self.subject;
        let before =
            Before { exam: self.start.clone(), test: test.examine(&model, folder, "measuring before", self.session)? };
        keep(self.held, &path, &before)?;
        Ok(before.test)
    }

    fn kept<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Failure> {
        kept(path, |note| self.session.note(note))
    }

    /// The results of an earlier call, if one came to its end.
    fn earlier(&self) -> Result<Option<Comparison>, Failure> {
        let earlier = self.kept::<Comparison>(&self.held.results_file())?;
        let same = |earlier: &Comparison| earlier.is_of(self.subject.dominant, &self.exam);
        match earlier.as_ref().is_none_or(same) {
            true => Ok(earlier),
            false => Err(changed(self.output)),
        }
    }

    fn load(&self) -> Result<CausalLm, Failure> {
        let device = self.session.device.clone().autodiff();
        self.subject.folder.load(&device, self.session)
    }

    /// One run: the kept result if it was finished earlier, else trained and examined. Says whether it was trained now.
    fn run(&self, entrant: &Entrant, point: &Point, seed: u64) -> Result<(RunResult, bool), Failure> {
        let mut path = self.output.join("runs").join(&entrant.name);
        if !point.label.is_empty() {
            path.push(&point.label);
        }
        path.push(format!("seed-{seed}"));
        let options = TrainOptions { output: Some(path.clone()), seed: Some(seed), ..point.options.clone() };
        let config = options.resolve()?;
        let choosing = entrant.points.len() > 1;
        let (rows, _) = self.subject.rows(&config)?;
        let folder = self.enter(&path, &config, &rows)?;
        if let Some(result) = self.kept::<RunResult>(&folder.results_file())? {
            if result.exam != self.exam {
                return Err(changed(&path));
            }
            if self.is_whole(&result, &folder, choosing) {
                // Killed when its result was written.
                folder.remove_checkpoints()?;
                return Ok((result, false));
            }
        }
        let work = Run {
            config: &config,
            folder: &folder,
            model: &self.subject.folder,
            model_hash: &self.model_hash,
            session: self.session,
            one_of_many: true,
        };
        let began = Instant::now();
        let result = match self.train_and_examine(&work, rows, choosing) {
            Ok(result) => result,
            // A choice of settings that ruins the model is a result too, whether its loss or its answers show it.
            Err(
                failure @ (Failure::Train(TrainError::NotFinite { .. } | TrainError::Diverged { .. })
                | Failure::Sampling(SamplingError::NotFinite { .. })),
            ) => RunResult {
                exam: self.exam.clone(),
                steps: 0,
                seconds: began.elapsed().as_secs_f64(),
                failure: Some(failure.to_string()),
                test: vec![],
                validation: vec![],
            },
            Err(failure) => return Err(failure),
        };
        keep(&folder, &folder.results_file(), &result)?;
        folder.remove_checkpoints()?;
        Ok((result, true))
    }

    /// Whether a kept result lacks nothing: a run that was alone in its day has no marks to be chosen by, and one whose
    /// model was not to be kept has none. Such a run is made again.
    fn is_whole(&self, result: &RunResult, folder: &RunFolder, choosing: bool) -> bool {
        let has_marks = !choosing || !result.validation.is_empty();
        let has_model = !self.save_models || folder.model_dir().exists();
        result.failure.is_some() || (has_marks && has_model)
    }

    /// Trains a run, examines its model, and saves it if it is to be kept.
    fn train_and_examine(&self, run: &Run<'_>, rows: TrainingRows, choosing: bool) -> Result<RunResult, Failure> {
        let subject = self.subject;
        let began = Instant::now();
        let outcome = run.train(self.load()?, rows)?;
        let seconds = began.elapsed().as_secs_f64();
        let examine = |exam: &Exam, what| exam.examine(&outcome.model, &subject.folder, what, self.session);
        let validation = match choosing {
            true => examine(&subject.validation, "choosing")?,
            false => vec![],
        };
        let test = examine(&subject.test, "measuring")?;
        if self.save_models {
            run.save(&outcome.model)?;
        }
        Ok(RunResult { exam: self.exam.clone(), steps: outcome.steps, seconds, failure: None, test, validation })
    }

    /// The folder of a run, new or begun with the same settings and rows.
    fn enter(&self, path: &Path, config: &TrainConfig, rows: &TrainingRows) -> Result<RunFolder, Failure> {
        let identity = Identity::new(config.deciding()?).with("model", &*self.model_hash).with("rows", rows.digest());
        let folder = RunFolder::enter(path, Kind::ComparedRun, identity)?;
        if !folder.config_file().exists() {
            folder.start(&folder.config_file(), config.to_yaml()?.as_bytes())?;
        }
        if self.save_models {
            folder.check_model()?;
        }
        Ok(folder)
    }
}
