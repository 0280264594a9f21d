//! Everything a run needs to go on: weights, moments, the step. The order of rows follows from seed and step.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use mpo_models::{CausalLm, ModelConfig, SaveOptions, WeightDtype};
use safetensors::{Dtype, SafeTensors, View};

use crate::error::TrainError;
use crate::optimizer::{Moments, Optimizer, OptimizerOptions};
use crate::run_folder::{RunFolder, sync_dir};

const OPTIMIZER: &str = "optimizer.safetensors";
const MODEL: &str = "model";

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

/// Writes a checkpoint after `step` steps and removes older ones.
pub(crate) fn save(
    run: &RunFolder,
    step: u64,
    fingerprint: &str,
    model: &CausalLm,
    config: &ModelConfig,
    optimizer: &Optimizer,
) -> Result<(), TrainError> {
    let dir = run.checkpoints_dir();
    let io = |error| TrainError::io(&dir, error);
    fs::create_dir_all(&dir).map_err(io)?;
    let partial = tempfile::Builder::new()
        .prefix(".partial-")
        .tempdir_in(&dir)
        .map_err(io)?;
    let options = SaveOptions {
        dtype: WeightDtype::F32,
        ..SaveOptions::default()
    };
    model.save(&partial.path().join(MODEL), config, &options)?;
    let mut names = vec![];
    model.each_parameter(|parameter| names.push(parameter.name));
    let moments = names
        .iter()
        .zip(optimizer.moments())
        .flat_map(|(name, moments)| {
            let moments = moments.clone().into_iter();
            moments.flat_map(move |moments| {
                [
                    (format!("{name}.momentum"), Lazy::new(moments.momentum)),
                    (format!("{name}.variance"), Lazy::new(moments.variance)),
                ]
            })
        });
    let metadata = HashMap::from([
        ("step".to_owned(), step.to_string()),
        ("fingerprint".to_owned(), fingerprint.to_owned()),
    ]);
    let file = partial.path().join(OPTIMIZER);
    safetensors::serialize_to_file(moments, Some(metadata), &file).map_err(
        |error| match error {
            safetensors::SafeTensorError::IoError(error) => TrainError::io(&file, error),
            other => TrainError::io(&file, std::io::Error::other(other)),
        },
    )?;
    fs::File::open(&file)
        .and_then(|file| file.sync_all())
        .map_err(|error| TrainError::io(&file, error))?;
    let done = dir.join(format!("step-{step}"));
    sync_dir(partial.path())?;
    fs::rename(partial.keep(), &done).map_err(io)?;
    sync_dir(&dir)?;
    for (old, path) in all(&dir)? {
        if old != step {
            fs::remove_dir_all(&path).map_err(|error| TrainError::io(&path, error))?;
        }
    }
    Ok(())
}

/// A run as far as it had come.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) step: u64,
    pub(crate) model: CausalLm,
    pub(crate) optimizer: Optimizer,
}

/// The last checkpoint of a run, if there is one.
pub(crate) fn load(
    run: &RunFolder,
    fingerprint: &str,
    options: OptimizerOptions,
    device: &Device,
) -> Result<Option<Resumed>, TrainError> {
    let dir = run.checkpoints_dir();
    if !dir.exists() {
        return Ok(None);
    }
    remove_partial(&dir)?;
    let Some((step, path)) = all(&dir)?.into_iter().max_by_key(|(step, _)| *step) else {
        return Ok(None);
    };
    let file = path.join(OPTIMIZER);
    let bytes = fs::read(&file).map_err(|error| TrainError::io(&file, error))?;
    let broken = |problem: String| TrainError::Broken {
        path: file.clone(),
        problem,
    };
    let (_, metadata) =
        SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
    let stored = metadata
        .metadata()
        .as_ref()
        .and_then(|map| map.get("fingerprint"));
    if stored.map(String::as_str) != Some(fingerprint) {
        return Err(TrainError::Changed {
            path: run.path().to_owned(),
            what: "rows, objective or settings",
        });
    }
    let (model, _) = CausalLm::load(&path.join(MODEL), device)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    let plain = device.clone().without_autodiff();
    let moment = |name: &str, elements: usize| -> Result<Option<Tensor<1>>, TrainError> {
        let Ok(tensor) = tensors.tensor(name) else {
            return Ok(None);
        };
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [elements] {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(broken(format!(
                "{name} as {dtype:?} {shape:?} where F32 [{elements}] belongs"
            )));
        }
        let values: Vec<f32> = tensor
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        Ok(Some(Tensor::from_data(
            TensorData::new(values, [elements]),
            &plain,
        )))
    };
    let mut shapes = vec![];
    model.each_parameter(|parameter| shapes.push((parameter.name, parameter.shape)));
    let mut moments = vec![];
    for (name, shape) in shapes {
        let elements = shape.iter().product();
        let pair = (
            moment(&format!("{name}.momentum"), elements)?,
            moment(&format!("{name}.variance"), elements)?,
        );
        moments.push(match pair {
            (Some(momentum), Some(variance)) => Some(Moments { momentum, variance }),
            (None, None) => None,
            _ => return Err(broken(format!("one of the two moments of {name}"))),
        });
    }
    Ok(Some(Resumed {
        step,
        model,
        optimizer: Optimizer::resumed(options, step, moments),
    }))
}

/// The checkpoints in a folder.
fn all(dir: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let io = |error| TrainError::io(dir, error);
    let mut found = vec![];
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let step = name
            .to_str()
            .and_then(|name| name.strip_prefix("step-")?.parse().ok());
        found.extend(step.map(|step| (step, entry.path())));
    }
    Ok(found)
}

/// Removes what a killed process had begun to write.
fn remove_partial(dir: &Path) -> Result<(), TrainError> {
    let io = |error| TrainError::io(dir, error);
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().to_string_lossy().starts_with(".partial-") {
            fs::remove_dir_all(entry.path()).map_err(io)?;
        }
    }
    Ok(())
}
