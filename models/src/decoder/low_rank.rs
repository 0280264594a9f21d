//! An adapter of the linear maps of the layers: the only weights that are trained, beside others that stay as they are.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use mpo_kernels::linear;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::layers::{Linear, Weight};
use super::weights::trainable;
use super::{Alone, CausalLm, Trunk};
use crate::adapter::{AdapterConfig, adapter_weights};
use crate::{CheckpointError, LoraOptions, ModelError, Quantization, WeightDtype};

/// A low-rank update of a linear map: `scale · x · aᵀ · bᵀ`. The matrix `b · a` is never made.
#[derive(Module, Debug)]
pub(super) struct LowRank {
    /// `[rank, inputs]`
    lora_a: Param<Tensor<2>>,
    /// `[outputs, rank]`
    lora_b: Param<Tensor<2>>,
    #[module(skip)]
    scale: f64,
}

impl LowRank {
    fn new(lora_a: Tensor<2>, lora_b: Tensor<2>, scale: f64) -> Self {
        let [lora_a, lora_b] = [lora_a, lora_b].map(|weight| Param::initialized(ParamId::new(), trainable(weight)));
        Self { lora_a, lora_b, scale }
    }

    /// Adds to the output: `[rows, outputs]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        // Scaled where it is narrow.
        let narrow = linear(x, self.lora_a.val()).mul_scalar(self.scale);
        linear(narrow, self.lora_b.val())
    }

    /// Its weights by PEFT's names.
    pub(super) fn weights(&self) -> [(&'static str, Tensor<2>); 2] {
        [("lora_A", &self.lora_a), ("lora_B", &self.lora_b)].map(|(name, weight)| (name, weight.val()))
    }

    /// The same with weights that are stored in another type.
    pub(super) fn rounded(self, dtype: WeightDtype) -> Self {
        let rounded = |weight: Param<Tensor<2>>| {
            let weight = weight.val().without_autodiff();
            let (dims, device) = (weight.dims(), weight.device());
            let values = weight.into_data().convert::<f32>();
            let values = values.try_to_vec::<f32>().expect("the data has just been converted to f32");
            let values = values.into_iter().map(|value| dtype.rounded(value)).collect();
            Tensor::from_data(TensorData::new(values, dims), &device)
        };
        Self::new(rounded(self.lora_a), rounded(self.lora_b), self.scale)
    }

    /// The update as a matrix beside the weight, `[outputs, inputs]`, without autodiff.
    pub(super) fn matrix(&self) -> Tensor<2> {
        let [a, b] = [&self.lora_a, &self.lora_b].map(|weight| weight.val().without_autodiff());
        b.matmul(a).mul_scalar(self.scale)
    }
}

impl CausalLm {
    /// The model with a new adapter. It computes what it did, to the bit, as the adapter's `b` is zero; its own weights are
    /// frozen, and on a device with autodiff the adapter's are trainable. `base` is what the adapter's folder will say that
    /// its base is: a folder's path, or `owner/name`.
    ///
    /// # Errors
    /// If a target names no linear map of the model.
    pub fn with_adapter(self, options: &LoraOptions, base: &str) -> Result<Self, ModelError> {
        let device = self.device();
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        options.check(&self.config, None)?;
        let config = AdapterConfig::new(options, &self.config, base);
        let mut model = self.frozen();
        for (path, linear) in model.projections().filter(|(path, _)| options.names(path)) {
            let [outputs, inputs] = linear.shape();
            // PEFT's beginning: PyTorch's `kaiming_uniform_` with a = √5.
            let bound = 1.0 / (inputs as f32).sqrt();
            let a: Vec<f32> = (0..options.rank * inputs).map(|_| rng.random_range(-bound..bound)).collect();
            let a = Tensor::from_data(TensorData::new(a, [options.rank, inputs]), &device);
            let b = Tensor::zeros([outputs, options.rank], &device);
            linear.adapter = Some(LowRank::new(a, b, config.scale_of(&path)));
        }
        model.adapter = Some(config);
        Ok(model)
    }

    /// The model with the adapter in `dir` in place of its own, if it has one. Its own weights are frozen, and on a device
    /// with autodiff the adapter's are trainable.
    ///
    /// # Errors
    /// If the folder has no adapter of this model, or it is none that is computed here.
    pub fn with_saved_adapter(self, dir: &Path) -> Result<Self, ModelError> {
        self.with_adapter_weights(dir, AdapterConfig::from_dir(dir)?)
    }

    /// The same with what is known of the adapter already, whatever the folder says of it.
    ///
    /// # Errors
    /// If the folder has no adapter of this kind and model.
    pub fn with_adapter_weights(self, dir: &Path, config: AdapterConfig) -> Result<Self, ModelError> {
        let weights = adapter_weights(dir)?;
        let device = self.device();
        let mut model = self.frozen();
        let mut read = HashSet::new();
        for (path, linear) in model.projections() {
            let [outputs, inputs] = linear.shape();
            let rank = config.rank_of(&path);
            let shapes = [("lora_A", [rank, inputs]), ("lora_B", [outputs, rank])];
            let names = shapes.map(|(part, _)| format!("{path}.{part}.weight"));
            linear.adapter = None;
            if !names.iter().any(|name| weights.contains(name)) {
                continue;
            }
            let mut of = |at: usize| -> Result<Tensor<2>, CheckpointError> {
                let (name, shape) = (&names[at], shapes[at].1);
                read.insert(name.clone());
                let values = weights.tensor_f32(name, &shape)?;
                Ok(Tensor::from_data(TensorData::new(values, shape), &device))
            };
            linear.adapter = Some(LowRank::new(of(0)?, of(1)?, config.scale_of(&path)));
        }
        let names = weights.unused(&read);
        if !names.is_empty() {
            let names = names.into_iter().map(str::to_owned).collect();
            return Err(ModelError::UnknownTensors { dir: dir.to_owned(), names });
        }
        model.adapter = Some(config);
        Ok(model)
    }

    /// The model without its adapter, and the adapter's updates by the paths of their linear maps.
    pub(super) fn split(mut self) -> (Self, HashMap<String, LowRank>) {
        let updates = self.projections().filter_map(|(path, linear)| Some((path, linear.adapter.take()?))).collect();
        self.adapter = None;
        (self, updates)
    }

    /// The linear maps of the layers, by path.
    fn projections(&mut self) -> Box<dyn Iterator<Item = (String, &mut Linear)> + '_> {
        match &mut self.trunk {
            Trunk::Alone(Alone { model }) => {
                Box::new(model.layers.iter_mut().enumerate().flat_map(|(index, block)| {
                    let of = move |(part, name, linear)| (format!("model.layers.{index}.{part}.{name}"), linear);
                    block.projections().map(of)
                }))
            }
            Trunk::Behind(model) => Box::new(model.projections()),
        }
    }

    /// What the linear maps of the layers are stored in, if they are quantized.
    pub fn quantization(&self) -> Option<Quantization> {
        self.clone().projections().find_map(|(_, linear)| match &linear.weight {
            Weight::Dense(_) => None,
            Weight::Nf4(packed) => Some(Quantization::Nf4 { double: packed.matrix.is_double() }),
        })
    }

    /// What its adapter is, if it has one.
    pub fn adapter(&self) -> Option<&AdapterConfig> {
        self.adapter.as_ref()
    }

    /// The model with no parameter that asks for a gradient.
    #[must_use]
    pub fn frozen(self) -> Self {
        struct Freeze;
        impl ModuleMapper for Freeze {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.set_require_grad(false)
            }
        }
        self.map(&mut Freeze)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::decoder::testing::{adapted, batch, changed, configs, models, options};
    use crate::{AdapterFolder, NamedParameter, SaveOptions};

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn parameters(model: &CausalLm) -> Vec<(String, Vec<f32>)> {
        let mut all = vec![];
        model.each_parameter(|NamedParameter { name, values, .. }| all.push((name, floats(values))));
        all
    }

    fn loss(model: &CausalLm) -> f32 {
        let (batch, loss) = batch(0);
        loss(&model.forward(&batch)).into_scalar()
    }

    #[test]
    fn the_update_is_worked_out_by_hand() {
        let device = Device::flex();
        let a = Tensor::from_data(TensorData::from([[1.0f32, -1.0]]), &device);
        let b = Tensor::from_data(TensorData::from([[2.0f32], [0.5]]), &device);
        let update = LowRank::new(a, b, 3.0);
        // x · aᵀ = −1 and 4, times the scale −3 and 12.
        let x = Tensor::from_data(TensorData::from([[1.0f32, 2.0], [4.0, 0.0]]), &device);
        let out = floats(update.forward(x));
        assert_eq!(out, [-6.0, -1.5, 24.0, 6.0]);
        assert_eq!(floats(update.matrix()), [6.0, -6.0, 1.5, -1.5]);
    }

    #[test]
    fn a_new_adapter_changes_nothing_to_the_bit() {
        for (name, model) in models() {
            let before = loss(&model);
            let new = model.with_adapter(&options(&["all-linear"]), "base").unwrap();
            assert_eq!(loss(&new), before, "{name}");
            let again = new.clone().with_adapter(&options(&["all-linear"]), "base").unwrap();
            assert_eq!(parameters(&new), parameters(&again), "the seed decides: {name}");
            let bound = 1.0 / 16f32.sqrt();
            let (_, a) =
                &parameters(&new).into_iter().find(|(name, _)| name.ends_with("o_proj.adapter.lora_a")).unwrap();
            assert!(a.iter().all(|x| x.abs() <= bound) && a.iter().any(|x| x.abs() > 0.8 * bound), "{name}: {a:?}");
            assert_ne!(loss(&adapted(new, &["all-linear"])), before, "{name}");
        }
    }

    /// What the optimizer does to a model must not unfreeze it.
    #[test]
    fn the_base_stays_frozen() {
        let (_, model) = models().remove(0);
        let model = changed(adapted(model, &["v_proj"]), |_, value| value);
        let (batch, of) = batch(0);
        let mut gradients = of(&model.forward(&batch)).backward();
        for (name, gradient) in model.take_gradients(&mut gradients) {
            assert_eq!(gradient.is_some(), name.contains("v_proj.adapter."), "{name}");
        }
    }

    /// The derivative in the gradient's own direction is its norm.
    #[test]
    fn gradients_are_the_finite_differences() {
        for (name, model) in models() {
            let model = adapted(model, &["all-linear"]);
            let (batch, of) = batch(0);
            let gradients = model.take_gradients(&mut of(&model.forward(&batch)).backward());
            // The first is of the queries, or of queries, keys and values.
            let (first, _) = model.config.projection_shapes().next().unwrap();
            for part in [first.as_str(), "model.layers.1.mlp.down_proj", "model.layers.2.self_attn.o_proj"] {
                for weight in ["lora_a", "lora_b"] {
                    let path = format!("{part}.adapter.{weight}");
                    let (_, gradient) = gradients.iter().find(|(name, _)| *name == path).unwrap();
                    let gradient = gradient.clone().unwrap();
                    let norm: f32 = gradient.clone().square().sum().sqrt().into_scalar();
                    let step = 5e-3;
                    let moved = |by: f32| {
                        let direction = gradient.clone().mul_scalar(by / norm);
                        let moved = changed(model.clone(), |name, value| match name == path {
                            true => value + direction.clone(),
                            false => value,
                        });
                        f64::from(loss(&moved))
                    };
                    let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                    let apart = (slope - f64::from(norm)).abs();
                    assert!(apart <= 0.02 * f64::from(norm) + 2e-3, "{name}, {path}: {slope} beside {norm}");
                }
            }
        }
    }

    #[test]
    fn what_is_saved_is_read_again_to_the_bit_and_merges() {
        for ((name, model), (_, config)) in models().into_iter().zip(configs()) {
            let home = tempfile::tempdir().unwrap();
            let [base, dir, merged] = ["base", "adapter", "merged"].map(|name| home.path().join(name));
            let options = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
            model.save(&base, &config, &options).unwrap();
            let device = Device::flex().autodiff();
            let (model, _) = CausalLm::load(&base, &device).unwrap();
            let model = adapted(model, &["o_proj", "mlp.down_proj"]);
            model.save_trained(&dir, &config, &options).unwrap();
            let (again, _) = CausalLm::load(&dir, &device).unwrap();
            assert_eq!(parameters(&again), parameters(&model), "{name}");
            assert_eq!(loss(&again), loss(&model), "{name}");
            let (batch, of) = batch(0);
            let gradients = again.take_gradients(&mut of(&again.forward(&batch)).backward());
            assert!(gradients.iter().all(|(name, gradient)| gradient.is_some() == name.contains(".adapter.")));
            let (asked, _) = CausalLm::load_frozen(&dir, &Device::flex()).unwrap();
            assert_eq!(parameters(&asked), parameters(&model), "{name}");

            model.save(&merged, &config, &options).unwrap();
            let (whole, _) = CausalLm::load(&merged, &Device::flex()).unwrap();
            assert!(parameters(&whole).iter().all(|(name, _)| !name.contains("adapter")));
            let (merged, apart) = (loss(&whole), loss(&model));
            assert!((merged - apart).abs() <= 1e-5 * apart.abs(), "{name}: {merged} beside {apart}");
            assert_ne!(merged, loss(&model.split().0));
        }
    }

    /// Targets are checked before there is a model, and memory is planned by the shapes.
    #[test]
    fn a_configuration_knows_the_linear_maps_of_its_model() {
        for ((name, mut model), (_, config)) in models().into_iter().zip(configs()) {
            let of_model = model.projections().map(|(path, linear)| (path, linear.shape()));
            assert!(config.decoder.projection_shapes().eq(of_model), "{name}");
        }
    }

    /// What bf16 loses is a small part of an adapter, and a large one of a small change to an adapter.
    #[test]
    fn rounding_is_measured_beside_what_training_changed() {
        let (model, (_, config)) = (models().remove(0).1, configs().remove(0));
        let home = tempfile::tempdir().unwrap();
        let [base, dir] = ["base", "adapter"].map(|name| home.path().join(name));
        let save = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
        model.save(&base, &config, &save).unwrap();
        let adapted = adapted(model, &["v_proj", "mlp.up_proj"]);
        adapted.save_trained(&dir, &config, &save).unwrap();
        let start = AdapterFolder::find(&dir).unwrap().unwrap();
        let lost = |model: &CausalLm, start, dtype| model.adapter_lost_by_rounding(start, dtype).unwrap();
        assert_eq!(lost(&adapted, None, WeightDtype::F32), 0.0);
        let new = lost(&adapted, None, WeightDtype::BF16);
        assert!((1e-4..1e-2).contains(&new), "{new}");
        let trained_on = changed(adapted.clone(), |_, value| value.mul_scalar(1.0 + 1e-4));
        let little = lost(&trained_on, Some(&start), WeightDtype::BF16);
        assert!(little > 1.0, "{little}");
        assert_eq!(lost(&adapted, Some(&start), WeightDtype::BF16), 0.0);
    }

    #[test]
    fn a_target_that_names_nothing_is_refused_with_those_there_are() {
        let (_, model) = models().remove(0);
        let error = model.clone().with_adapter(&options(&["q_proj", "lm_head"]), "base").unwrap_err();
        let text = format!("{error}; {}", error.hint().unwrap());
        assert!(text.contains("got one for \"lm_head\"") && text.contains("there are q_proj, k_proj"), "{text}");
    }
}
