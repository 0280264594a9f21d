//! Open language models in Burn: configurations, weights in and out, the decoder, generation.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod checkpoint;
mod checksums;
mod command;
mod config;
mod decoder;
mod error;
mod generate;
mod hub;
mod inspect;
mod kind;
mod lines;
mod memory;
mod nested;
mod other_formats;
mod sampling;
mod scratch;

pub use batch::{At, Batch, Growing, Head, Layer, Outputs, Part, Places, Scores, Sequence, States};
pub use checkpoint::{Checkpoint, CheckpointError, LazyTensor, SaveOptions, WeightDtype, save, verify_description};
pub use checksums::{CHECKSUMS_FILE, ChecksumError, Checksums};
pub use config::{
    Architecture, AttentionBias, ConfigError, DecoderConfig, LayerConfig, ModelConfig, RopeConfig, RopeScaling, Yarn,
};
pub use decoder::{CausalLm, Initializer, KeyValueCache, NamedParameter, WeightSource};
pub use error::{ModelError, open_files_hint};
pub use generate::{Answer, GenerateOptions, Generated, generate};
pub use hub::resolve;
pub use inspect::{Inspected, inspect};
pub use kind::FileKind;
pub use lines::{checked_line, unchecked_line};
pub use sampling::{Sampling, SamplingError};
pub use scratch::{Scratch, is_partial_name, partial_name};
