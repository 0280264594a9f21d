//! The model that a run begins with, as far as it decides what the run takes.

use std::path::Path;

use burn::tensor::Device;
use mpo_models::{AdapterFolder, CausalLm, DecoderConfig, ModelConfig, ModelError};

use super::{Base, Tuning, parameters};
use crate::settings::TrainConfig;

/// A model before its weights are read.
#[derive(Debug, Clone, Copy)]
pub struct BaseModel<'a> {
    /// Its shape.
    pub config: &'a DecoderConfig,
    /// How many numbers the adapter has that it comes with.
    pub adapter: Option<u64>,
    /// How weights of it that are frozen are stored.
    pub frozen: Base,
}

impl<'a> BaseModel<'a> {
    /// The model in the folder `dir`, beside `adapter` if it is to be trained with that, as it is loaded on a device; none is
    /// one that is not here, and has bf16.
    ///
    /// # Errors
    /// If the adapter's weights cannot be opened.
    pub fn of(
        dir: &Path,
        config: &'a ModelConfig,
        adapter: Option<&AdapterFolder>,
        device: Option<&Device>,
    ) -> Result<Self, ModelError> {
        let adapter = adapter.map(AdapterFolder::num_parameters).transpose()?;
        // It is loaded to be trained.
        let keeps_bf16 = device.is_none_or(|device| CausalLm::keeps_bf16(&device.clone().autodiff()));
        let is_bf16 = keeps_bf16 && CausalLm::is_stored_in_bf16(dir, config);
        let frozen = match (config.nf4, is_bf16) {
            (true, rest_is_bf16) => Base::Nf4 { rest_is_bf16 },
            (false, true) => Base::Bf16,
            (false, false) => Base::F32,
        };
        Ok(Self { config: &config.decoder, adapter, frozen })
    }

    /// What a run with these settings trains of it: the adapter that it comes with, a new one, or all of it.
    pub fn tuning(&self, config: &TrainConfig) -> Tuning {
        let new = || config.lora().map(|options| parameters::adapter(self.config, &options));
        match self.adapter.or_else(new) {
            Some(numbers) => {
                let base = match self.frozen {
                    dense @ (Base::F32 | Base::Bf16) if config.quantization.is_some() => {
                        Base::Nf4 { rest_is_bf16: dense == Base::Bf16 }
                    }
                    stored => stored,
                };
                Tuning::Adapter { numbers, base }
            }
            None => Tuning::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lora, tiny};
    use super::*;
    use crate::settings::{AdapterKind, QuantizationChoice, TrainOptions};

    #[test]
    fn an_adapter_that_is_there_is_what_is_trained() {
        let model = tiny();
        let base = BaseModel { config: &model, adapter: None, frozen: Base::F32 };
        let new = TrainOptions { adapter: Some(AdapterKind::Lora), lora_rank: Some(2), ..TrainOptions::minimal() };
        let (new, plain) = (new.resolve().unwrap(), TrainOptions::minimal().resolve().unwrap());
        assert_eq!(base.tuning(&plain), Tuning::Full);
        let numbers = parameters::adapter(&model, &lora(2, "all-linear"));
        assert_eq!(base.tuning(&new), Tuning::Adapter { numbers, base: Base::F32 });
        let nf4 = TrainConfig { quantization: Some(QuantizationChoice::Nf4), ..new };
        assert_eq!(base.tuning(&nf4), Tuning::Adapter { numbers, base: Base::Nf4 { rest_is_bf16: false } });
        let adapter = BaseModel { adapter: Some(700), frozen: Base::Bf16, ..base };
        assert_eq!(adapter.tuning(&plain), Tuning::Adapter { numbers: 700, base: Base::Bf16 });
    }
}
