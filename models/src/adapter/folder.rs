//! An adapter's folder: `adapter_config.json` and `adapter_model.safetensors`, beside the tokenizer's files or without them.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::{ADAPTER_FILE, AdapterConfig};
use crate::checkpoint::{
    ADAPTER_WEIGHTS, CheckpointError, INDEX_FILE, LazyTensor, MODEL_FILE, SaveOptions, save_in_place, write_config,
    write_file,
};
use crate::command::python;
use crate::config::CONFIG_FILE;
use crate::config::ConfigError;
use crate::error::shown;
use crate::{Checkpoint, ModelError, resolve, resolve_description};

const TOKENIZER_FILE: &str = "tokenizer.json";

/// Finds the folder of a model by its name and revision.
type Resolve = fn(&str, Option<&str>) -> Result<PathBuf, ModelError>;

/// An adapter that was found, and its base.
#[derive(Debug, Clone)]
pub struct AdapterFolder {
    path: PathBuf,
    base: PathBuf,
    config: AdapterConfig,
}

impl AdapterFolder {
    /// The adapter in `dir`, and the model that it says is its base: a folder, as it is named or beside the adapter, or a
    /// repository of the hub, which is fetched. None if there is no adapter in `dir`.
    ///
    /// # Errors
    /// If it is none that is computed here, or its base is not found, or is no model.
    pub fn find(dir: &Path) -> Result<Option<Self>, ModelError> {
        Self::find_with(dir, resolve)
    }

    /// The same where the weights of the base are not needed: of a repository of the hub they are not fetched.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_description(dir: &Path) -> Result<Option<Self>, ModelError> {
        Self::find_with(dir, resolve_description)
    }

    fn find_with(dir: &Path, resolve: Resolve) -> Result<Option<Self>, ModelError> {
        if !dir.join(ADAPTER_FILE).exists() {
            return Ok(None);
        }
        crate::verify_description(dir)?;
        let mut config = AdapterConfig::from_dir(dir)?;
        if [MODEL_FILE, INDEX_FILE].iter().any(|name| dir.join(name).exists()) {
            return Err(mixed(dir, &config));
        }
        if !dir.join(ADAPTER_WEIGHTS).exists() {
            return Err(without_weights(dir));
        }
        let base = base(dir, &mut config, resolve)?;
        if base.join(ADAPTER_FILE).exists() {
            return Err(ModelError::Folder {
                path: base,
                expected: "a model, as the base of an adapter",
                found: format!("another adapter ({ADAPTER_FILE})"),
                remedy: "merge that adapter into its base first, and name the merged model as the base of this one"
                    .into(),
            });
        }
        Ok(Some(Self { path: dir.to_owned(), base, config }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of its base.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// What it is.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// How many numbers its weights hold.
    ///
    /// # Errors
    /// If they cannot be opened.
    pub fn num_parameters(&self) -> Result<u64, CheckpointError> {
        let weights = adapter_weights(&self.path)?;
        let elements = weights.sizes(|_, info| info.shape.iter().product::<usize>() as u64);
        Ok(elements.map(|(_, elements)| elements).sum())
    }

    /// Where its tokenizer is: beside it, else beside its base.
    pub fn tokenizer_dir(&self) -> &Path {
        if self.path.join(TOKENIZER_FILE).exists() { &self.path } else { &self.base }
    }

    /// A hash of all that decides what base and adapter compute together.
    ///
    /// # Errors
    /// If a file of theirs cannot be read.
    pub fn content_hash(&self) -> Result<String, CheckpointError> {
        let base = Checkpoint::open(&self.base)?.content_hash()?;
        let own = adapter_weights(&self.path)?.content_hash()?;
        let mut hasher = blake3::Hasher::new();
        for part in [base, own, self.config.digest()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// The weights of the adapter in `dir`.
pub(crate) fn adapter_weights(dir: &Path) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open_file(dir, ADAPTER_WEIGHTS)
}

/// Writes an adapter as the folder `dir`, all or nothing, as [`save`](crate::save) does it.
pub(crate) fn save_adapter(
    dir: &Path,
    config: &AdapterConfig,
    tensors: Vec<LazyTensor<'_>>,
    options: &SaveOptions<'_>,
) -> Result<(), CheckpointError> {
    save_in_place(dir, options, |partial| {
        write_config(&partial.join(ADAPTER_FILE), config.raw())?;
        write_file(&partial.join(ADAPTER_WEIGHTS), tensors, options.dtype)
    })
}

/// The base's folder; a base on this machine is named as it lies, so that an adapter that is saved elsewhere finds it too.
fn base(dir: &Path, config: &mut AdapterConfig, resolve: Resolve) -> Result<PathBuf, ModelError> {
    let unnamed = |got: String| ConfigError {
        file: dir.join(ADAPTER_FILE),
        key: "base_model_name_or_path".into(),
        expected: "the folder or the owner/name of its base model".into(),
        got,
        hint: "write there where the base model is now",
    };
    let name = config.base().ok_or_else(|| unnamed("nothing".into()))?;
    let named = [PathBuf::from(name), dir.join(name)].into_iter().find(|path| path.exists());
    if let Some(path) = named.and_then(|path| fs::canonicalize(path).ok()) {
        let path = path.to_string_lossy();
        config.set_base(&path);
        return resolve(&path, None);
    }
    resolve(name, config.revision()).map_err(|error| match error {
        ModelError::NotAModel { model } => unnamed(format!("{}, which is neither", shown(&model))).into(),
        error => error,
    })
}

/// A folder that holds an adapter and a model: Transformers would put the two together.
fn mixed(dir: &Path, config: &AdapterConfig) -> ModelError {
    let base = config.base().map_or("its base model".into(), |base| format!("{base:.200?}"));
    let model = if dir.join(CONFIG_FILE).exists() { "a model" } else { "a model's weights" };
    ModelError::Folder {
        path: dir.to_owned(),
        expected: "a model or an adapter",
        found: format!("{model} and an adapter of {base} ({ADAPTER_FILE})"),
        remedy: format!(
            "Transformers would use both: move {ADAPTER_FILE} away to use the model without it, or the weights of the model \
             to use the adapter"
        ),
    }
}

fn without_weights(dir: &Path) -> ModelError {
    const PICKLE: &str = "adapter_model.bin";
    let (found, remedy) = if dir.join(PICKLE).exists() {
        let convert = python(
            "from sys import argv as a; from peft import AutoPeftModelForCausalLM as M; \
             M.from_pretrained(a[1]).save_pretrained(a[2])",
            dir,
            "-safetensors",
        );
        (format!("weights as a Python pickle ({PICKLE:?})"), format!("convert them with `{convert}`"))
    } else {
        ("none".into(), "download the adapter's other files too".into())
    };
    ModelError::Folder {
        path: dir.to_owned(),
        expected: "an adapter's weights in adapter_model.safetensors",
        found,
        remedy,
    }
}
