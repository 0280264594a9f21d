//! A model in a folder: loaded, saved, and compared with what was there before.

use std::collections::HashSet;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{CausalLm, NamedParameter, WeightSource};
use crate::checkpoint::{HEAD, verify_weights};
use crate::{
    Checkpoint, CheckpointError, LazyTensor, ModelConfig, ModelError, SaveOptions, WeightDtype, memory, save,
    verify_description,
};

const EMBEDDING: &str = "model.embed_tokens.weight";

/// A checkpoint, and the names read from it so far.
struct Loading<'a> {
    checkpoint: &'a Checkpoint,
    /// Whether matrices stay as they are stored, where that is bf16.
    compact: bool,
    read: HashSet<String>,
}

impl WeightSource for Loading<'_> {
    type Error = CheckpointError;

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, CheckpointError> {
        self.read.insert(name.to_owned());
        if self.compact
            && D == 2
            && let Some(values) = self.checkpoint.tensor_bf16(name, &shape)?
        {
            let data = TensorData::new(values, shape);
            return Ok(Tensor::from_data(data, (device, DType::BF16)));
        }
        let values = self.checkpoint.tensor_f32(name, &shape)?;
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }
}

impl CausalLm {
    /// The model in a folder of Hugging Face layout, in f32, trainable if `device` has autodiff.
    ///
    /// # Errors
    /// If the folder's configuration or weights do not make a model we know; unread tensors are an error too, since
    /// leaving one out would change what the model computes.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        Self::read(dir, device, false)
    }

    /// The same model to be asked and not trained: on the CPU, matrices that are stored in bf16 stay so, and are widened to
    /// f32 where they are multiplied with. It computes the same in half the memory, and reading that is what a token costs.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_frozen(dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        Self::read(dir, device, mpo_kernels::linear_widens(device))
    }

    fn read(dir: &Path, device: &Device, compact: bool) -> Result<(Self, ModelConfig), ModelError> {
        verify_description(dir)?;
        let config = ModelConfig::from_dir(dir)?;
        verify_weights(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        check_memory(dir, &checkpoint, compact, device)?;
        let mut loading = Loading { checkpoint: &checkpoint, compact, read: HashSet::new() };
        let model = Self::new(config.decoder.clone(), &mut loading, device)?;
        if config.decoder.tie_word_embeddings && checkpoint.contains(HEAD) {
            // Some tied checkpoints hold the head all the same.
            loading.read.insert(HEAD.into());
            if !checkpoint.same(HEAD, EMBEDDING)? {
                return Err(ModelError::Untied { dir: dir.to_owned() });
            }
        }
        let (_, unknown) = Checkpoint::other_half(checkpoint.unused(&loading.read));
        if unknown.is_empty() {
            Ok((model, config))
        } else {
            Err(ModelError::UnknownTensors {
                dir: dir.to_owned(),
                names: unknown.into_iter().map(str::to_owned).collect(),
            })
        }
    }

    /// Writes the model as a folder that Transformers loads.
    ///
    /// # Errors
    /// If the folder cannot be written; then nothing is left behind.
    pub fn save(&self, dir: &Path, config: &ModelConfig, options: &SaveOptions<'_>) -> Result<(), ModelError> {
        let mut tensors = vec![];
        self.each_parameter(|parameter| tensors.push(parameter.into_lazy()));
        Ok(save(dir, &config.raw, tensors, options)?)
    }

    /// How much of what training changed is lost where weights are rounded to `dtype`: ‖rounded − w‖ / ‖w − base‖. At 1
    /// rounding undoes the training: bf16 has steps of 0.0001 near 0.02, and a run at a small learning rate stays below.
    ///
    /// # Errors
    /// If `base` has a parameter of this model in another shape or type.
    pub fn lost_by_rounding(&self, base: &Checkpoint, dtype: WeightDtype) -> Result<f64, CheckpointError> {
        let (mut lost, mut changed) = (0.0, 0.0);
        let mut result = Ok(());
        self.each_parameter(|parameter| {
            if result.is_err() || !base.contains(&parameter.name) {
                return;
            }
            match base.tensor_f32(&parameter.name, &parameter.shape) {
                Err(error) => result = Err(error),
                Ok(before) => {
                    let after = parameter.values.into_data().try_to_vec::<f32>();
                    let after = after.expect("parameters are f32");
                    for (after, before) in after.into_iter().zip(before) {
                        lost += f64::from(dtype.rounded(after) - after).powi(2);
                        changed += f64::from(after - before).powi(2);
                    }
                }
            }
        });
        result.map(|()| match changed {
            0.0 => 0.0,
            _ => (lost / changed).sqrt(),
        })
    }
}

impl NamedParameter {
    fn into_lazy(self) -> LazyTensor<'static> {
        let Self { name, shape, values } = self;
        LazyTensor {
            name,
            shape,
            values: Box::new(move || {
                let values = values.into_data().try_to_vec::<f32>();
                values.expect("parameters are f32")
            }),
        }
    }
}

/// On the CPU, what the weights take is known before they are read; training takes as much again for gradients, and twice
/// for the optimizer.
fn check_memory(dir: &Path, checkpoint: &Checkpoint, compact: bool, device: &Device) -> Result<(), ModelError> {
    if !mpo_kernels::linear_widens(device) {
        return Ok(());
    }
    let weights = checkpoint.bytes_in_memory(|dtype, axes| compact && axes == 2 && dtype == safetensors::Dtype::BF16);
    if device.is_autodiff() {
        memory::check(dir, weights.saturating_mul(4), "weights, gradients and the optimizer's moments in f32")
    } else {
        memory::check(dir, weights, "the weights")
    }
}
