//! The small parts: embedding, linear map, norm.

use burn::module::{Module, Param};
use burn::tensor::{Bool, DType, Tensor, TensorData};
use mpo_kernels::{Nf4, linear, linear_nf4, rms_norm};

use super::low_rank::LowRank;
use super::weights::{WeightSource, Weights};
use crate::{DecoderConfig, NormConfig};

/// Token embeddings, `weight` `[vocab_size, hidden_size]`.
///
/// As in Transformers (PyTorch's `padding_idx`), the padding token's row gets no gradient from the input, although it may
/// stand there as a real token (LLaMA-style models often pad with an end-of-turn token); from a tied head it does.
#[derive(Module, Debug)]
pub(super) struct Embedding {
    pub(super) weight: Param<Tensor<2>>,
    #[module(skip)]
    padding: Option<u32>,
}

impl Embedding {
    pub(super) fn new<S: WeightSource>(
        config: &DecoderConfig,
        name: &str,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let weight = weights.param(name, "weight", [config.vocab_size, config.hidden_size])?;
        Ok(Self { weight, padding: config.pad_token_id })
    }

    /// The same of a model whose padding token learns as others do.
    pub(super) fn without_padding<S: WeightSource>(
        config: &DecoderConfig,
        name: &str,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        Ok(Self { padding: None, ..Self::new(config, name, weights)? })
    }

    /// `[tokens, hidden_size]`
    pub(super) fn forward(&self, tokens: &[u32]) -> Tensor<2> {
        let weight = self.weight.val();
        let device = weight.device();
        let rows = weight.select(0, super::indices(tokens, &device)).cast(DType::F32);
        let Some(learns) = self.learns(tokens) else {
            return rows;
        };
        let padding: Vec<bool> = learns.iter().map(|&learns| learns == 0.0).collect();
        let mask = TensorData::new(padding, [tokens.len(), 1]);
        let mask = Tensor::<2, Bool>::from_data(mask, &device).expand(rows.dims());
        let constant = rows.clone().detach();
        rows.mask_where(mask, constant)
    }

    /// 1 for each token whose row gets a gradient, else 0; none if all do.
    pub(super) fn learns(&self, tokens: &[u32]) -> Option<Vec<f32>> {
        let learns = tokens.iter().map(|&token| f32::from(u8::from(Some(token) != self.padding)));
        let learns: Vec<f32> = learns.collect();
        learns.contains(&0.0).then_some(learns)
    }
}

/// A head that is not the embedding, `weight` `[vocab_size, hidden_size]`.
#[derive(Module, Debug)]
pub(super) struct Head {
    pub(super) weight: Param<Tensor<2>>,
}

impl Head {
    pub(super) fn new<S: WeightSource>(
        config: &DecoderConfig,
        name: &str,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        Ok(Self { weight: weights.param(name, "weight", [config.vocab_size, config.hidden_size])? })
    }
}

/// The matrix of a linear map.
#[derive(Module, Debug)]
pub(super) enum Weight {
    /// Trained, or frozen as it is stored.
    Dense(Param<Tensor<2>>),
    /// In four bits, and always frozen.
    Nf4(Packed),
}

/// A matrix that is no parameter.
#[derive(Module, Debug)]
pub(super) struct Packed {
    #[module(skip)]
    pub(super) matrix: Box<Nf4>,
}

/// `x · weightᵀ + bias`, `weight` `[outputs, inputs]`, and what an adapter adds.
#[derive(Module, Debug)]
pub(super) struct Linear {
    pub(super) weight: Weight,
    bias: Option<Param<Tensor<1>>>,
    pub(super) adapter: Option<LowRank>,
}

impl Linear {
    pub(super) fn new<S: WeightSource>(
        name: &str,
        shape: [usize; 2],
        bias: bool,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let weight = match weights.source.nf4(&format!("{name}.weight"), shape, weights.device)? {
            Some(matrix) => Weight::Nf4(Packed { matrix: Box::new(matrix) }),
            None => Weight::Dense(weights.param(name, "weight", shape)?),
        };
        let bias = bias.then(|| weights.param(name, "bias", [shape[0]])).transpose()?;
        Ok(Self { weight, bias, adapter: None })
    }

    /// Outputs and inputs.
    pub(super) fn shape(&self) -> [usize; 2] {
        match &self.weight {
            Weight::Dense(weight) => weight.val().dims(),
            Weight::Nf4(packed) => packed.matrix.shape(),
        }
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let update = self.adapter.as_ref().map(|adapter| adapter.forward(x.clone()));
        let mut out = match &self.weight {
            Weight::Dense(weight) => linear(x, weight.val()),
            Weight::Nf4(packed) => linear_nf4(x, &packed.matrix),
        };
        if let Some(bias) = &self.bias {
            // In the bias's type, so that its gradient is summed in it.
            let (dtype, bias) = (out.dtype(), bias.val());
            out = (out.cast(bias.dtype()) + bias.unsqueeze()).cast(dtype);
        }
        match update {
            Some(update) => out + update,
            None => out,
        }
    }
}

/// Root-mean-square norm, or LayerNorm with or without bias, `weight` and `bias` `[width]`; computed and given in the weight's
/// type.
#[derive(Module, Debug)]
pub(super) struct Norm {
    weight: Param<Tensor<1>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    eps: f64,
    #[module(skip)]
    offset: f32,
    #[module(skip)]
    centred: bool,
}

impl Norm {
    pub(super) fn new<S: WeightSource>(
        config: &NormConfig,
        name: &str,
        width: usize,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let NormConfig { eps, offset, centred, .. } = *config;
        Ok(Self { weight: weights.param(name, "weight", [width])?, bias: None, eps, offset, centred })
    }

    /// A LayerNorm with bias.
    pub(super) fn with_bias<S: WeightSource>(
        eps: f64,
        name: &str,
        width: usize,
        weights: &mut Weights<'_, S>,
    ) -> Result<Self, S::Error> {
        let weight = weights.param(name, "weight", [width])?;
        let bias = Some(weights.param(name, "bias", [width])?);
        Ok(Self { weight, bias, eps, offset: 0.0, centred: true })
    }

    pub(super) fn width(&self) -> usize {
        self.weight.val().dims()[0]
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        let x = x.cast(weight.dtype());
        // A row's variance is the mean square of what is left without its mean.
        let x = if self.centred { x.clone() - x.mean_dim(1) } else { x };
        let normed = rms_norm(x, weight, self.eps, self.offset);
        match &self.bias {
            Some(bias) => normed + bias.val().unsqueeze(),
            None => normed,
        }
    }
}
