//! Where weights come from, and how the trained ones are reached by name.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Distribution, Gradients, Tensor, TensorData};

use super::CausalLm;
use crate::{
    Checkpoint, CheckpointError, LazyTensor, ModelConfig, ModelError, SaveOptions, WeightDtype,
    checkpoint::{HEAD, verify_weights},
    memory, save, verify_description,
};

const EMBEDDING: &str = "model.embed_tokens.weight";

/// Gives tensors by their Hugging Face name.
pub trait WeightSource {
    /// Why it cannot.
    type Error;

    /// The tensor `name` of this shape, on `device`, f32 unless the source is asked to keep what it has.
    ///
    /// # Errors
    /// If there is none, or it has another shape.
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, Self::Error>;
}

/// A source and the device its tensors go to.
pub(super) struct Weights<'a, S> {
    pub(super) source: &'a mut S,
    pub(super) device: &'a Device,
}

impl<S: WeightSource> Weights<'_, S> {
    /// The parameter `module.name`; it asks for a gradient on a device with autodiff.
    pub(super) fn param<const D: usize>(
        &mut self,
        module: &str,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, S::Error> {
        let tensor = self.source.tensor(&format!("{module}.{name}"), shape, self.device)?;
        Ok(Param::initialized(ParamId::new(), trainable(tensor)))
    }
}

fn trainable<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.device().is_autodiff() {
        true => tensor.require_grad(),
        false => tensor,
    }
}

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

/// Fresh weights: normal with Hugging Face's standard deviation of 0.02, norms at their neutral value, biases zero.
#[derive(Debug)]
pub struct Initializer {
    norm_weight: f32,
}

impl Initializer {
    /// For a model whose norms multiply by `norm_offset + weight`. Seed the device first for the same weights each time.
    pub fn new(norm_offset: f32) -> Self {
        Self { norm_weight: 1.0 - norm_offset }
    }
}

impl WeightSource for Initializer {
    type Error = Infallible;

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, Infallible> {
        Ok(if name.contains("norm") {
            Tensor::full(shape, self.norm_weight, device)
        } else if name.ends_with("bias") {
            Tensor::zeros(shape, device)
        } else {
            Tensor::random(shape, Distribution::Normal(0.0, 0.02), device)
        })
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
        match unknown.is_empty() {
            true => Ok((model, config)),
            false => Err(ModelError::UnknownTensors {
                dir: dir.to_owned(),
                names: unknown.into_iter().map(str::to_owned).collect(),
            }),
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

    /// Calls `f` with every parameter, in a fixed order.
    pub fn each_parameter(&self, f: impl FnMut(NamedParameter)) {
        self.visit(&mut Visitor { path: vec![], f });
    }

    /// Takes every parameter's gradient out of `gradients`, flat, in the order of [`each_parameter`](Self::each_parameter);
    /// `None` where the loss does not depend on the parameter.
    pub fn take_gradients(&self, gradients: &mut Gradients) -> Vec<(String, Option<Tensor<1>>)> {
        let mut taken = vec![];
        self.visit(&mut GradientVisitor { path: vec![], gradients, taken: &mut taken });
        taken
    }

    /// Replaces every parameter by what `f` makes of its name and its flat value (without autodiff), in the same order.
    /// The value is handed over, so that `f` can change it in place.
    #[must_use]
    pub fn map_parameters(self, f: impl FnMut(&str, Tensor<1>) -> Tensor<1>) -> Self {
        self.map(&mut Mapper { path: vec![], f })
    }
}

/// A parameter as a checkpoint names it.
#[derive(Debug)]
pub struct NamedParameter {
    /// Its Hugging Face name.
    pub name: String,
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// Its elements in row-major order, without autodiff.
    pub values: Tensor<1>,
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
    match device.is_autodiff() {
        false => memory::check(dir, weights, "the weights"),
        true => memory::check(dir, weights.saturating_mul(4), "weights, gradients and the optimizer's moments in f32"),
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.without_autodiff().reshape([elements])
}

/// The parts of a module path and a closure to call at its leaves.
struct Visitor<F> {
    path: Vec<String>,
    f: F,
}

impl<F: FnMut(NamedParameter)> ModuleVisitor for Visitor<F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        (self.f)(NamedParameter { name: self.path.join("."), shape: tensor.dims().to_vec(), values: flat(tensor) });
    }
}

struct GradientVisitor<'a> {
    path: Vec<String>,
    gradients: &'a mut Gradients,
    taken: &'a mut Vec<(String, Option<Tensor<1>>)>,
}

impl ModuleVisitor for GradientVisitor<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(self.gradients).map(flat);
        self.taken.push((self.path.join("."), gradient));
    }
}

struct Mapper<F> {
    path: Vec<String>,
    f: F,
}

impl<F: FnMut(&str, Tensor<1>) -> Tensor<1>> ModuleMapper for Mapper<F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let (shape, autodiff) = (tensor.dims(), tensor.is_autodiff());
        let value = (self.f)(&self.path.join("."), flat(tensor)).reshape(shape);
        let value = match autodiff {
            true => value.autodiff().require_grad(),
            false => value,
        };
        Param::from_mapped_value(id, value, mapper)
    }
}
