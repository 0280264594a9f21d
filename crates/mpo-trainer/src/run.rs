//! A run: rows and a configuration go in, a trained model comes out.

use std::path::{Path, PathBuf};

use mpo_data::TokenizedRows;
use mpo_models::{CausalLm, Checkpoint, ModelConfig, ModelError, SaveOptions, WeightDtype};
use mpo_progress::Progress;

use crate::error::TrainError;
use crate::events::Event;
use crate::folder::RunFolder;
use crate::reference::Reference;
use crate::settings::{SaveDtype, TrainConfig};
use crate::tasks::build_task;
use crate::train::{Trained, Trainer};

/// The model that a run begins with.
#[derive(Debug, Clone)]
pub struct Base<'a> {
    /// Its folder.
    pub path: &'a Path,
    /// What its `config.json` says.
    pub config: &'a ModelConfig,
    /// Identifies its weights.
    pub hash: &'a str,
    /// The token that fills batches up.
    pub pad_token: u32,
    /// The chat template that the trained model needs to be asked as this one is; none where it is the folder's own.
    pub chat_template: Option<String>,
}

/// Everything a run has but its rows and weights.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// How to train.
    pub config: &'a TrainConfig,
    /// Where the run is kept.
    pub folder: &'a RunFolder,
    /// What it begins with.
    pub base: Base<'a>,
}

impl Run<'_> {
    /// Trains `model`, from the last checkpoint if there is one. `on_event` is told of everything that happens.
    ///
    /// # Errors
    /// If the method cannot be trained on such rows; those of [`Reference`] and of [`Trainer::run`].
    pub fn train(
        &self,
        model: CausalLm,
        rows: TokenizedRows,
        progress: &dyn Progress,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Trained, TrainError> {
        let objective = self.config.objective()?;
        let task = {
            let (dir, max_tokens) = (self.reference_dir(), self.config.micro_batch_tokens);
            let mut reference = Reference::new(&model, self.base.hash, dir, max_tokens, progress);
            build_task(&*objective, rows, self.config, self.base.pad_token, &mut reference)?
        };
        let trainer = Trainer {
            task: &*task,
            config: self.config,
            run: self.folder,
            model_config: self.base.config,
            model_hash: self.base.hash,
        };
        trainer.run(model, progress, on_event)
    }

    /// Writes a model as the run's result, with the files of the one it began with.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, model: &CausalLm, progress: &dyn Progress) -> Result<(), TrainError> {
        let dtype = match self.config.save_dtype {
            SaveDtype::F32 => WeightDtype::F32,
            SaveDtype::F16 => WeightDtype::F16,
            SaveDtype::Bf16 => WeightDtype::BF16,
        };
        self.warn_of_rounding(model, dtype, progress)?;
        let _stage = progress.begin("saving the model", None);
        let options = SaveOptions {
            dtype,
            copy_from: Some(self.base.path),
            chat_template: self.base.chat_template.as_deref(),
            overwrite: true,
            ..SaveOptions::default()
        };
        Ok(model.save(&self.folder.model_dir(), self.base.config, &options)?)
    }

    /// Steps at a small learning rate are smaller than those between two bf16 numbers.
    fn warn_of_rounding(
        &self,
        model: &CausalLm,
        dtype: WeightDtype,
        progress: &dyn Progress,
    ) -> Result<(), TrainError> {
        const WORTH_SAYING: f64 = 0.1;
        if dtype == WeightDtype::F32 {
            return Ok(());
        }
        let base = Checkpoint::open(self.base.path).map_err(ModelError::from)?;
        let lost = model.lost_by_rounding(&base, dtype).map_err(ModelError::from)?;
        if lost > WORTH_SAYING {
            progress.note(&format_args!(
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
