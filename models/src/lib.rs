//! Open language models in Burn: configurations, weights in and out, the decoder, generation.
//!
//! A model is read from a folder with [`CausalLm::load`], or made from a configuration:
//!
//! ```
//! use burn::tensor::Device;
//! use mpo_models::{Batch, CausalLm, Initializer, ModelConfig};
//!
//! let config = ModelConfig::from_json(serde_json::json!({
//!     "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32,
//!     "num_hidden_layers": 2, "num_attention_heads": 2,
//! }))?;
//! let mut weights = Initializer::new(config.decoder.norm.offset);
//! let Ok(model) = CausalLm::new(config.decoder, &mut weights, &Device::flex());
//!
//! // Two answers to one prompt, which passes through the model once.
//! let mut batch = Batch::default();
//! let prompt = batch.prompt(&[1, 5, 9]);
//! let answers = [batch.answer(prompt, &[4, 2]), batch.answer(prompt, &[7, 3, 2])];
//! let wanted = batch.want_scores(answers);
//! let scores = model.forward(&batch).scores(wanted);
//! let sums = scores.sum.into_data().try_to_vec::<f32>().unwrap();
//! assert!(sums.len() == 2 && sums.iter().all(|&sum| sum < 0.0));
//! # Ok::<(), mpo_models::ConfigError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod batch;
mod checkpoint;
mod checksums;
mod command;
mod config;
mod decoder;
mod error;
mod generate;
mod gguf;
mod hub;
mod inspect;
mod kind;
mod lines;
pub mod memory;
mod nested;
mod other_formats;
mod precision;
mod quantization;
mod sampling;
mod scratch;
mod sealed;

pub use adapter::{AdapterConfig, AdapterFolder, LoraOptions, LoraTarget};
pub use batch::{At, Batch, Growing, Head, Layer, Outputs, Part, Places, Scores, Sequence, States};
pub use checkpoint::{Checkpoint, CheckpointError, LazyTensor, SaveOptions, WeightDtype, save, verify_description};
pub use checksums::{CHECKSUMS_FILE, ChecksumError, Checksums};
pub use config::{
    Architecture, AttentionBias, AttentionConfig, ConfigError, DecoderConfig, EncoderConfig, LayerConfig, LongRope,
    MlpConfig, ModelConfig, NormConfig, NormPlace, QkNorm, RopeConfig, RopePairs, RopeScaling, StackConfig,
    TranslatorConfig, Yarn,
};
pub use decoder::{
    Accumulator, CausalLm, Initializer, KeyValueCache, NamedGradients, NamedParameter, Pass, PassOptions, RunAgain,
    TokenGradients, Translator, Walk, WeightSource, add_token_gradients, squared_norms,
};
pub use error::{ModelError, open_files_hint};
pub use generate::{
    Answer, Engine, GenerateOptions, Generated, LogProbs, Question, Stepped, Token, TranslateOptions, generate,
    translate,
};
pub use gguf::{GgufDtype, GgufOptions, write_gguf};
pub use hub::{Destination, Hub, ModelFile, ModelFiles, PushError, is_repository_name, resolve, resolve_description};
pub use inspect::{Inspected, inspect};
pub use kind::FileKind;
pub use lines::{checked_line, unchecked_line};
pub use precision::Precision;
pub use quantization::Quantization;
pub use sampling::{Sampling, SamplingError};
pub use scratch::{Scratch, is_partial_name, partial_name};
pub use sealed::{rewritten, seal, unseal};
