//! Moments beside the weights, on their device.

use burn::tensor::{DType, Device, Tensor};
use mpo_kernels::AdamWStep;

use super::State;
use super::moments::Moments;

/// Weights are updated where they are. In f32 that is AdamW as everybody has it; in bf16 both moments take half the memory, and
/// whoever wants that wants gradients not to stay either.
#[derive(Debug)]
pub(super) struct Beside {
    moments: Moments,
}

impl Beside {
    pub(super) fn new(device: Device, dtype: DType) -> Self {
        Self { moments: Moments::new(device, dtype) }
    }
}

impl State for Beside {
    fn moments(&self) -> &Moments {
        &self.moments
    }

    fn moments_mut(&mut self) -> &mut Moments {
        &mut self.moments
    }

    fn keeps_gradients(&self) -> bool {
        self.moments.dtype() == DType::F32
    }

    fn update(&mut self, name: &str, value: Tensor<1>, gradient: Tensor<1>, step: AdamWStep) -> Tensor<1> {
        self.moments.update(name, value, gradient, step)
    }
}
