//! AdamW over all parameters of a model, with the gradient clipped by its global norm.

use burn::tensor::{DType, Tensor};
use mpo_kernels::{AdamWStep, adamw_step, squared_l2_norm};
use mpo_models::{CausalLm, NamedGradients};

/// Settings that stay the same through a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerOptions {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The norm that gradients are clipped to; `None` leaves them.
    pub max_grad_norm: Option<f64>,
}

/// First and second moment of one parameter, flat, f32.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub(crate) momentum: Tensor<1>,
    pub(crate) variance: Tensor<1>,
}

/// The optimizer and its state.
#[derive(Debug)]
pub struct Optimizer {
    options: OptimizerOptions,
    /// Steps taken.
    step: u64,
    /// One entry a parameter, made at its first gradient.
    moments: Vec<Option<Moments>>,
}

impl Optimizer {
    /// An optimizer that has taken no step.
    pub fn new(options: OptimizerOptions) -> Self {
        Self { options, step: 0, moments: vec![] }
    }

    /// An optimizer after `step` steps.
    pub(crate) fn resumed(options: OptimizerOptions, step: u64, moments: Vec<Option<Moments>>) -> Self {
        Self { options, step, moments }
    }

    pub(crate) fn moments(&self) -> &[Option<Moments>] {
        &self.moments
    }

    /// ‖g‖² of each parameter's gradient, `[1]` each, on the device; their sum's root is the global norm.
    pub(crate) fn squared_norms(gradients: &NamedGradients) -> impl Iterator<Item = Tensor<1>> {
        let gradients = gradients.iter().filter_map(|(_, gradient)| gradient.clone());
        gradients.map(squared_l2_norm)
    }

    /// One step with learning rate `lr`, given the gradients and their global norm.
    pub(crate) fn step(&mut self, model: CausalLm, gradients: NamedGradients, norm: f64, lr: f64) -> CausalLm {
        self.step += 1;
        self.moments.resize(gradients.len(), None);
        let step = AdamWStep {
            lr,
            beta1: self.options.beta1,
            beta2: self.options.beta2,
            eps: self.options.eps,
            weight_decay: self.options.weight_decay,
            step: self.step,
            // PyTorch's clip_grad_norm_.
            grad_scale: self.options.max_grad_norm.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0)),
        };
        let mut gradients = gradients.into_iter();
        let mut moments = self.moments.iter_mut();
        model.map_parameters(|name, value| {
            let (Some((of, gradient)), Some(slot)) = (gradients.next(), moments.next()) else {
                unreachable!("one gradient entry and one slot a parameter");
            };
            assert_eq!(of, name, "gradients come in the order of parameters");
            let Some(gradient) = gradient else {
                return value;
            };
            // Norms and biases are not decayed, as in Transformers: a norm would be drawn to zero.
            let step = if name.ends_with("norm.weight") || name.ends_with(".bias") {
                AdamWStep { weight_decay: 0.0, ..step }
            } else {
                step
            };
            let moments = slot.take().unwrap_or_else(|| {
                let zeros = Tensor::zeros(value.dims(), (&value.device(), DType::F32));
                Moments { momentum: zeros.clone(), variance: zeros }
            });
            let updated = adamw_step(value, gradient, moments.momentum, moments.variance, step);
            *slot = Some(Moments { momentum: updated.momentum, variance: updated.variance });
            updated.param
        })
    }
}
