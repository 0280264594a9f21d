//! Open language models in Burn: configurations, weights in and out, the decoder, generation.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod checkpoint;
mod config;
mod decoder;
mod error;
mod generate;
mod hub;
mod sampling;

pub use checkpoint::{Checkpoint, CheckpointError, LazyTensor, SaveOptions, WeightDtype, save};
pub use config::{
    Architecture, AttentionBias, ConfigError, DecoderConfig, LayerConfig, ModelConfig, RopeConfig,
    RopeScaling,
};
pub use decoder::{CausalLm, Initializer, KeyValueCache, NamedParameter, WeightSource};
pub use error::ModelError;
pub use generate::{Answer, GenerateOptions, Generated, generate};
pub use hub::resolve;
pub use sampling::{Sampling, SamplingError};
