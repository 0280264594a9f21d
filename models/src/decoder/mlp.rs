//! The gated feed-forward block.

use burn::module::Module;
use burn::tensor::Tensor;
use mpo_kernels::{Activation, gated_linear_unit};

use super::layers::Linear;
use super::weights::{WeightSource, Weights};
use crate::MlpConfig;

#[derive(Module, Debug)]
pub(super) struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    pub(super) fn new<S: WeightSource>(
        hidden: usize,
        config: &MlpConfig,
        name: &str,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let (inner, bias) = (config.intermediate_size, config.bias);
        let mut linear = |part: &str, shape| Linear::new(&format!("{name}.{part}"), shape, bias, weights);
        Ok(Self {
            gate_proj: linear("gate_proj", [inner, hidden])?,
            up_proj: linear("up_proj", [inner, hidden])?,
            down_proj: linear("down_proj", [hidden, inner])?,
            activation: config.activation,
        })
    }

    /// Its linear maps by name.
    pub(super) fn projections(&mut self) -> [(&'static str, &mut Linear); 3] {
        let Self { gate_proj, up_proj, down_proj, .. } = self;
        [("gate_proj", gate_proj), ("up_proj", up_proj), ("down_proj", down_proj)]
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        self.down_proj.forward(gated_linear_unit(gate, up, self.activation))
    }
}
