//! A model in a folder: loaded, saved, and compared with what was there before.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_kernels::{Nf4, Nf4Data};
use safetensors::tensor::TensorInfo;

use super::{CausalLm, NamedParameter, Translator, WeightSource};
use crate::adapter::save_adapter;
use crate::checkpoint::{HEAD, verify_weights};
use crate::{
    AdapterFolder, Checkpoint, CheckpointError, LazyTensor, ModelConfig, ModelError, Precision, Quantization,
    SaveOptions, TranslatorConfig, WeightDtype, memory, save, verify_description,
};

const EMBEDDING: &str = "model.embed_tokens.weight";

/// The embedding that an encoder and a decoder share, by the names that it has in one checkpoint or another.
const SHARED: [&str; 3] = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// What published checkpoints of T5 hold and nothing uses: attention across has no relative positions.
const UNUSED: &str = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

/// What weights are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// f32, to be trained.
    Trained,
    /// As they are stored, where that is bf16 or NF4.
    Stored,
    /// The same, for products in bf16.
    Multiplied,
    /// As they are stored, where that is bf16; NF4 is unpacked.
    Dense,
    /// The linear maps of layers smaller than they are stored.
    Quantized(Quantization),
}

/// A checkpoint, and the names read from it so far.
struct Loading<'a> {
    checkpoint: &'a Checkpoint,
    kept: Kept,
    /// Whether matrices stay as they are stored, where that is bf16.
    compact: bool,
    /// What an embedding that is shared is asked for as, and the name under which it is stored.
    shared: [&'static str; 2],
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
        let name = if name == self.shared[0] { self.shared[1] } else { name };
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

    fn nf4(&mut self, name: &str, shape: [usize; 2], device: &Device) -> Result<Option<Nf4>, CheckpointError> {
        if matches!(self.kept, Kept::Trained | Kept::Dense) {
            return Ok(None);
        }
        let data = match (self.checkpoint.nf4(name, &shape)?, self.kept) {
            (Some(stored), _) => stored,
            (None, Kept::Quantized(Quantization::Nf4 { double })) => {
                Nf4Data::quantize(&self.checkpoint.tensor_f32(name, &shape)?, double)
            }
            (None, _) => return Ok(None),
        };
        self.read.insert(name.to_owned());
        Ok(Some(Nf4::new(&data, shape, device)))
    }
}

impl<'a> Loading<'a> {
    fn new(checkpoint: &'a Checkpoint, kept: Kept, compact: bool) -> Self {
        Self { checkpoint, kept, compact, shared: [SHARED[0]; 2], read: HashSet::new() }
    }

    /// Which matrices a checkpoint of an encoder and a decoder holds, as Transformers 5 takes it: one embedding for both, whichever
    /// of `names` it has, and a head of its own if one is stored and is not the embedding, whatever the configuration says. Returns
    /// whether there is none.
    fn settle(&mut self, dir: &Path, names: [&'static str; 3]) -> Result<bool, ModelError> {
        let checkpoint = self.checkpoint;
        let stored = |name: &&str| checkpoint.contains(name);
        let shared = names.into_iter().find(stored).unwrap_or(names[0]);
        self.shared = [names[0], shared];
        for other in names.into_iter().filter(stored) {
            if !checkpoint.same(other, shared)? {
                return Err(ModelError::Folder {
                    path: dir.to_owned(),
                    expected: "one embedding for encoder and decoder",
                    found: format!("{other} and {shared} of different numbers"),
                    remedy: "choose a model whose encoder and decoder share their embedding, as those of T5 do".into(),
                });
            }
            self.read.insert(other.into());
        }
        let is_stored = checkpoint.contains(HEAD);
        if is_stored {
            self.read.insert(HEAD.into());
        }
        Ok(!is_stored || checkpoint.same(HEAD, shared)?)
    }

    /// That every tensor was read.
    fn check_read(&self, dir: &Path) -> Result<(), ModelError> {
        let (_, unknown) = Checkpoint::other_half(self.checkpoint.unused(&self.read));
        if unknown.is_empty() {
            return Ok(());
        }
        let names = unknown.into_iter().map(str::to_owned).collect();
        Err(ModelError::UnknownTensors { dir: dir.to_owned(), names })
    }
}

/// The same of a translator.
const SHARED_BY_TRANSLATOR: [&str; 3] =
    ["model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"];

/// The positions that older checkpoints of translators hold. They follow from the configuration.
const POSITIONS: [&str; 2] = ["model.encoder.embed_positions.weights", "model.decoder.embed_positions.weights"];

impl Translator {
    /// The translator in a folder of Hugging Face layout, to be asked: on the CPU, matrices that are stored in bf16 stay so.
    ///
    /// # Errors
    /// If the folder's configuration or weights do not make one.
    pub fn load(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        verify_description(dir)?;
        let config = TranslatorConfig::from_dir(dir)?;
        verify_weights(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        let compact = CausalLm::keeps_bf16(device);
        check_memory(dir, &checkpoint, Kept::Stored, compact, device)?;
        let mut loading = Loading::new(&checkpoint, Kept::Stored, compact);
        let is_tied = loading.settle(dir, SHARED_BY_TRANSLATOR)?;
        loading.read.extend(POSITIONS.map(str::to_owned));
        let translator = Self::new(config, is_tied, &mut loading, device)?;
        loading.check_read(dir)?;
        Ok(translator)
    }
}

impl CausalLm {
    /// The model in a folder of Hugging Face layout, in f32, trainable if `device` has autodiff. In an adapter's folder it is
    /// the adapter on its base: then only the adapter's weights are trainable, and the base is as
    /// [`load_frozen`](Self::load_frozen) loads it.
    ///
    /// # Errors
    /// If the folder's configuration or weights do not make a model we know; unread tensors are an error too, since
    /// leaving one out would change what the model computes. On a device with autodiff also if weights are in NF4, which are
    /// not trained.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        match AdapterFolder::find(dir)? {
            None => Self::read(dir, device, Kept::Trained),
            Some(adapter) => Self::on_base(&adapter, device, Kept::Stored),
        }
    }

    /// The same model to be asked, or to be trained an adapter of: on the CPU, matrices that are stored in bf16 stay so, and
    /// are widened to f32 where they are multiplied with. It computes the same in half the memory, and reading that is what
    /// a token costs. They stay so too on a GPU with bf16 and autodiff. What is stored in NF4 stays so everywhere.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_frozen(dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        Self::asked(dir, device, Kept::Stored)
    }

    /// The same with its products made in `precision`; for those of bf16 a GPU keeps bf16 matrices as they are stored.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_in(precision: Precision, dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        let kept = match precision {
            Precision::F32 => Kept::Stored,
            Precision::Bf16 => Kept::Multiplied,
        };
        let (model, config) = Self::asked(dir, device, kept)?;
        Ok((model.with_precision(precision), config))
    }

    /// The same with the linear maps of the layers quantized, one after another as they are read; those of a base that is
    /// quantized already stay as they are stored.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_quantized(
        dir: &Path,
        device: &Device,
        quantization: Quantization,
    ) -> Result<(Self, ModelConfig), ModelError> {
        Self::asked(dir, device, Kept::Quantized(quantization))
    }

    /// The same to be saved whole: what is stored in NF4 is unpacked.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_dense(dir: &Path, device: &Device) -> Result<(Self, ModelConfig), ModelError> {
        Self::asked(dir, device, Kept::Dense)
    }

    /// Whether matrices of a frozen model that are stored in bf16 stay so on a device. Where a product casts the whole of one
    /// first, that is worth it in training, whose products have many rows, and not for answers, which are made token by token.
    pub fn keeps_bf16(device: &Device) -> bool {
        mpo_kernels::linear_widens(device) || (device.is_autodiff() && device.supports_dtype(DType::BF16))
    }

    /// Whether the matrices of the model in a folder are stored in bf16. Where its weights have not been fetched,
    /// `config.json` says what they are stored in, and Transformers takes those of a file that says nothing for f32.
    pub fn is_stored_in_bf16(dir: &Path, config: &ModelConfig) -> bool {
        let of = |checkpoint: Checkpoint| {
            [EMBEDDING].into_iter().chain(SHARED).find_map(|embedding| checkpoint.dtype(embedding))
        };
        let stored = Checkpoint::open(dir).ok().and_then(of);
        match stored {
            Some(dtype) => dtype == safetensors::Dtype::BF16,
            None => {
                let said = ["dtype", "torch_dtype"].into_iter().find_map(|key| config.raw.get(key));
                said.is_some_and(|dtype| dtype == WeightDtype::BF16.torch())
            }
        }
    }

    fn asked(dir: &Path, device: &Device, kept: Kept) -> Result<(Self, ModelConfig), ModelError> {
        match AdapterFolder::find(dir)? {
            None => Self::read(dir, device, kept),
            Some(adapter) => {
                let (model, config) = Self::on_base(&adapter, device, kept)?;
                Ok((model.frozen(), config))
            }
        }
    }

    fn on_base(adapter: &AdapterFolder, device: &Device, kept: Kept) -> Result<(Self, ModelConfig), ModelError> {
        let (base, config) = Self::read(adapter.base(), device, kept)?;
        Ok((base.with_adapter_of(adapter)?, config))
    }

    fn with_adapter_of(self, adapter: &AdapterFolder) -> Result<Self, ModelError> {
        verify_weights(adapter.path())?;
        self.with_adapter_weights(adapter.path(), adapter.config().clone())
    }

    /// This model, or its base, with another adapter, to be asked; both share the base's weights.
    ///
    /// # Errors
    /// If the folder has no adapter of this model, or its weights are damaged.
    pub fn beside(&self, adapter: &AdapterFolder) -> Result<Self, ModelError> {
        Ok(self.clone().with_adapter_of(adapter)?.frozen())
    }

    fn read(dir: &Path, device: &Device, kept: Kept) -> Result<(Self, ModelConfig), ModelError> {
        verify_description(dir)?;
        let mut config = ModelConfig::from_dir(dir)?;
        verify_weights(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        let frozen = kept != Kept::Trained;
        if !frozen && device.is_autodiff() && checkpoint.has_nf4() {
            return Err(ModelError::Packed { dir: dir.to_owned() });
        }
        let is_multiplied = kept == Kept::Multiplied && device.supports_dtype(DType::BF16);
        let compact = frozen && (is_multiplied || Self::keeps_bf16(device));
        check_memory(dir, &checkpoint, kept, compact, device)?;
        let mut loading = Loading::new(&checkpoint, kept, compact);
        if config.decoder.encoder.is_some() {
            config.decoder.tie_word_embeddings = loading.settle(dir, SHARED)?;
            loading.read.insert(UNUSED.into());
        }
        let model = Self::new(config.decoder.clone(), &mut loading, device)?;
        let model = if frozen { model.frozen() } else { model };
        if config.decoder.encoder.is_none() && config.decoder.tie_word_embeddings && checkpoint.contains(HEAD) {
            // Some tied checkpoints hold the head all the same.
            loading.read.insert(HEAD.into());
            if !checkpoint.same(HEAD, EMBEDDING)? {
                return Err(ModelError::Untied { dir: dir.to_owned() });
            }
        }
        loading.check_read(dir)?;
        Ok((model, config))
    }

    /// Writes the model as a folder that Transformers loads, whole: an adapter is merged into the weights beside it.
    ///
    /// # Errors
    /// If the folder cannot be written; then nothing is left behind. If weights are in NF4: those are not written.
    pub fn save(&self, dir: &Path, config: &ModelConfig, options: &SaveOptions<'_>) -> Result<(), ModelError> {
        if self.quantization().is_some() {
            return Err(ModelError::PackedWhole { dir: dir.to_owned() });
        }
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
        base.each_parameter(|NamedParameter { name, shape, values, .. }| {
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
        Ok(share_lost(lost, changed))
    }
}

impl CausalLm {
    /// The same of an adapter: of what it adds to the weights of its linear maps, and what training changed of that. It began
    /// as the adapter `start`, or at zero.
    ///
    /// # Errors
    /// If `start` is no adapter of this model.
    pub fn adapter_lost_by_rounding(
        &self,
        start: Option<&AdapterFolder>,
        dtype: WeightDtype,
    ) -> Result<f64, ModelError> {
        let (base, updates) = self.clone().split();
        let mut started = match start {
            Some(start) => base.with_adapter_weights(start.path(), start.config().clone())?.split().1,
            None => HashMap::new(),
        };
        let (mut lost, mut changed) = (0.0, 0.0);
        for (path, update) in updates {
            let after = update.matrix();
            let rounded = update.rounded(dtype).matrix();
            let norm = |matrix: Tensor<2>| f64::from(matrix.square().sum().into_scalar::<f32>());
            lost += norm(rounded - after.clone());
            changed += norm(match started.remove(&path) {
                Some(before) => after - before.matrix(),
                None => after,
            });
        }
        Ok(share_lost(lost, changed))
    }
}

/// ‖lost‖ / ‖changed‖ of two squares.
fn share_lost(lost: f64, changed: f64) -> f64 {
    if changed == 0.0 { 0.0 } else { (lost / changed).sqrt() }
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

/// What the weights take is known before they are read: each must be a tensor that the device has room for, and on the CPU
/// all together must fit. What training takes beside them depends on how: that is the trainer's to say.
fn check_memory(
    dir: &Path,
    checkpoint: &Checkpoint,
    kept: Kept,
    compact: bool,
    device: &Device,
) -> Result<(), ModelError> {
    let bytes = |name: &str, info: &TensorInfo| {
        let elements = info.shape.iter().product::<usize>() as u64;
        let is_matrix = info.shape.len() == 2;
        match info.dtype {
            // Two numbers a byte, which are unpacked to f32.
            safetensors::Dtype::U8 if matches!(kept, Kept::Trained | Kept::Dense) && checkpoint.is_nf4(name) => {
                8 * elements
            }
            safetensors::Dtype::U8 => elements,
            // Half a byte, and a scale of 32 bits for each 64.
            _ if matches!(kept, Kept::Quantized(_)) && is_matrix && is_in_layer(name) => elements / 2 + elements / 16,
            safetensors::Dtype::BF16 if compact && is_matrix => 2 * elements,
            _ => 4 * elements,
        }
    };
    match mpo_kernels::device_memory(device) {
        Some(memory) => check_tensors(dir, checkpoint.sizes(bytes), memory.largest),
        None => memory::check(dir, checkpoint.sizes(bytes).map(|(_, bytes)| bytes).sum(), "the weights"),
    }
}

fn is_in_layer(name: &str) -> bool {
    ["model.layers.", "encoder.block.", "decoder.block."].iter().any(|stack| name.starts_with(stack))
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
    use crate::decoder::testing::{configs, models};

    #[test]
    fn what_a_model_is_stored_in_is_known_with_and_without_its_weights() {
        let ((_, model), (_, mut config)) = (models().remove(0), configs().remove(0));
        for (dtype, is_bf16) in [(WeightDtype::BF16, true), (WeightDtype::F16, false), (WeightDtype::F32, false)] {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("model");
            model.save(&dir, &config, &SaveOptions { dtype, ..SaveOptions::default() }).unwrap();
            let saved = ModelConfig::from_dir(&dir).unwrap();
            assert_eq!(CausalLm::is_stored_in_bf16(&dir, &saved), is_bf16, "{dtype:?}");
            assert_eq!(Checkpoint::open(&dir).unwrap().weight_dtype(), dtype);
            // What the file says does not count beside the weights.
            config.raw.insert("torch_dtype".into(), "bfloat16".into());
            assert_eq!(CausalLm::is_stored_in_bf16(&dir, &config), is_bf16, "{dtype:?}");
            std::fs::remove_file(dir.join("model.safetensors")).unwrap();
            assert_eq!(CausalLm::is_stored_in_bf16(&dir, &saved), is_bf16, "{dtype:?}");
        }
        config.raw.remove("torch_dtype");
        config.raw.remove("dtype");
        assert!(!CausalLm::is_stored_in_bf16(Path::new("no/such"), &config));
    }

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
