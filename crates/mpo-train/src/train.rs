//! `mpo-train train`: from a configuration to an aligned model, and what training changed.

use std::fs;
use std::path::{Path, PathBuf};

use mpo_data::Language;
use mpo_models::CausalLm;
use mpo_trainer::{
    Identity, Kind, RunFolder, TrainConfig, TrainError, TrainOptions, TrainingRows, check_ours, is_marked, share,
};

use crate::apart::{CACHE, OUTPUT, check_apart, check_cache};
use crate::cli::TrainArguments;
use crate::data;
use crate::failure::Failure;
use crate::measure::EvalSet;
use crate::model_folder::ModelFolder;
use crate::output;
use crate::report;
use crate::results::{self, Results, RewardGaps};
use crate::run::Run;
use crate::session::Session;

pub(crate) fn run(arguments: TrainArguments, quiet: bool) -> Result<(), Failure> {
    let TrainArguments { config: file, resume, json, print_config, mut options } = arguments;
    if let Some(file) = &file {
        options = options.or(TrainOptions::from_file(file)?);
    }
    let resumed = match resume {
        true => {
            let run = RunFolder::open(&output_folder(&options)?, Kind::Train)?;
            if run.config_file().exists() {
                options = options.or(TrainOptions::from_file(&run.config_file())?);
            }
            Some(run)
        }
        false => None,
    };
    let config = options.resolve().map_err(|error| match &resumed {
        Some(run) => unsettled(run, error),
        None => error.into(),
    })?;
    if print_config {
        return output::line(config.to_yaml()?.trim_end());
    }
    let output = config.output.clone();
    let trained = run_with(config, resumed, json, quiet);
    trained.map_err(|failure| match is_marked(&output, Kind::Train) {
        true => failure,
        // A start that failed left nothing to resume.
        false => failure.without_resume(),
    })
}

/// Trains as configured, in the folder of a run that was started earlier or a new one.
fn run_with(config: TrainConfig, resumed: Option<RunFolder>, json: bool, quiet: bool) -> Result<(), Failure> {
    // What is already known is said before minutes of reading.
    match &resumed {
        Some(run) => run.check_settings(&config.deciding()?)?,
        None => RunFolder::check_new(&config.output, Kind::Train)?,
    }
    let mut written = vec![(OUTPUT, config.output.as_path())];
    if let Some(cache) = &config.reference_cache {
        check_cache(cache, &config.output)?;
        check_ours(cache, Kind::Reference)?;
        written.push((CACHE, cache));
    }
    for written in written {
        check_apart(written, ("--data", &config.data))?;
        check_apart(written, ("--model", Path::new(&config.model)))?;
    }
    let session = Session::new(config.device, quiet)?;
    session.catch_interrupts()?;
    if let Some(run) = &resumed {
        run.mend_reference(&mut |note| session.note(note))?;
        if let Some(results) = results::kept::<Results>(&run.results_file(), |note| session.note(note))? {
            if run.has_model(|note| session.note(note))? {
                // Killed when its results were written.
                if !run.report_file().exists() {
                    report::write(run)?;
                }
                let (path, steps) = (run.path().display(), results.steps);
                session.note(format_args!("{path}: finished already, after {steps} steps"));
                return results.print(json);
            }
            session.note(format_args!(
                "{}: the trained model is gone; it is made again, from the last checkpoint if there is one",
                run.model_dir().display()
            ));
        }
        run.check_model()?;
    }
    let inputs = Inputs::read(&config, &session)?;
    refuse_own_model(&inputs.folder.path, &config.output)?;
    let model = inputs.folder.load(&session.device.clone().autodiff(), &session)?;
    let model_hash = inputs.folder.content_hash(&session)?;
    let identity = Identity::new(config.deciding()?)
        .with("model", &*model_hash)
        .with("rows", inputs.rows.digest())
        .with("rows to measure on", inputs.eval.digest());
    // New folders only now: input that cannot be used leaves none behind.
    let run = match resumed {
        Some(run) => run,
        None => RunFolder::create(&config.output, Kind::Train, identity.clone())?,
    };
    if let Some(cache) = &config.reference_cache {
        share(cache, Kind::Reference)?;
    }
    run.check(&identity)?;
    if !run.config_file().exists() {
        run.start(&run.config_file(), config.to_yaml()?.as_bytes())?;
    }
    let work = Run {
        config: &config,
        folder: &run,
        model: &inputs.folder,
        model_hash: &model_hash,
        session: &session,
        one_of_many: false,
    };
    let results = align(&work, model, inputs.rows, &inputs.eval, inputs.dominant);
    if let Err(Failure::Train(TrainError::Interrupted)) = results {
        run.keep();
    }
    let results = results?;
    report::write(&run)?;
    session.note(format_args!("model in {}, report in {}", run.model_dir().display(), run.report_file().display()));
    results.print(json)
}

fn output_folder(options: &TrainOptions) -> Result<PathBuf, TrainError> {
    let missing = || TrainError::setting("output", "the folder of the run to resume", "nothing");
    options.output.clone().ok_or_else(missing)
}

/// Why a run cannot be resumed with settings that lack something: killed early, it has not written them down.
fn unsettled(run: &RunFolder, error: TrainError) -> Failure {
    let file = run.config_file();
    match file.exists() {
        true => error.into(),
        false => Failure::new(
            format!(
                "{}: expected the settings of the run, got no such file: the run was stopped before it was written; {error}",
                file.display()
            ),
            "give --model, --data and the other settings again beside --resume",
        ),
    }
}

/// The trained model is written to `model/` in the run folder, so the one that training begins with may not be there.
fn refuse_own_model(model: &Path, output: &Path) -> Result<(), Failure> {
    let canonical = |path: &Path| fs::canonicalize(path).ok();
    match (canonical(model), canonical(&output.join("model"))) {
        (Some(model), Some(result)) if model.starts_with(&result) => Err(TrainError::OwnModel { path: model }.into()),
        _ => Ok(()),
    }
}

/// What a run reads and does not change.
struct Inputs {
    folder: ModelFolder,
    rows: TrainingRows,
    eval: EvalSet,
    dominant: Option<Language>,
}

impl Inputs {
    fn read(config: &TrainConfig, session: &Session) -> Result<Self, Failure> {
        let folder = ModelFolder::open(&config.model, &config.template_options(), session)?;
        let read = |path: &Path, limit| -> Result<_, Failure> {
            let data = data::read(path, &data::options(config), limit, config.pivot, session)?;
            let (rows, _) = folder.tokenize(&data.rows, config.tokenize_options()?, session)?;
            Ok((rows, data.report))
        };
        let (rows, report) = read(&config.data, config.rows)?;
        let dominant = report.dominant;
        rows.check(&*config.objective()?, config)?;
        data::warn_of_one_class(&rows, config, session);
        let eval = match &config.eval_data {
            None => EvalSet::new(&rows, config.eval_rows, dominant),
            Some(path) => {
                let (pairs, report) = read(path, Some(config.eval_rows))?;
                // Whoever trains on single answers may have nothing else to measure on.
                if config.eval_rows > 0 && !matches!(rows, TrainingRows::Unpaired(_)) {
                    data::check_pairs(path, &report, &pairs)?;
                }
                EvalSet::new(&pairs, config.eval_rows, dominant)
            }
        };
        Ok(Self { folder, rows, eval, dominant })
    }
}

/// Measures, trains, saves and measures again.
fn align(
    run: &Run<'_>,
    model: CausalLm,
    rows: TrainingRows,
    eval: &EvalSet,
    dominant: Option<Language>,
) -> Result<Results, Failure> {
    let measure = |model: &CausalLm, what| eval.measure(model, run.config.micro_batch_tokens, what, run.session);
    // The gaps before training are measured once a run.
    let file = run.folder.before_file();
    let before = match results::kept(&file, |note| run.session.note(note))? {
        Some(gaps) => gaps,
        None => {
            let gaps = measure(&model, "measuring before")?;
            results::keep(run.folder, &file, &gaps)?;
            gaps
        }
    };
    let outcome = run.train(model, rows)?;
    run.save(&outcome.model)?;
    let results = Results {
        steps: outcome.steps,
        dominant,
        reward_gap: RewardGaps { before, after: measure(&outcome.model, "measuring after")? },
    };
    results::keep(run.folder, &run.folder.results_file(), &results)?;
    Ok(results)
}
