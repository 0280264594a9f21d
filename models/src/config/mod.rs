//! What a model is: the sizes, norms, windows and positions that a Hugging Face `config.json` states in one
//! dialect per architecture, brought to one form.
//!
//! Adding an architecture takes a file beside this one, a variant of [`Architecture`] and a line in the list of
//! dialects.

mod cohere;
mod cohere2;
mod decoder;
mod dialect;
mod encoder;
mod error;
pub(crate) mod fields;
pub(crate) mod file;
mod gemma2;
mod gemma3;
mod generation;
mod llama;
mod longrope;
mod m2m;
mod mistral;
mod model;
mod multimodal;
mod olmo2;
mod olmo3;
mod phi3;
#[cfg(test)]
mod published;
mod quantized;
mod qwen2;
mod qwen3;
mod rope;
mod smollm3;
mod t5;
#[cfg(test)]
mod tests;
mod windows;
mod yarn;

pub use decoder::{
    AttentionBias, AttentionConfig, DecoderConfig, LayerConfig, MlpConfig, NormConfig, NormPlace, QkNorm,
};
pub use encoder::EncoderConfig;
pub use error::ConfigError;
pub(crate) use generation::GENERATION_FILE;
pub use longrope::LongRope;
pub use m2m::{StackConfig, TranslatorConfig};
pub use model::ModelConfig;
pub use rope::{RopeConfig, RopePairs, RopeScaling};
pub use yarn::Yarn;

/// The file name of a configuration in a model's folder.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// A family of models with one layout of configuration and weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// LLaMA 1 to 3, and Mistral, which is LLaMA with windows.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3, dense.
    Qwen3,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, text.
    Gemma3,
    /// SmolLM3.
    SmolLm3,
    /// OLMo 2, and OLMo 3, which is OLMo 2 with windows.
    Olmo2,
    /// Phi-3, Phi-3.5 and Phi-4.
    Phi3,
    /// Command R and Aya, up to Aya Expanse.
    Cohere,
    /// Command R7B and Command A.
    Cohere2,
    /// T5, Flan-T5 and mT5: an encoder before the decoder.
    T5,
}
