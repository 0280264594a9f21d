//! `mpo-train train`: from a configuration to an aligned model, and what training changed.

use std::path::{Path, PathBuf};

use mpo_data::Language;
use mpo_models::CausalLm;
use mpo_trainer::{
    RunFolder, TrainConfig, TrainError, TrainOptions, TrainingRows, write_atomically,
};

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

/// Reward gaps before training: a resumed run has lost none of them.
const BEFORE: &str = "before.json";

pub(crate) fn run(arguments: TrainArguments, quiet: bool) -> Result<(), Failure> {
    let TrainArguments {
        config: file,
        resume,
        json,
        print_config,
        mut options,
    } = arguments;
    if let Some(file) = &file {
        options = options.or(TrainOptions::from_file(file)?);
    }
    let resumed = match resume {
        true => {
            let run = RunFolder::resume(&output_folder(&options)?)?;
            options = options.or(TrainOptions::from_file(&run.config_file())?);
            Some(run)
        }
        false => None,
    };
    let config = options.resolve()?;
    if print_config {
        return output::line(config.to_yaml()?.trim_end());
    }
    if let Some(run) = &resumed {
        let mut started = TrainOptions::from_file(&run.config_file())?;
        started.output = Some(config.output.clone());
        if !config.same_run(&started.resolve()?) {
            return Err(TrainError::Changed {
                path: run.path().to_owned(),
                what: "settings",
            }
            .into());
        }
    }
    let session = Session::new(config.device, quiet)?;
    session.catch_interrupts()?;
    if let Some(run) = &resumed
        && let Some(results) = results::load::<Results>(&run.results_file())?
    {
        let (path, steps) = (run.path().display(), results.steps);
        session.note(format_args!(
            "{path}: finished already, after {steps} steps"
        ));
        return results.print(json);
    }
    // A folder that is there is taken at once, so that a run in it is not found out after minutes of reading.
    let taken = match resumed {
        None if config.output.exists() => Some(RunFolder::create(&config.output)?),
        resumed => resumed,
    };
    let inputs = Inputs::read(&config, &session)?;
    let model = inputs
        .folder
        .load(&session.device.clone().autodiff(), &session)?;
    // A new one only now: input that cannot be used leaves no folder behind.
    let run = match taken {
        Some(run) => run,
        None => RunFolder::create(&config.output)?,
    };
    if !resume {
        write_atomically(&run.config_file(), config.to_yaml()?.as_bytes())?;
    }
    let work = Run {
        config: &config,
        folder: &run,
        model: &inputs.folder,
        model_hash: &inputs.folder.content_hash(&session)?,
        session: &session,
        one_of_many: false,
    };
    let results = align(&work, model, inputs.rows, &inputs.eval, inputs.dominant)?;
    report::write(run.path())?;
    session.note(format_args!(
        "model in {}, report in {}",
        run.model_dir().display(),
        run.report_file().display()
    ));
    results.print(json)
}

fn output_folder(options: &TrainOptions) -> Result<PathBuf, TrainError> {
    let missing = || TrainError::setting("output", "the folder of the run to resume", "nothing");
    options.output.clone().ok_or_else(missing)
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
        let folder = ModelFolder::open(&config.model, &config.template, session)?;
        let read = |path: &Path, limit| -> Result<_, Failure> {
            let data = data::read(path, &data::options(config), limit, config.pivot, session)?;
            let (rows, _) = folder.tokenize(&data.rows, config.truncation()?, session)?;
            Ok((rows, data.report.dominant))
        };
        let (rows, dominant) = read(&config.data, config.rows)?;
        if rows.is_empty() {
            return Err(TrainError::NoRows.into());
        }
        rows.check(&*config.objective()?, config.method.definition().name)?;
        let eval = match &config.eval_data {
            None => EvalSet::new(&rows, config.eval_rows, dominant),
            Some(path) => {
                let (rows, _) = read(path, Some(config.eval_rows))?;
                EvalSet::new(&rows, config.eval_rows, dominant)
            }
        };
        Ok(Self {
            folder,
            rows,
            eval,
            dominant,
        })
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
    let measure = |model: &CausalLm, what| {
        eval.measure(model, run.config.micro_batch_tokens, what, run.session)
    };
    // The gaps before training are measured once a run.
    let file = run.folder.path().join(BEFORE);
    let before = match results::load(&file)? {
        Some(gaps) => gaps,
        None => {
            let gaps = measure(&model, "measuring before")?;
            results::store(&file, &gaps)?;
            gaps
        }
    };
    let outcome = run.train(model, rows)?;
    run.save(&outcome.model)?;
    let results = Results {
        steps: outcome.steps,
        dominant,
        reward_gap: RewardGaps {
            before,
            after: measure(&outcome.model, "measuring after")?,
        },
    };
    results::store(&run.folder.results_file(), &results)?;
    Ok(results)
}
