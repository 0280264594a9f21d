//! A run: rows and a configuration go in, a trained model comes out.

use std::path::{Path, PathBuf};

use mpo_collective::{Alone, Collective};
use mpo_data::TokenizedRows;
use mpo_models::memory::resident;
use mpo_models::{AdapterFolder, CausalLm, Checkpoint, ModelConfig, ModelError, SaveOptions, WeightDtype};
use mpo_objectives::Objective;
use mpo_progress::Progress;

use crate::consistency::{ConsistencyTerm, check_consistency};
use crate::error::TrainError;
use crate::events::Event;
use crate::folder::RunFolder;
use crate::held_out::{HeldOut, Watch};
use crate::memory::{BaseModel, Machine, Planner, Storage};
use crate::optimizer::Optimizer;
use crate::ranks::told_by_first;
use crate::reference::Reference;
use crate::settings::{Choice as _, Recompute, SaveDtype, TrainConfig};
use crate::tasks::{build_task, check_rows, prompt_sizes, row_sizes};
use crate::train::{Trained, Trainer};

/// The model that a run begins with.
#[derive(Debug, Clone)]
pub struct Base<'a> {
    /// The folder of its weights; of an adapter's, that of the base.
    pub path: &'a Path,
    /// The folder of its tokenizer, mostly the same.
    pub tokenizer: &'a Path,
    /// The adapter that it is, where the folder that was named is one's.
    pub adapter: Option<&'a AdapterFolder>,
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
    /// Rows whose prompts are held consistent, where they are others than those trained on.
    pub prompts: Option<&'a TokenizedRows>,
    /// What to measure every `eval_every` steps.
    pub watch: Option<Watch<'a>>,
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
        self.train_among(&Alone, model, rows, progress, on_event)
    }

    /// The same as one of several ranks, all of which begin with the same rows and weights.
    ///
    /// # Errors
    /// Those of [`train`](Self::train), and of [`Trainer::run_among`].
    pub fn train_among(
        &self,
        ranks: &dyn Collective,
        model: CausalLm,
        rows: TokenizedRows,
        progress: &dyn Progress,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Trained, TrainError> {
        self.config.check_device(&model.device())?;
        let model = model.with_precision(self.config.precision());
        if self.config.merge && model.quantization().is_some() {
            return Err(ModelError::PackedWhole { dir: self.folder.model_dir() }.into());
        }
        let objective = self.config.objective()?;
        let recompute = told_by_first(ranks, || self.recomputes(&model, &rows, &*objective))?;
        let consistency = ConsistencyTerm::new(self.config, self.prompts.unwrap_or(&rows), &model)?;
        // Said before minutes go into the reference.
        Optimizer::new(self.config.optimizer_options(), &model.device())?;
        let dominant = rows.dominant();
        let (task, held_out) = {
            let (dir, max_tokens) = (self.reference_dir(), self.config.micro_batch_tokens);
            let reference = Reference::new(&model, self.base.hash, dir, max_tokens, progress);
            let mut reference = reference.among(ranks);
            let (objective, config, pad_token) = (&*objective, self.config, self.base.pad_token);
            let task = build_task(objective, rows, config, pad_token, &mut reference)?;
            let watch = self.watch.filter(|_| config.eval_every.is_some());
            let held_out =
                watch.map(|watch| HeldOut::new(objective, watch, config, pad_token, &mut reference, progress));
            let held_out = held_out.transpose()?.map(|held_out| held_out.with_consistency(config, &model));
            (task, held_out.transpose()?)
        };
        let trainer = Trainer {
            task: &*task,
            consistency,
            config: self.config,
            run: self.folder,
            model_config: self.base.config,
            model_hash: self.base.hash,
            dominant,
            recompute,
            held_out,
        };
        trainer.run_among(ranks, model, progress, on_event)
    }

    /// Whether layers are run again: where that is left open, if the run would not fit in memory otherwise.
    fn recomputes(
        &self,
        model: &CausalLm,
        rows: &TokenizedRows,
        objective: &dyn Objective,
    ) -> Result<bool, TrainError> {
        match self.config.recompute {
            Recompute::On => return Ok(true),
            Recompute::Off => return Ok(false),
            Recompute::Auto => check_rows(rows, objective, self.config)?,
        }
        let prompts = self.prompts.unwrap_or(rows);
        check_consistency(self.config, prompts, model.config().prompt_layers())?;
        let (device, Base { path, config, adapter, .. }) = (model.device(), &self.base);
        let base = BaseModel::of(path, config, *adapter, Some(&device))?;
        // The weights are there by now.
        let weights = Storage::of(self.config, base.tuning(self.config), false).weights(base.config);
        let program = resident().unwrap_or(0).saturating_sub(weights);
        let (machine, rows) = (Machine::of(&device), row_sizes(rows, objective));
        let prompts = prompt_sizes(prompts, self.config);
        let planner = Planner { model: base, rows: &rows, prompts: &prompts, machine, program };
        Ok(planner.plan(self.config).storage.recompute)
    }

    /// Writes a model as the run's result, with the files of the one it began with, and a model card: an adapter alone, unless
    /// it is to be merged.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, model: &CausalLm, card: Option<&str>, progress: &dyn Progress) -> Result<(), TrainError> {
        let whole = self.saves_whole(model);
        let dtype = if whole {
            saved_dtype(self.config.save_dtype, model, self.base.path, progress)?
        } else {
            // An adapter is small, and new.
            let dtype = self.config.save_dtype.named().unwrap_or(WeightDtype::F32);
            if dtype != WeightDtype::F32 {
                tell_lost(model.adapter_lost_by_rounding(self.base.adapter, dtype)?, progress);
            }
            dtype
        };
        let _stage = progress.begin("saving the model", None);
        let options = SaveOptions {
            dtype,
            copy_from: whole.then_some(self.base.path),
            tokenizer_from: (!whole || self.base.tokenizer != self.base.path).then_some(self.base.tokenizer),
            licence_from: (!whole).then_some(self.base.path),
            card,
            chat_template: self.base.chat_template.as_deref(),
            overwrite: true,
            ..SaveOptions::default()
        };
        let dir = self.folder.model_dir();
        let saved = if whole {
            model.save(&dir, self.base.config, &options)
        } else {
            model.save_trained(&dir, self.base.config, &options)
        };
        Ok(saved?)
    }

    /// Whether what is saved of `model` is all of it, and not an adapter alone.
    pub fn saves_whole(&self, model: &CausalLm) -> bool {
        self.config.merge || model.adapter().is_none()
    }

    fn reference_dir(&self) -> PathBuf {
        let shared = self.config.reference_cache.clone();
        shared.unwrap_or_else(|| self.folder.reference_dir())
    }
}

/// The share of what training changed from which on rounding undoes it: as much as that is moved by rounding. Steps at a small
/// learning rate are smaller than those between two bf16 numbers.
const UNDONE: f64 = 0.1;

/// The type to save the weights of a model in that was made of the one in `base`. Says which it is where that follows from the
/// model, and warns where much of what training changed is lost in the one that was named.
///
/// # Errors
/// If the weights in `base` cannot be read.
pub fn saved_dtype(
    choice: SaveDtype,
    model: &CausalLm,
    base: &Path,
    progress: &dyn Progress,
) -> Result<WeightDtype, TrainError> {
    if choice == SaveDtype::F32 {
        return Ok(WeightDtype::F32);
    }
    let base = Checkpoint::open(base).map_err(ModelError::from)?;
    let lost = |dtype| match dtype {
        WeightDtype::F32 => Ok(0.0),
        dtype => model.lost_by_rounding(&base, dtype).map_err(ModelError::from),
    };
    if let Some(dtype) = choice.named() {
        tell_lost(lost(dtype)?, progress);
        return Ok(dtype);
    }
    let own = base.weight_dtype();
    let (lost, name) = (lost(own)?, SaveDtype::from(own).name());
    if lost <= UNDONE {
        progress.note(&format_args!("{:<10} {name}, as the model's own weights are stored", "saved as"));
        return Ok(own);
    }
    progress.note(&format_args!(
        "{:<10} f32: rounding to {name}, in which the model's own weights are stored, would move them {:.0} % as far as training did",
        "saved as",
        lost * 100.0
    ));
    Ok(WeightDtype::F32)
}

/// Says so where much of what training changed is lost.
fn tell_lost(lost: f64, progress: &dyn Progress) {
    if lost > UNDONE {
        progress.note(&format_args!(
            "warning: rounding moves the weights {:.0} % as far as training did, so much of it is lost; \
             --save-dtype f32 keeps it",
            lost * 100.0
        ));
    }
}
