//! Moments and a copy of the weights in the host's memory, where AdamW is computed.

use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor};
use mpo_kernels::AdamWStep;

use super::State;
use super::moments::Moments;

/// Gradients go down as soon as they are whole, and wait in the host's memory; weights come up. The device has room for nothing
/// but weights and the gradients of one part of the model.
#[derive(Debug)]
pub(super) struct Host {
    moments: Moments,
    /// The weights, by name: exact, whatever the device makes of them.
    masters: HashMap<String, Tensor<1>>,
}

impl Host {
    pub(super) fn new(host: Device) -> Self {
        Self { moments: Moments::new(host, DType::F32), masters: HashMap::new() }
    }
}

impl State for Host {
    fn moments(&self) -> &Moments {
        &self.moments
    }

    fn moments_mut(&mut self) -> &mut Moments {
        &mut self.moments
    }

    fn keeps_gradients(&self) -> bool {
        true
    }

    fn kept(&self, gradient: Tensor<1>) -> Tensor<1> {
        gradient.to_device(self.moments.device())
    }

    fn update(&mut self, name: &str, value: Tensor<1>, gradient: Tensor<1>, step: AdamWStep) -> Tensor<1> {
        let device = value.device();
        let master = self.masters.remove(name).unwrap_or_else(|| value.clone().to_device(self.moments.device()));
        // Where host and device are one, it is the same memory, and is updated in place.
        drop(value);
        let gradient = gradient.to_device(self.moments.device());
        let master = self.moments.update(name, master, gradient, step);
        self.masters.insert(name.to_owned(), master.clone());
        master.to_device(&device)
    }
}
