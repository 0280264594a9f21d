//! `mpo-train train`: from a configuration to an aligned model, and what training changed.

use std::path::{Path, PathBuf};

use mpo_data::{Dataset, Language, ReadOptions, TokenizedRow};
use mpo_eval::LanguageGap;
use mpo_models::{CausalLm, SaveOptions, WeightDtype};
use mpo_trainer::{
    MpoOptions, MpoTask, Reference, ReferenceCache, RunFolder, SaveDtype, TrainConfig, TrainError,
    TrainOptions, Trainer, write_atomically,
};

use crate::cli::TrainArguments;
use crate::data;
use crate::failure::Failure;
use crate::measure::EvalSet;
use crate::model_folder::{BilingualRows, ModelFolder};
use crate::output;
use crate::progress::TrainProgress;
use crate::results::{self, Results, RewardGaps};
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
    let work = Work {
        config: &config,
        run: &run,
        session: &session,
    };
    let results = work.align(model, inputs)?;
    session.note(format_args!("model in {}", run.model_dir().display()));
    results.print(json)
}

fn output_folder(options: &TrainOptions) -> Result<PathBuf, TrainError> {
    options.output.clone().ok_or(TrainError::Setting {
        key: "output",
        expected: "the folder of the run to resume",
        got: "nothing".into(),
    })
}

/// What a run reads and does not change.
struct Inputs {
    folder: ModelFolder,
    rows: BilingualRows,
    eval: EvalSet,
    dominant: Option<Language>,
}

impl Inputs {
    fn read(config: &TrainConfig, session: &Session) -> Result<Self, Failure> {
        let folder = ModelFolder::open(&config.model, &config.template, session)?;
        let options = ReadOptions {
            dominant: config.dominant,
            skip_bad_rows: config.skip_bad_rows,
            ..ReadOptions::default()
        };
        let tokenize = |path: &Path, dataset: Dataset| -> Result<_, Failure> {
            let (pairs, report) = dataset.into_bilingual(path)?;
            let rows = folder.tokenize_bilingual(&pairs, config.max_tokens, session)?;
            Ok((rows, report.dominant))
        };
        let dataset = data::read(&config.data, &options, config.rows, session)?;
        let (rows, dominant) = tokenize(&config.data, dataset)?;
        if rows.rows.is_empty() {
            return Err(TrainError::NoRows.into());
        }
        let eval = match &config.eval_data {
            None => EvalSet::bilingual(&rows, config.eval_rows, dominant),
            Some(path) => {
                let dataset = data::read(path, &options, Some(config.eval_rows), session)?;
                let (rows, _) = tokenize(path, dataset)?;
                EvalSet::bilingual(&rows, config.eval_rows, dominant)
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

/// A run that has its inputs and its folder.
struct Work<'a> {
    config: &'a TrainConfig,
    run: &'a RunFolder,
    session: &'a Session,
}

impl Work<'_> {
    /// Measures, trains, saves and measures again.
    fn align(&self, model: CausalLm, inputs: Inputs) -> Result<Results, Failure> {
        let Inputs {
            folder,
            rows: BilingualRows { rows, .. },
            eval,
            dominant,
        } = inputs;
        let before = self.before(&model, &eval)?;
        let hash = folder.content_hash(self.session)?;
        let options = self.config.mpo_options(folder.pad_token());
        let reference = self.reference(&model, &hash, &rows, &options)?;
        let task = MpoTask::new(rows, reference, options);
        let trainer = Trainer {
            task: &task,
            config: self.config,
            run: self.run,
            model_config: &folder.config,
            model_hash: &hash,
        };
        let outcome = trainer.run(model, &mut TrainProgress::new(self.session))?;
        self.save(&outcome.model, &folder)?;
        let results = Results {
            steps: outcome.steps,
            dominant,
            reward_gap: RewardGaps {
                before,
                after: self.measure(&outcome.model, &eval, "measuring after")?,
            },
        };
        results::store(&self.run.results_file(), &results)?;
        Ok(results)
    }

    fn measure(
        &self,
        model: &CausalLm,
        eval: &EvalSet,
        what: &'static str,
    ) -> Result<Vec<LanguageGap>, Failure> {
        eval.measure(model, self.config.micro_batch_tokens, what, self.session)
    }

    /// The gaps before training, measured once a run.
    fn before(&self, model: &CausalLm, eval: &EvalSet) -> Result<Vec<LanguageGap>, Failure> {
        let file = self.run.path().join(BEFORE);
        if let Some(gaps) = results::load(&file)? {
            return Ok(gaps);
        }
        let gaps = self.measure(model, eval, "measuring before")?;
        results::store(&file, &gaps)?;
        Ok(gaps)
    }

    /// The reference's numbers: the run's own, else those of the cache that was named, else computed.
    fn reference(
        &self,
        model: &CausalLm,
        hash: &str,
        rows: &[TokenizedRow],
        options: &MpoOptions,
    ) -> Result<Reference, Failure> {
        let (retain, padding) = (options.retain, options.padding);
        let cache = |path: &Path| ReferenceCache::new(path, hash, rows, retain, padding);
        let own = cache(&self.run.reference_file());
        if let Some(reference) = own.load()? {
            return Ok(reference);
        }
        if let Some(path) = &self.config.reference_cache {
            if let Some(reference) = cache(path).load()? {
                own.store(&reference)?;
                return Ok(reference);
            }
            let path = path.display();
            self.session.note(format_args!(
                "{path}: expected a reference of this model and these rows, got none; computing it"
            ));
        }
        let bar = self.session.bar("reference", rows.len());
        let max_tokens = self.config.micro_batch_tokens;
        let progress = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            !self.session.stopped()
        };
        let reference = Reference::compute(model, rows, retain, padding, max_tokens, progress)?;
        own.store(&reference)?;
        Ok(reference)
    }

    fn save(&self, model: &CausalLm, folder: &ModelFolder) -> Result<(), Failure> {
        let _spinner = self.session.spinner("saving the model");
        let options = SaveOptions {
            dtype: match self.config.save_dtype {
                SaveDtype::F32 => WeightDtype::F32,
                SaveDtype::F16 => WeightDtype::F16,
                SaveDtype::Bf16 => WeightDtype::BF16,
            },
            copy_from: Some(&folder.path),
            overwrite: true,
            ..SaveOptions::default()
        };
        Ok(model.save(&self.run.model_dir(), &folder.config, &options)?)
    }
}
