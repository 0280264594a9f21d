//! Everything a run needs to go on: weights, moments, the step. The order of rows follows from seed and step.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use mpo_models::{
    CHECKSUMS_FILE, CausalLm, CheckpointError, Checksums, ModelConfig, ModelError, SaveOptions, Scratch, WeightDtype,
};
use mpo_progress::Progress;
use safetensors::{Dtype, SafeTensors, View};

use crate::error::TrainError;
use crate::folder::{RunFolder, remove_empty, remove_file, remove_files};
use crate::optimizer::{Moments, Optimizer, OptimizerOptions};

const OPTIMIZER: &str = "optimizer.safetensors";
const MODEL: &str = "model";
/// Checkpoints of a run that are kept.
const KEPT: usize = 2;

/// A flat tensor that is copied to memory only when its turn to be written comes.
struct Lazy {
    tensor: Tensor<1>,
    shape: [usize; 1],
}

impl Lazy {
    fn new(tensor: Tensor<1>) -> Self {
        let shape = tensor.dims();
        Self { tensor, shape }
    }
}

impl View for Lazy {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = crate::reference::values(self.tensor.clone());
        Cow::Owned(values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    fn data_len(&self) -> usize {
        self.shape[0] * 4
    }
}

/// Writes a checkpoint after `step` steps, and removes all older ones but the last: should a disk damage this one, the run
/// goes on from there.
pub(crate) fn save(
    run: &RunFolder,
    step: u64,
    fingerprint: &str,
    model: &CausalLm,
    config: &ModelConfig,
    optimizer: &Optimizer,
) -> Result<(), TrainError> {
    let dir = run.checkpoints_dir();
    let done = dir.join(format!("step-{step}"));
    let io = |error| TrainError::io(&done, error);
    let scratch = Scratch::beside(&done).map_err(io)?;
    let partial = scratch.path();
    let options = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
    model.save(&partial.join(MODEL), config, &options).map_err(not_finite)?;
    let mut names = vec![];
    model.each_parameter(|parameter| names.push(parameter.name));
    let moments = names.iter().zip(optimizer.moments()).flat_map(|(name, moments)| {
        let moments = moments.clone().into_iter();
        moments.flat_map(move |moments| {
            [
                (format!("{name}.momentum"), Lazy::new(moments.momentum)),
                (format!("{name}.variance"), Lazy::new(moments.variance)),
            ]
        })
    });
    let metadata =
        HashMap::from([("step".to_owned(), step.to_string()), ("fingerprint".to_owned(), fingerprint.to_owned())]);
    let file = partial.join(OPTIMIZER);
    safetensors::serialize_to_file(moments, Some(metadata), &file).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(error) => TrainError::io(&file, error),
        other => TrainError::io(&file, std::io::Error::other(other)),
    })?;
    fs::File::open(&file).and_then(|file| file.sync_all()).map_err(|error| TrainError::io(&file, error))?;
    Checksums::of_files(&partial, [OPTIMIZER])
        .and_then(|sums| sums.write(&partial))
        .map_err(|error| TrainError::io(&file, std::io::Error::other(error)))?;
    // One of the same step that was damaged makes way; a file that somebody put there does not.
    remove(&done)?;
    if fs::symlink_metadata(&done).is_ok() {
        let aside = dir.join(format!("files-of-step-{step}"));
        fs::rename(&done, &aside).map_err(|error| TrainError::io(&aside, error))?;
    }
    scratch.finish().map_err(io)?;
    let older = all(&dir)?.into_iter().filter(|(old, _)| *old != step);
    older.skip(KEPT - 1).try_for_each(|(_, path)| remove(&path))
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
        let parts = [path.join(OPTIMIZER), path.join(MODEL).join("config.json")];
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
        ["config.json", "model.safetensors.index.json", CHECKSUMS_FILE].contains(&name)
            || (name.starts_with("model") && name.ends_with(".safetensors"))
    })?;
    remove_files(checkpoint, |name| name == CHECKSUMS_FILE)
}

/// A run as far as it had come.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) step: u64,
    pub(crate) model: CausalLm,
    pub(crate) optimizer: Optimizer,
}

/// The last checkpoint of a run that is as it was written, if there is one; `progress` is told of those that are not.
pub(crate) fn load(
    run: &RunFolder,
    fingerprint: &str,
    options: OptimizerOptions,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Option<Resumed>, TrainError> {
    for (step, path) in all(&run.checkpoints_dir())? {
        match read(&path, step, run, fingerprint, options, device) {
            Err(damage @ (TrainError::Broken { .. } | TrainError::Model(_))) => {
                progress.note(&format_args!(
                    "{damage}; the checkpoint of step {step} cannot be used, and its steps are taken again"
                ));
            }
            read => return read.map(Some),
        }
    }
    Ok(None)
}

fn read(
    path: &Path,
    step: u64,
    run: &RunFolder,
    fingerprint: &str,
    options: OptimizerOptions,
    device: &Device,
) -> Result<Resumed, TrainError> {
    let file = path.join(OPTIMIZER);
    let broken = |problem: String| TrainError::Broken {
        path: file.clone(),
        problem,
        remedy: "an earlier checkpoint will be taken",
    };
    let model = path.join(MODEL);
    for dir in [path, model.as_path()] {
        let sums = Checksums::read(dir).map_err(|error| broken(error.to_string()))?;
        let sums = sums.ok_or_else(|| broken(format!("a checkpoint without {CHECKSUMS_FILE}")))?;
        sums.verify(dir, |_| true).map_err(|error| broken(error.to_string()))?;
    }
    let bytes = fs::read(&file).map_err(|error| TrainError::io(&file, error))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
    let stored = |key: &str| metadata.metadata().as_ref().and_then(|map| map.get(key));
    if stored("fingerprint").map(String::as_str) != Some(fingerprint) {
        return Err(TrainError::Changed {
            path: run.path().to_owned(),
            what: "different rows, objective or settings".into(),
        });
    }
    if stored("step") != Some(&step.to_string()) {
        return Err(broken(format!("a checkpoint of another step than {step}")));
    }
    let (model, _) = CausalLm::load(&model, device)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    let plain = device.clone().without_autodiff();
    let moment = |name: &str, elements: usize| -> Result<Option<Tensor<1>>, TrainError> {
        let Ok(tensor) = tensors.tensor(name) else {
            return Ok(None);
        };
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [elements] {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(broken(format!("{name} as {dtype:?} {shape:?} where F32 [{elements}] belongs")));
        }
        let values: Vec<f32> =
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Some(Tensor::from_data(TensorData::new(values, [elements]), &plain)))
    };
    let mut shapes = vec![];
    model.each_parameter(|parameter| shapes.push((parameter.name, parameter.shape)));
    let mut moments = vec![];
    for (name, shape) in shapes {
        let elements = shape.iter().product();
        let pair = (moment(&format!("{name}.momentum"), elements)?, moment(&format!("{name}.variance"), elements)?);
        moments.push(match pair {
            (Some(momentum), Some(variance)) => Some(Moments { momentum, variance }),
            (None, None) => None,
            _ => return Err(broken(format!("one of the two moments of {name}"))),
        });
    }
    Ok(Resumed { step, model, optimizer: Optimizer::resumed(options, step, moments) })
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
