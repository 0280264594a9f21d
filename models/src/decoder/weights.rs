//! Where weights come from.

use std::convert::Infallible;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Distribution, Tensor};
use mpo_kernels::Nf4;

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

    /// The weight of a linear map of a layer, if the source has it in NF4; then it is never trained.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    fn nf4(&mut self, _name: &str, _shape: [usize; 2], _device: &Device) -> Result<Option<Nf4>, Self::Error> {
        Ok(None)
    }
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

/// Asks for a gradient on a device with autodiff.
pub(super) fn trainable<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.device().is_autodiff() { tensor.require_grad() } else { tensor }
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
