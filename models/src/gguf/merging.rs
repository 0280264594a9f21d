//! The weights of a model one after another, an adapter's update added to each: the whole is never in memory.

use std::collections::HashSet;
use std::path::Path;

use crate::adapter::{AdapterFolder, adapter_weights};
use crate::checkpoint::HEAD;
use crate::{Checkpoint, CheckpointError, DecoderConfig, ModelError};

/// Weights of a model, or of an adapter and its base.
pub(super) struct Merging<'a> {
    base: Checkpoint,
    adapter: Option<(&'a AdapterFolder, Checkpoint)>,
}

impl<'a> Merging<'a> {
    /// Opens the weights.
    ///
    /// # Errors
    /// If there are none, or the adapter has weights that the model has no place for.
    pub(super) fn open(
        base: &Path,
        adapter: Option<&'a AdapterFolder>,
        config: &DecoderConfig,
    ) -> Result<Self, ModelError> {
        let adapter = match adapter {
            None => None,
            Some(folder) => {
                let weights = adapter_weights(folder.path())?;
                let places = config.projection_shapes().flat_map(|(path, _)| parts(&path));
                let unknown = weights.unused(&places.collect::<HashSet<_>>());
                if !unknown.is_empty() {
                    let names = unknown.into_iter().map(str::to_owned).collect();
                    return Err(ModelError::UnknownTensors { dir: folder.path().to_owned(), names });
                }
                Some((folder, weights))
            }
        };
        Ok(Self { base: Checkpoint::open(base)?, adapter })
    }

    /// The names and shapes of the model's tensors.
    ///
    /// # Errors
    /// If there are some that the architecture has no place for, or a tied head that is not the embedding.
    pub(super) fn tensors(&self, dir: &Path, config: &DecoderConfig) -> Result<Vec<(String, Vec<usize>)>, ModelError> {
        let tensors = config.tensors();
        let mut used: HashSet<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
        if config.tie_word_embeddings && self.base.contains(HEAD) {
            used.insert(HEAD.into());
            if !self.base.same(HEAD, EMBEDDING)? {
                return Err(ModelError::Untied { dir: dir.to_owned() });
            }
        }
        let (_, unknown) = Checkpoint::other_half(self.base.unused(&used));
        if unknown.is_empty() {
            return Ok(tensors);
        }
        let names = unknown.into_iter().map(str::to_owned).collect();
        Err(ModelError::UnknownTensors { dir: dir.to_owned(), names })
    }

    /// The numbers of a tensor.
    pub(super) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let mut values = self.base.tensor_f32(name, shape)?;
        let (Some((folder, weights)), [outputs, inputs]) = (&self.adapter, shape) else {
            return Ok(values);
        };
        let Some(path) = name.strip_suffix(".weight") else {
            return Ok(values);
        };
        let [a, b] = parts(path);
        if !weights.contains(&a) && !weights.contains(&b) {
            return Ok(values);
        }
        let (rank, scale) = (folder.config().rank_of(path), folder.config().scale_of(path) as f32);
        let (a, b) = (weights.tensor_f32(&a, &[rank, *inputs])?, weights.tensor_f32(&b, &[*outputs, rank])?);
        let mut update = vec![0f32; *inputs];
        for (row, b) in values.chunks_exact_mut(*inputs).zip(b.chunks_exact(rank)) {
            update.fill(0.0);
            for (b, a) in b.iter().zip(a.chunks_exact(*inputs)) {
                update.iter_mut().zip(a).for_each(|(update, a)| *update += b * a);
            }
            row.iter_mut().zip(&update).for_each(|(value, update)| *value += scale * update);
        }
        Ok(values)
    }
}

const EMBEDDING: &str = "model.embed_tokens.weight";

/// The names of the two parts of a linear map's update.
fn parts(path: &str) -> [String; 2] {
    ["lora_A", "lora_B"].map(|part| format!("{path}.{part}.weight"))
}
