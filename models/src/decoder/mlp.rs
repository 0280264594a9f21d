//! The gated feed-forward block.

use burn::module::Module;
use burn::tensor::Tensor;
use mpo_kernels::{Activation, gated_linear_unit};

use super::layers::Linear;
use super::weights::{WeightSource, Weights};
use crate::MlpConfig;

/// There is either `gate_up_proj`, whose output is gate and up side by side, or one projection for each of them.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    gate_up_proj: Option<Linear>,
    gate_proj: Option<Linear>,
    up_proj: Option<Linear>,
    down_proj: Linear,
    #[module(skip)]
    inner: usize,
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
        let MlpConfig { intermediate_size: inner, fused, activation, bias } = *config;
        let mut linear = |part: &str, shape| Linear::new(&format!("{name}.{part}"), shape, bias, weights);
        let mut projection =
            |is_there: bool, part: &str, outputs| is_there.then(|| linear(part, [outputs, hidden])).transpose();
        let gate_up_proj = projection(fused, "gate_up_proj", 2 * inner)?;
        let gate_proj = projection(!fused, "gate_proj", inner)?;
        let up_proj = projection(!fused, "up_proj", inner)?;
        let down_proj = linear("down_proj", [hidden, inner])?;
        Ok(Self { gate_up_proj, gate_proj, up_proj, down_proj, inner, activation })
    }

    /// Its linear maps by name.
    pub(super) fn projections(&mut self) -> impl Iterator<Item = (&'static str, &mut Linear)> {
        let Self { gate_up_proj, gate_proj, up_proj, down_proj, .. } = self;
        let named = [("gate_up_proj", gate_up_proj), ("gate_proj", gate_proj), ("up_proj", up_proj)];
        named.into_iter().filter_map(|(name, linear)| Some((name, linear.as_mut()?))).chain([("down_proj", down_proj)])
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [gate, up] = match (&self.gate_up_proj, &self.gate_proj, &self.up_proj) {
            (None, Some(gate), Some(up)) => [gate.forward(x.clone()), up.forward(x)],
            (Some(fused), ..) => {
                let both = fused.forward(x);
                [0, self.inner].map(|first| both.clone().narrow(1, first, self.inner))
            }
            _ => unreachable!("the projections are one or two"),
        };
        self.down_proj.forward(gated_linear_unit(gate, up, self.activation))
    }
}
