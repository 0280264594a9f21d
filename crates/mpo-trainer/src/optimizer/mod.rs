//! AdamW over all parameters of a model, with the gradient clipped by its global norm.
//!
//! What it remembers lies where [`OptimizerState`] says: [`beside`] the weights, or on the [`host`], each one kind of
//! [`State`]. A step asks for gradients one part of the model at a time, and decides how long they are kept. Where several ranks
//! train one model, each remembers and updates the part of every parameter that is its [`own`](owned).

mod beside;
mod file;
mod host;
mod moments;
mod owned;

use std::fmt;

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_collective::Collective;
use mpo_kernels::AdamWStep;
use mpo_models::{CausalLm, NamedGradients, Walk, squared_norms};

use crate::error::TrainError;
use crate::settings::OptimizerState;
use beside::Beside;
pub(crate) use file::{Stored, give, write};
use host::Host;
use moments::Moments;
pub(crate) use moments::Which;
use owned::Owned;

/// Settings that stay the same through a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OptimizerOptions {
    /// Decay of the first moment.
    pub(crate) beta1: f64,
    /// Decay of the second moment.
    pub(crate) beta2: f64,
    /// Added to the root of the second moment.
    pub(crate) eps: f64,
    /// Decoupled weight decay.
    pub(crate) weight_decay: f64,
    /// The norm that gradients are clipped to; `None` leaves them.
    pub(crate) max_grad_norm: Option<f64>,
    /// Where moments are kept, and as what.
    pub(crate) state: OptimizerState,
}

/// What is remembered of every parameter from step to step, and where it is updated.
trait State: fmt::Debug {
    /// The moments of all parameters.
    fn moments(&self) -> &Moments;

    /// The same, to put some there.
    fn moments_mut(&mut self) -> &mut Moments;

    /// Whether gradients that can be made again are worth their time rather than their memory.
    fn keeps_gradients(&self) -> bool;

    /// A gradient where it waits for the norm of all of them.
    fn kept(&self, gradient: Tensor<1>) -> Tensor<1> {
        gradient
    }

    /// The flat parameter `name` after a step.
    fn update(&mut self, name: &str, value: Tensor<1>, gradient: Tensor<1>, step: AdamWStep) -> Tensor<1>;
}

/// The optimizer and its state.
#[derive(Debug)]
pub(crate) struct Optimizer<'r> {
    options: OptimizerOptions,
    /// Steps taken.
    step: u64,
    state: Box<dyn State>,
    /// What is this rank's, where there are others.
    owned: Option<Owned<'r>>,
}

impl<'r> Optimizer<'r> {
    /// An optimizer of parameters on `device` that has taken no step.
    ///
    /// # Errors
    /// If the device or this build cannot keep the state as `options` say.
    pub(crate) fn new(options: OptimizerOptions, device: &Device) -> Result<Self, TrainError> {
        let device = device.clone().without_autodiff();
        let refused = |expected, got: OptimizerState| TrainError::setting("optimizer_state", expected, got.to_string());
        let state: Box<dyn State> = match options.state {
            OptimizerState::Device => Box::new(Beside::new(device, DType::F32)),
            OptimizerState::Bf16 if device.supports_dtype(DType::BF16) => Box::new(Beside::new(device, DType::BF16)),
            OptimizerState::Bf16 => return Err(refused("device or host on a device without bf16", options.state)),
            OptimizerState::Host => match mpo_kernels::host() {
                Some(host) => Box::new(Host::new(host)),
                None => return Err(refused("device or bf16 in a build without the CPU backend", options.state)),
            },
        };
        Ok(Self { options, step: 0, state, owned: None })
    }

    /// Whether gradients that can be made again are kept instead.
    pub(crate) fn keeps_gradients(&self) -> bool {
        self.state.keeps_gradients()
    }

    /// The same after `step` steps, whose moments are still to be given to it.
    pub(crate) fn resumed(self, step: u64) -> Self {
        Self { step, ..self }
    }

    /// The same for one of several ranks that train `model`. From here on all of them make the same calls.
    pub(crate) fn among(self, ranks: &'r dyn Collective, model: &CausalLm) -> Self {
        Self { owned: ranks.is_many().then(|| Owned::new(ranks, model)), ..self }
    }

    /// Gives it the moments of the parameter `name`, as a checkpoint has them: the first rank has it, and nobody else.
    pub(crate) fn take(&mut self, name: &str, moments: Option<[TensorData; 2]>) {
        let moments = match &self.owned {
            None => moments,
            Some(owned) => owned.moments(name, moments),
        };
        if let Some(moments) = moments {
            self.state.moments_mut().put(name.to_owned(), moments);
        }
    }

    /// Those of these parameters that have moments, and of how many numbers each has them.
    pub(crate) fn with_moments<'n>(&self, parameters: &'n [(String, usize)]) -> Vec<&'n (String, usize)> {
        let mut counts: Vec<f64> =
            parameters.iter().map(|(name, _)| f64::from(u8::from(self.state.moments().of(name).is_some()))).collect();
        if let Some(owned) = &self.owned {
            owned.ranks.sum(&mut counts);
        }
        parameters.iter().zip(counts).filter(|(_, count)| *count > 0.0).map(|(parameter, _)| parameter).collect()
    }

    /// One of the moments of a parameter that has them, whole; to all ranks but the first it is of no use.
    pub(crate) fn whole(&self, name: &str, which: Which) -> Tensor<1> {
        let moments = self.state.moments();
        let own = moments.of(name).map(|moments| moments[which as usize].clone());
        match &self.owned {
            None => own.expect("asked for only where there is one"),
            Some(owned) => owned.whole(name, own, moments.device()).cast(moments.dtype()),
        }
    }

    /// The type of moments.
    pub(crate) fn dtype(&self) -> DType {
        self.state.moments().dtype()
    }

    /// One step with learning rate `lr`. `norm` is given ‖g‖² of each parameter's gradient, `[1]` each, on the device and in the
    /// order of parameters, and returns the root of their sum.
    ///
    /// With clipping no gradient can be used before all are known. Until then they are kept, or they are dropped and made again.
    pub(crate) fn step(
        &mut self,
        mut model: CausalLm,
        mut gradients: Walk,
        lr: f64,
        norm: impl FnOnce(Vec<Tensor<1>>) -> Result<f64, TrainError>,
    ) -> Result<CausalLm, TrainError> {
        self.step += 1;
        // PyTorch's clip_grad_norm_.
        let scale_to = |max: f64, norm: f64| (max / (norm + 1e-6)).min(1.0);
        if self.owned.is_some() {
            let max = self.options.max_grad_norm;
            return self.step_among(model, gradients, lr, |squares| {
                let norm = norm(squares)?;
                Ok(max.map_or(1.0, |max| scale_to(max, norm)))
            });
        }
        let mut squares = vec![];
        let Some(max) = self.options.max_grad_norm else {
            while let Some(part) = gradients.next(&model) {
                squares.push(squared_norms(&part));
                model = self.update(model, part, lr, 1.0);
            }
            norm(in_order(squares))?;
            return Ok(model);
        };
        let scale = |norm: f64| scale_to(max, norm);
        if gradients.reruns_layers() && !self.state.keeps_gradients() {
            let scale = scale(norm(gradients.squared_norms(&model))?);
            while let Some(part) = gradients.next(&model) {
                model = self.update(model, part, lr, scale);
            }
            return Ok(model);
        }
        let mut kept = vec![];
        while let Some(part) = gradients.next(&model) {
            squares.push(squared_norms(&part));
            let part =
                part.into_iter().map(|(name, gradient)| (name, gradient.map(|gradient| self.state.kept(gradient))));
            kept.push(part.collect());
        }
        // It holds what layers were run again from.
        drop(gradients);
        let scale = scale(norm(in_order(squares))?);
        Ok(kept.into_iter().fold(model, |model, part| self.update(model, part, lr, scale)))
    }

    fn update(&mut self, model: CausalLm, gradients: NamedGradients, lr: f64, grad_scale: f64) -> CausalLm {
        model.update(gradients, |name, value, gradient| {
            let step = self.step_of(name, lr, grad_scale);
            self.state.update(name, value, gradient, step)
        })
    }

    /// The step of the parameter `name`.
    fn step_of(&self, name: &str, lr: f64, grad_scale: f64) -> AdamWStep {
        let OptimizerOptions { beta1, beta2, eps, weight_decay, .. } = self.options;
        // Norms and biases are not decayed, as in Transformers: a norm would be drawn to zero.
        let is_decayed = !name.ends_with("norm.weight") && !name.ends_with(".bias");
        let weight_decay = if is_decayed { weight_decay } else { 0.0 };
        AdamWStep { lr, beta1, beta2, eps, weight_decay, step: self.step, grad_scale }
    }
}

/// What was found of the parts of a model, the last first, in the order of parameters.
fn in_order<T>(parts: Vec<Vec<T>>) -> Vec<T> {
    parts.into_iter().rev().flatten().collect()
}
