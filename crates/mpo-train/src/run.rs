//! A run: rows and a configuration go in, a trained model comes out.

use std::path::PathBuf;

use mpo_models::{CausalLm, Checkpoint, ModelError, SaveOptions, WeightDtype};
use mpo_trainer::{Outcome, Reference, RunFolder, SaveDtype, TrainConfig, Trainer, TrainingRows, build_task};

use crate::failure::Failure;
use crate::model_folder::ModelFolder;
use crate::progress::TrainProgress;
use crate::session::Session;

/// Everything a run has but its rows and weights.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) folder: &'a RunFolder,
    pub(crate) model: &'a ModelFolder,
    /// Identifies the weights that training begins with.
    pub(crate) model_hash: &'a str,
    pub(crate) session: &'a Session,
    /// Whether it is one of many, and tells of itself by its bar alone.
    pub(crate) one_of_many: bool,
}

impl Run<'_> {
    /// Trains `model`, from the last checkpoint if there is one.
    pub(crate) fn train(&self, model: CausalLm, rows: TrainingRows) -> Result<Outcome, Failure> {
        let objective = self.config.objective()?;
        let bar = self.session.bar("reference", 0);
        let mut progress = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            !self.session.stopped()
        };
        let task = {
            let mut reference = Reference::new(
                &model,
                self.model_hash,
                self.reference_dir(),
                self.config.micro_batch_tokens,
                &mut progress,
            );
            let pad_token = self.model.pad_token();
            let task = build_task(&*objective, rows, self.config, pad_token, &mut reference)?;
            let notes = reference.notes().iter();
            notes.for_each(|note| bar.suspend(|| self.session.note(note)));
            task
        };
        drop(bar);
        let trainer = Trainer {
            task: &*task,
            config: self.config,
            run: self.folder,
            model_config: &self.model.config,
            model_hash: self.model_hash,
        };
        Ok(trainer.run(model, &mut TrainProgress::new(self.session, !self.one_of_many))?)
    }

    /// Writes a model as the run's result, with the files of the one it began with.
    pub(crate) fn save(&self, model: &CausalLm) -> Result<(), Failure> {
        let dtype = match self.config.save_dtype {
            SaveDtype::F32 => WeightDtype::F32,
            SaveDtype::F16 => WeightDtype::F16,
            SaveDtype::Bf16 => WeightDtype::BF16,
        };
        self.warn_of_rounding(model, dtype)?;
        let _spinner = self.session.spinner("saving the model");
        let template = self.model.template_to_save();
        let options = SaveOptions {
            dtype,
            copy_from: Some(&self.model.path),
            chat_template: template.as_deref(),
            overwrite: true,
            ..SaveOptions::default()
        };
        Ok(model.save(&self.folder.model_dir(), &self.model.config, &options)?)
    }

    /// Steps at a small learning rate are smaller than those between two bf16 numbers.
    fn warn_of_rounding(&self, model: &CausalLm, dtype: WeightDtype) -> Result<(), Failure> {
        const WORTH_SAYING: f64 = 0.1;
        if dtype == WeightDtype::F32 {
            return Ok(());
        }
        let base = Checkpoint::open(&self.model.path).map_err(ModelError::from)?;
        let lost = model.lost_by_rounding(&base, dtype).map_err(ModelError::from)?;
        if lost > WORTH_SAYING {
            self.session.note(format_args!(
                "warning: rounding moves the weights {:.0} % as far as training did, so much of it is lost; \
                 --save-dtype f32 keeps it",
                lost * 100.0
            ));
        }
        Ok(())
    }

    fn reference_dir(&self) -> PathBuf {
        let shared = self.config.reference_cache.clone();
        shared.unwrap_or_else(|| self.folder.reference_dir())
    }
}
