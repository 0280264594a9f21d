//! Everything a run needs to go on: weights, moments, the step. The order of rows follows from seed and step.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use mpo_models::{
    CHECKSUMS_FILE, CausalLm, CheckpointError, Checksums, ModelConfig, ModelError, SaveOptions, Scratch, WeightDtype,
};
use mpo_progress::Progress;

use crate::early_stop::EarlyStop;
use crate::error::TrainError;
use crate::folder::{RunFolder, remove_empty, remove_file, remove_files};
use crate::optimizer::{self, Optimizer, Stored};

const OPTIMIZER: &str = "optimizer.safetensors";
const MODEL: &str = "model";
/// How the metadata of a checkpoint calls the state of early stopping.
const EARLY_STOP: &str = "early_stop";

/// Writes a checkpoint after `step` steps. Older ones stay, as [`remove_older`] says.
pub(crate) fn save(
    run: &RunFolder,
    step: u64,
    fingerprint: &str,
    model: &CausalLm,
    config: &ModelConfig,
    optimizer: &Optimizer<'_>,
    early_stop: Option<&EarlyStop>,
) -> Result<(), TrainError> {
    let dir = run.checkpoints_dir();
    let done = dir.join(format!("step-{step}"));
    let io = |error| TrainError::io(&done, error);
    let scratch = Scratch::beside(&done).map_err(io)?;
    let partial = scratch.path();
    let options = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
    model.save_trained(&partial.join(MODEL), config, &options).map_err(not_finite)?;
    let mut metadata =
        HashMap::from([("step".to_owned(), step.to_string()), ("fingerprint".to_owned(), fingerprint.to_owned())]);
    let file = partial.join(OPTIMIZER);
    if let Some(early_stop) = early_stop {
        let text = serde_json::to_string(early_stop).map_err(|error| TrainError::io(&file, error.into()))?;
        metadata.insert(EARLY_STOP.to_owned(), text);
    }
    optimizer::write(&file, optimizer, &parameters(model), metadata).map_err(|error| TrainError::io(&file, error))?;
    Checksums::of_files(&partial, [OPTIMIZER])
        .and_then(|sums| sums.write(&partial))
        .map_err(|error| TrainError::io(&file, io::Error::other(error)))?;
    // One of the same step that was damaged makes way; a file that somebody put there does not.
    remove(&done)?;
    if fs::symlink_metadata(&done).is_ok() {
        let aside = dir.join(format!("files-of-step-{step}"));
        fs::rename(&done, &aside).map_err(|error| TrainError::io(&aside, error))?;
    }
    scratch.finish().map_err(io)
}

/// The part of another rank than the first in [`save`].
pub(crate) fn give(model: &CausalLm, optimizer: &Optimizer<'_>) {
    optimizer::give(optimizer, &parameters(model));
}

/// The parameters of a model, and how many numbers each has.
fn parameters(model: &CausalLm) -> Vec<(String, usize)> {
    let mut all = vec![];
    model.each_parameter(|parameter| all.push((parameter.name, parameter.shape.iter().product())));
    all
}

/// Removes checkpoints but that of `step`, which was just written, the last before it, until `kept` are left, should a disk
/// damage one, and the `best`, which the run may end with.
pub(crate) fn remove_older(run: &RunFolder, step: u64, kept: usize, best: Option<u64>) -> Result<(), TrainError> {
    let older = all(&run.checkpoints_dir())?.into_iter().filter(|(old, _)| *old != step);
    older.skip(kept.saturating_sub(1)).filter(|(old, _)| Some(*old) != best).try_for_each(|(_, path)| remove(&path))
}

/// NaN weights must not be saved, and the step that made them is to blame.
fn not_finite(error: ModelError) -> TrainError {
    match error {
        ModelError::Checkpoint(CheckpointError::NotFinite { name, got }) => {
            TrainError::NotFinite { what: "the weights", value: got.into(), row: name }
        }
        error => error.into(),
    }
}

/// Whether a run has a checkpoint to go on from, damaged or not.
pub(crate) fn is_any(run: &RunFolder) -> Result<bool, TrainError> {
    Ok(all(&run.checkpoints_dir())?.iter().any(|(_, path)| path.join(OPTIMIZER).exists()))
}

/// Removes every checkpoint of a run.
pub(crate) fn remove_all(run: &RunFolder) -> Result<(), TrainError> {
    let dir = run.checkpoints_dir();
    for (_, path) in all(&dir)? {
        remove(&path)?;
    }
    remove_empty(&dir);
    Ok(())
}

/// Removes what is left of checkpoints whose removal was killed half-way: the list of sums, and what of the model comes after
/// its configuration.
pub(crate) fn remove_remains(dir: &Path) -> Result<(), TrainError> {
    for (_, path) in all(dir)? {
        let model = path.join(MODEL);
        let parts = [path.join(OPTIMIZER), model.join("config.json"), model.join("adapter_config.json")];
        if !parts.iter().any(|part| part.exists()) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes what we wrote of a checkpoint. What makes it one goes first, so that half of one is never taken for it, and the
/// list of sums, which says that it is ours, last. One that somebody moved elsewhere and linked to stays.
fn remove(checkpoint: &Path) -> Result<(), TrainError> {
    let is_ours = checkpoint.join(CHECKSUMS_FILE).is_file();
    if !is_ours || checkpoint.is_symlink() || checkpoint.join(MODEL).is_symlink() {
        return Ok(());
    }
    remove_file(&checkpoint.join(OPTIMIZER))?;
    remove_files(&checkpoint.join(MODEL), |name| {
        ["config.json", "model.safetensors.index.json", "adapter_config.json", CHECKSUMS_FILE].contains(&name)
            || (["model", "adapter_model"].iter().any(|kind| name.starts_with(kind)) && name.ends_with(".safetensors"))
    })?;
    remove_files(checkpoint, |name| name == CHECKSUMS_FILE)
}

/// A checkpoint of this run that is as it was written.
pub(crate) struct Found {
    path: PathBuf,
    step: u64,
    moments: Stored,
}

/// The last checkpoint of a run that is as it was written, if there is one; `progress` is told of those that are not.
pub(crate) fn find(run: &RunFolder, fingerprint: &str, progress: &dyn Progress) -> Result<Option<Found>, TrainError> {
    for (step, path) in all(&run.checkpoints_dir())? {
        match check(&path, step, run, fingerprint) {
            Err(damage @ TrainError::Broken { .. }) => {
                progress.note(&format_args!(
                    "{damage}; the checkpoint of step {step} cannot be used, and its steps are taken again"
                ));
            }
            Err(error) => return Err(error),
            Ok(moments) => return Ok(Some(Found { path, step, moments })),
        }
    }
    Ok(None)
}

fn check(path: &Path, step: u64, run: &RunFolder, fingerprint: &str) -> Result<Stored, TrainError> {
    let file = path.join(OPTIMIZER);
    let broken = |problem: String| broken(&file, problem);
    for dir in [path, &path.join(MODEL)] {
        let sums = Checksums::read(dir).map_err(|error| broken(error.to_string()))?;
        let sums = sums.ok_or_else(|| broken(format!("a checkpoint without {CHECKSUMS_FILE}")))?;
        sums.verify(dir, |_| true).map_err(|error| broken(error.to_string()))?;
    }
    let stored = Stored::open(&file).map_err(|error| unreadable(&file, error))?;
    if stored.says("fingerprint") != Some(fingerprint) {
        return Err(TrainError::Changed {
            path: run.path().to_owned(),
            what: "different rows, objective or settings".into(),
        });
    }
    if stored.says("step") != Some(&step.to_string()) {
        return Err(broken(format!("a checkpoint of another step than {step}")));
    }
    Ok(stored)
}

impl Found {
    /// Steps that it was written after.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    /// Its weights; `start` is the model that the run began with.
    pub(crate) fn weights(&self, start: CausalLm) -> Result<CausalLm, TrainError> {
        weights(&self.path, start)
    }

    /// The moments of a parameter of so many numbers, if there are any.
    fn moments(&mut self, name: &str, elements: usize) -> Result<Option<[TensorData; 2]>, TrainError> {
        let moments = self.moments.moments(name, elements);
        moments.map_err(|error| unreadable(&self.path.join(OPTIMIZER), error))
    }

    /// A run that never stops early has none.
    pub(crate) fn early_stop(&self) -> Result<EarlyStop, TrainError> {
        let text = self.moments.says(EARLY_STOP);
        let state = text.map(serde_json::from_str).transpose();
        let state = state.map_err(|error| broken(&self.path.join(OPTIMIZER), error.to_string()))?;
        Ok(state.unwrap_or_default())
    }
}

/// Gives the optimizer the moments of a checkpoint, which the first rank has and no other.
pub(crate) fn restore(
    mut found: Option<Found>,
    model: &CausalLm,
    optimizer: &mut Optimizer<'_>,
) -> Result<(), TrainError> {
    for (name, elements) in parameters(model) {
        let moments = found.as_mut().map(|found| found.moments(&name, elements)).transpose()?;
        optimizer.take(&name, moments.flatten());
    }
    Ok(())
}

/// The weights of the checkpoint of `step`, which is this run's; `model` is what they were trained on from.
pub(crate) fn weights_of(
    run: &RunFolder,
    step: u64,
    fingerprint: &str,
    model: CausalLm,
) -> Result<CausalLm, TrainError> {
    let path = run.checkpoints_dir().join(format!("step-{step}"));
    check(&path, step, run, fingerprint)?;
    weights(&path, model)
}

/// The weights in a checkpoint; `start` is the model that the run began with, or any of it since.
fn weights(checkpoint: &Path, start: CausalLm) -> Result<CausalLm, TrainError> {
    let stored = checkpoint.join(MODEL);
    if let Some(adapter) = start.adapter().cloned() {
        // An adapter's checkpoint is of the adapter alone; what it stands on is here, and may have been elsewhere then.
        return Ok(start.with_adapter_weights(&stored, adapter)?);
    }
    let device = start.device();
    // Else there would be two in memory.
    drop(start);
    Ok(CausalLm::load(&stored, &device)?.0)
}

fn unreadable(file: &Path, error: io::Error) -> TrainError {
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => broken(file, error.to_string()),
        _ => TrainError::io(file, error),
    }
}

fn broken(file: &Path, problem: String) -> TrainError {
    let remedy = "remove this checkpoint, and an earlier one will be taken";
    TrainError::Broken { path: file.to_owned(), problem, remedy }
}

/// The checkpoints in a folder, the last first.
fn all(dir: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let io = |error| TrainError::io(dir, error);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(io(error)),
    };
    let mut found = vec![];
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let step = name
            .to_str()
            .and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok())
            .filter(|step| name.to_str() == Some(format!("step-{step}").as_str()));
        // Links are followed, for whoever keeps checkpoints on another disk.
        let is_dir = entry.path().is_dir();
        found.extend(step.filter(|_| is_dir).map(|step| (step, entry.path())));
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}
