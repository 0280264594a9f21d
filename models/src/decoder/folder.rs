//! A model in a folder: loaded, saved, and compared with what was there before.

use std::collections::HashSet;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{CausalLm, NamedParameter, WeightSource};
use crate::adapter::save_adapter;
use crate::checkpoint::{HEAD, verify_weights};
use crate::{
    AdapterFolder, Checkpoint, CheckpointError, LazyTensor, ModelConfig, ModelError, SaveOptions, WeightDtype, memory,
    save, verify_description,
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
    /// The model in a folder of Hugging Face layout, in f32, trainable if `device` has autodiff. In an adapter's folder it is
    /// the adapter on its base: then only the adapter's weights are trainable, and the base is as
    /// [`load_frozen`](Self::load_frozen) loads it.
    ///
    /// # Errors
    /// If the folder's configuration or weights do not make a model we know; unread tensors are an error too, since
    /// leaving one out would change what the model computes.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        match AdapterFolder::find(dir)? {
            None => Self::read(dir, device, false),
            Some(adapter) => {
                let (base, config) = Self::read(adapter.base(), device, true)?;
                verify_weights(dir)?;
                Ok((base.with_adapter_weights(dir, adapter.config().clone())?, config))
            }
        }
    }

    /// The same model to be asked, or to be trained an adapter of: on the CPU, matrices that are stored in bf16 stay so, and
    /// are widened to f32 where they are multiplied with. It computes the same in half the memory, and reading that is what
    /// a token costs. They stay so too on a GPU with bf16 and autodiff.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_frozen(dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        if AdapterFolder::find(dir)?.is_some() {
            let (model, config) = Self::load(dir, device)?;
            return Ok((model.frozen(), config));
        }
        Self::read(dir, device, true)
    }

    fn read(dir: &Path, device: &Device, frozen: bool) -> Result<(Self, ModelConfig), ModelError> {
        verify_description(dir)?;
        let config = ModelConfig::from_dir(dir)?;
        verify_weights(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        let compact = frozen && keeps_bf16(device);
        check_memory(dir, &checkpoint, compact, device)?;
        let mut loading = Loading { checkpoint: &checkpoint, compact, read: HashSet::new() };
        let model = Self::new(config.decoder.clone(), &mut loading, device)?;
        let model = if frozen { model.frozen() } else { model };
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

    /// Writes the model as a folder that Transformers loads, whole: an adapter is merged into the weights beside it.
    ///
    /// # Errors
    /// If the folder cannot be written; then nothing is left behind.
    pub fn save(&self, dir: &Path, config: &ModelConfig, options: &SaveOptions<'_>) -> Result<(), ModelError> {
        Ok(save(dir, &config.raw, self.tensors(), options)?)
    }

    /// Writes what is trained of the model: of one with an adapter the adapter, as a folder that PEFT loads, of another all
    /// of it, as [`save`](Self::save) does. What is read back is the same to the bit if it is stored in f32.
    ///
    /// # Errors
    /// If the folder cannot be written; then nothing is left behind.
    pub fn save_trained(&self, dir: &Path, config: &ModelConfig, options: &SaveOptions<'_>) -> Result<(), ModelError> {
        let Some(adapter) = self.adapter() else {
            return self.save(dir, config, options);
        };
        let (_, updates) = self.clone().split();
        let mut tensors = vec![];
        for (path, update) in updates {
            for (part, weight) in update.weights() {
                let name = format!("base_model.model.{path}.{part}.weight");
                let shape = weight.dims().to_vec();
                tensors.push(LazyTensor {
                    name,
                    shape,
                    values: Box::new(std::iter::once_with(move || floats(weight))),
                });
            }
        }
        tensors.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(save_adapter(dir, adapter, tensors, options)?)
    }

    /// Every tensor of the whole model. One that an adapter changes is made when its turn comes.
    fn tensors(&self) -> Vec<LazyTensor<'static>> {
        let (base, mut updates) = self.clone().split();
        let mut tensors = vec![];
        base.each_parameter(|NamedParameter { name, shape, values }| {
            let update = name.strip_suffix(".weight").and_then(|path| updates.remove(path));
            let values: Box<dyn Iterator<Item = Vec<f32>>> = match update {
                None => Box::new(parts(values)),
                Some(update) => Box::new(std::iter::once_with(move || {
                    let update = update.matrix();
                    floats(values.cast(DType::F32).reshape(update.dims()) + update)
                })),
            };
            tensors.push(LazyTensor { name, shape, values });
        });
        tensors
    }

    /// How much of what training changed is lost where weights are rounded to `dtype`: ‖rounded − w‖ / ‖w − base‖. At 1
    /// rounding undoes the training: bf16 has steps of 0.0001 near 0.02, and a run at a small learning rate stays below.
    ///
    /// # Errors
    /// If `base` has a parameter of this model in another shape or type.
    pub fn lost_by_rounding(&self, base: &Checkpoint, dtype: WeightDtype) -> Result<f64, CheckpointError> {
        let (mut lost, mut changed) = (0.0, 0.0);
        for LazyTensor { name, shape, values } in self.tensors() {
            if !base.contains(&name) {
                continue;
            }
            let before = base.tensor_f32(&name, &shape)?;
            for (after, before) in values.flatten().zip(before) {
                lost += f64::from(dtype.rounded(after) - after).powi(2);
                changed += f64::from(after - before).powi(2);
            }
        }
        Ok(match changed {
            0.0 => 0.0,
            _ => (lost / changed).sqrt(),
        })
    }
}

/// The elements of a tensor, some megabytes at a time.
fn parts(tensor: Tensor<1>) -> impl Iterator<Item = Vec<f32>> {
    const PART: usize = 1 << 22;
    let [elements] = tensor.dims();
    let starts = (0..elements).step_by(PART);
    starts.map(move |start| floats(tensor.clone().slice([start..(start + PART).min(elements)])))
}

/// The elements of a tensor; those of a frozen model may be bf16.
fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.without_autodiff().into_data().convert::<f32>();
    data.try_to_vec().expect("the data has just been converted to f32")
}

/// Whether frozen matrices stay bf16 on a device. Where a product casts the whole of one first, that is worth it in training,
/// whose products have many rows, and not for answers, which are made token by token.
fn keeps_bf16(device: &Device) -> bool {
    mpo_kernels::linear_widens(device) || (device.is_autodiff() && device.supports_dtype(DType::BF16))
}

/// What the weights take is known before they are read: each must be a tensor that the device has room for, and on the CPU
/// all together must fit. What training takes beside them depends on how: that is the trainer's to say.
fn check_memory(dir: &Path, checkpoint: &Checkpoint, compact: bool, device: &Device) -> Result<(), ModelError> {
    let kept = |dtype, axes| compact && axes == 2 && dtype == safetensors::Dtype::BF16;
    match mpo_kernels::device_memory(device) {
        Some(memory) => check_tensors(dir, checkpoint.bytes_in_memory(kept), memory.largest),
        None => memory::check(dir, checkpoint.bytes_in_memory(kept).map(|(_, bytes)| bytes).sum(), "the weights"),
    }
}

/// Checks that a device which takes tensors of at most `largest` bytes takes these, by name.
fn check_tensors<'t>(
    dir: &Path,
    mut tensors: impl Iterator<Item = (&'t str, u64)>,
    largest: u64,
) -> Result<(), ModelError> {
    tensors.find(|&(_, bytes)| bytes > largest).map_or(Ok(()), |(name, bytes)| {
        Err(ModelError::TooLarge { dir: dir.to_owned(), name: name.to_owned(), bytes, largest })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_that_a_device_has_no_room_for_is_named() {
        // Embeddings of LLaMA 3.1 8B and Qwen2.5 7B in f32, and the largest buffer of wgpu.
        let (llama, qwen, largest) = (128_256 * 4_096 * 4, 152_064 * 3_584 * 4, (1 << 31) - 1);
        let check = |bytes| check_tensors(Path::new("qwen"), [("norm", 4), ("embed", bytes)].into_iter(), largest);
        check(llama).unwrap();
        let error = check(qwen).unwrap_err();
        assert_eq!(
            error.to_string(),
            "qwen: expected tensors of at most 2147483647 bytes, which the device takes, got embed of 2179989504"
        );
        assert!(error.hint().is_some());
    }
}
