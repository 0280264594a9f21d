//! The two moments of every parameter, and the update that they are for.

use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo_kernels::{AdamWStep, adamw_step, zeros};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Momentum,
    Variance,
}

impl Which {
    pub(crate) const ALL: [Self; 2] = [Self::Momentum, Self::Variance];

    /// What it is called behind a parameter's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Momentum => "momentum",
            Self::Variance => "variance",
        }
    }
}

/// First and second moment of each parameter that has had a gradient, flat, on one device and in one type.
#[derive(Debug)]
pub(super) struct Moments {
    device: Device,
    dtype: DType,
    by_name: HashMap<String, [Tensor<1>; 2]>,
}

impl Moments {
    /// None, so far.
    pub(super) fn new(device: Device, dtype: DType) -> Self {
        Self { device, dtype, by_name: HashMap::new() }
    }

    /// Where they are, and what is updated with them.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// What they are rounded to.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Those of a parameter.
    pub(super) fn of(&self, name: &str) -> Option<&[Tensor<1>; 2]> {
        self.by_name.get(name)
    }

    /// Takes those of a parameter over from elsewhere, whatever type they have.
    pub(super) fn put(&mut self, name: String, moments: [TensorData; 2]) {
        let options = (&self.device, self.dtype);
        let moments = moments.map(|data| Tensor::from_data(data.convert_dtype(self.dtype), options));
        self.by_name.insert(name, moments);
    }

    /// The flat parameter `name`, on the same device as its moments, after a step.
    pub(super) fn update(&mut self, name: &str, value: Tensor<1>, gradient: Tensor<1>, step: AdamWStep) -> Tensor<1> {
        let [momentum, variance] = self
            .by_name
            .remove(name)
            .unwrap_or_else(|| [(); 2].map(|()| zeros(value.dims(), &self.device, self.dtype)));
        let updated = adamw_step(value, gradient, momentum, variance, step);
        self.by_name.insert(name.to_owned(), [updated.momentum, updated.variance]);
        updated.param
    }
}
