//! `mpo-train compare`: several methods on one model and one data set, each from the same start, measured on rows that
//! none was trained on.

mod plan;
mod results;
mod subject;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mpo_models::CausalLm;
use mpo_trainer::{RunFolder, TrainConfig, TrainError, TrainOptions, write_atomically};
use serde::{Deserialize, Serialize};

use crate::cli::CompareArguments;
use crate::exam::Marks;
use crate::failure::Failure;
use crate::output;
use crate::results::{load, store};
use crate::run::Run;
use crate::session::Session;
use plan::{Asked, Entrant, Point};
use results::{Comparison, Tried};
use subject::Subject;

/// What is kept of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RunResult {
    /// Identifies what it was examined on.
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
    let CompareArguments {
        config: file,
        mut options,
        ..
    } = arguments;
    if let Some(file) = &file {
        options = options.or(TrainOptions::from_file(file)?);
    }
    for (key, given, instead) in [
        ("method", options.method.is_some(), "methods"),
        ("seed", options.seed.is_some(), "seeds"),
    ] {
        if given {
            let expected = format!("nothing beside --{instead}");
            return Err(TrainError::setting(key, expected, "a value").into());
        }
    }
    let output = options
        .output
        .get_or_insert_with(|| PathBuf::from("runs/compare"))
        .clone();
    options
        .reference_cache
        .get_or_insert_with(|| output.join("reference"));
    // Hyper-parameters are checked with the method that they belong to.
    let hyper_parameters = std::mem::take(&mut options.hyper_parameters);
    let device = options.device.unwrap_or(mpo_trainer::DeviceChoice::Auto);
    let session = Session::new(device, quiet)?;
    session.catch_interrupts()?;
    let held = match arguments.resume {
        true => Some(RunFolder::resume(&output)?),
        false if output.exists() => Some(RunFolder::create(&output)?),
        false => None,
    };
    let subject = match (&options.model, &options.data) {
        (None, None) => Subject::miniature(options, &session)?,
        _ => {
            let config = options.clone().resolve()?;
            let (benign, tokens) = (arguments.benign.as_deref(), arguments.max_new_tokens);
            Subject::read(&config, options, benign, tokens, &session)?
        }
    };
    let asked = Asked {
        methods: &arguments.methods,
        all: arguments.all,
        grid: &arguments.grid,
        search: arguments.search,
    };
    let other = subject.other_language().ok_or(TrainError::NoRows)?;
    let mut entrants = plan::entrants(&asked, other)?;
    for entrant in &mut entrants {
        let mut own = hyper_parameters.clone();
        let parameters = entrant.method.definition().parameters;
        own.0
            .retain(|key, _| parameters.iter().any(|one| one.name == key));
        for point in &mut entrant.points {
            let weaker = TrainOptions {
                hyper_parameters: own.clone(),
                ..subject.options.clone()
            };
            point.options = point.options.clone().or(weaker);
            // Nothing is trained before every run is known to be one that can be.
            subject.rows(&point.options.clone().resolve()?, &session)?;
        }
    }
    let held = match held {
        Some(held) => held,
        None => RunFolder::create(&output)?,
    };
    let text = subject.options.to_yaml()?;
    write_atomically(&held.config_file(), text.as_bytes())?;
    let work = Compare {
        subject: &subject,
        session: &session,
        output: &output,
        seeds: &arguments.seeds,
        save_models: arguments.save_models,
        model_hash: subject.folder.content_hash(&session)?,
    };
    let comparison = work.compare(&entrants)?;
    store(&held.results_file(), &comparison)?;
    let csv = output.join("results.csv");
    write_atomically(&csv, comparison.to_csv().as_bytes())?;
    session.note(format_args!(
        "{} and {}",
        held.results_file().display(),
        csv.display()
    ));
    match arguments.json {
        true => output::json(&comparison),
        false => output::line(comparison.table()),
    }
}

struct Compare<'a> {
    subject: &'a Subject,
    session: &'a Session,
    output: &'a Path,
    seeds: &'a [u64],
    save_models: bool,
    model_hash: String,
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
                    self.session.note(format_args!(
                        "{done}/{all}  {}, seed {seed}{left}",
                        of.trim_end()
                    ));
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
        Ok(Comparison::new(
            self.subject.dominant,
            self.seeds,
            before,
            methods,
        ))
    }

    /// The marks of the model that every run begins with.
    fn before(&self) -> Result<Vec<Marks>, Failure> {
        #[derive(Serialize, Deserialize)]
        struct Before {
            exam: String,
            test: Vec<Marks>,
        }
        let (path, exam) = (self.output.join("before.json"), self.subject.test.digest());
        if let Some(before) = load::<Before>(&path)?
            && before.exam == exam
        {
            return Ok(before.test);
        }
        let model = self.load()?;
        let folder = &self.subject.folder;
        let test = self
            .subject
            .test
            .examine(&model, folder, "measuring before", self.session)?;
        let before = Before { exam, test };
        store(&path, &before)?;
        Ok(before.test)
    }

    fn load(&self) -> Result<CausalLm, Failure> {
        let device = self.session.device.clone().autodiff();
        self.subject.folder.load(&device, self.session)
    }

    /// One run: the kept result if it was finished earlier, else trained and examined. Says whether it was trained now.
    fn run(
        &self,
        entrant: &Entrant,
        point: &Point,
        seed: u64,
    ) -> Result<(RunResult, bool), Failure> {
        let mut path = self.output.join("runs").join(&entrant.name);
        if !point.label.is_empty() {
            path.push(&point.label);
        }
        path.push(format!("seed-{seed}"));
        let options = TrainOptions {
            output: Some(path.clone()),
            seed: Some(seed),
            ..point.options.clone()
        };
        let config = options.resolve()?;
        let choosing = entrant.points.len() > 1;
        let folder = self.enter(&path, &config)?;
        let exam = self.subject.test.digest();
        if let Some(result) = load::<RunResult>(&folder.results_file())? {
            if result.exam != exam {
                return Err(TrainError::Changed {
                    path,
                    what: "rows to measure on",
                }
                .into());
            }
            // A run that was alone in its day has nothing to be chosen by; then it is made again.
            if !choosing || result.failure.is_some() || !result.validation.is_empty() {
                return Ok((result, false));
            }
        }
        let subject = self.subject;
        let work = Run {
            config: &config,
            folder: &folder,
            model: &subject.folder,
            model_hash: &self.model_hash,
            session: self.session,
            one_of_many: true,
        };
        let began = Instant::now();
        let outcome = work.train(self.load()?, subject.rows(&config, self.session)?);
        let seconds = began.elapsed().as_secs_f64();
        let result = match outcome {
            Ok(outcome) => {
                let examine = |exam: &crate::exam::Exam, what| {
                    exam.examine(&outcome.model, &subject.folder, what, self.session)
                };
                let validation = match choosing {
                    true => examine(&subject.validation, "choosing")?,
                    false => vec![],
                };
                if self.save_models {
                    work.save(&outcome.model)?;
                }
                RunResult {
                    exam,
                    steps: outcome.steps,
                    seconds,
                    failure: None,
                    test: examine(&subject.test, "measuring")?,
                    validation,
                }
            }
            // A choice of settings that ruins the model is a result too.
            Err(Failure::Train(error @ TrainError::NotFinite { .. })) => RunResult {
                exam,
                steps: 0,
                seconds,
                failure: Some(error.to_string()),
                test: vec![],
                validation: vec![],
            },
            Err(failure) => return Err(failure),
        };
        store(&folder.results_file(), &result)?;
        let checkpoints = path.join("checkpoints");
        if checkpoints.exists() {
            fs::remove_dir_all(&checkpoints).map_err(Failure::io(&checkpoints))?;
        }
        Ok((result, true))
    }

    /// The folder of a run, new or begun with the same settings.
    fn enter(&self, path: &Path, config: &TrainConfig) -> Result<RunFolder, Failure> {
        if !path.join("config.yaml").exists() {
            let folder = RunFolder::create(path)?;
            write_atomically(&folder.config_file(), config.to_yaml()?.as_bytes())?;
            return Ok(folder);
        }
        let folder = RunFolder::resume(path)?;
        let mut started = TrainOptions::from_file(&folder.config_file())?;
        started.output = Some(path.to_owned());
        match config.same_run(&started.resolve()?) {
            true => Ok(folder),
            false => Err(TrainError::Changed {
                path: path.to_owned(),
                what: "settings",
            }
            .into()),
        }
    }
}
