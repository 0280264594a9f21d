//! Models and runs for tests.

use mpo_models::{DecoderConfig, LoraOptions, ModelConfig, Precision};
use serde_json::json;

use super::{Base, Passes, RowSize, Storage, Tuning};
use crate::settings::OptimizerState;

fn model(config: serde_json::Value) -> DecoderConfig {
    ModelConfig::from_json(config).unwrap().decoder
}

/// Vocabulary 32, hidden 16, inner 32, 4 query heads and 2 key heads of 4, two layers, an untied head.
pub(super) fn tiny() -> DecoderConfig {
    model(json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "tie_word_embeddings": false,
    }))
}

/// LLaMA 3.1 8B.
pub(super) fn llama_8b() -> DecoderConfig {
    model(json!({
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4_096, "intermediate_size": 14_336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": false,
    }))
}

/// Qwen2.5 7B.
pub(super) fn qwen_7b() -> DecoderConfig {
    model(json!({
        "model_type": "qwen2", "vocab_size": 152_064, "hidden_size": 3_584, "intermediate_size": 18_944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": false,
    }))
}

/// Gemma 2 9B.
pub(super) fn gemma_9b() -> DecoderConfig {
    model(json!({
        "model_type": "gemma2", "vocab_size": 256_000, "hidden_size": 3_584, "intermediate_size": 14_336,
        "num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256,
        "query_pre_attn_scalar": 256,
    }))
}

/// Everything in f32, beside the weights.
pub(super) const PLAIN: Storage = Storage {
    recompute: false,
    head_memory: 0,
    precision: Precision::F32,
    tuning: Tuning::Full,
    optimizer_state: OptimizerState::Device,
    clips: true,
    ranks: 1,
};

/// An adapter of so many numbers over a base in bf16.
pub(super) fn adapter(numbers: u64) -> Tuning {
    Tuning::Adapter { numbers, base: Base::Bf16 }
}

/// Two steps of one micro-batch each, of this size.
pub(super) fn passes(tokens: usize, scored: usize) -> Passes {
    let largest = RowSize { tokens, scored, compared: 0, held: 0 };
    Passes { steps: 2, per_step: tokens, accumulates: false, largest, ..Passes::default() }
}

/// An adapter of this rank beside these linear maps.
pub(super) fn lora(rank: usize, targets: &str) -> LoraOptions {
    let Ok(target) = targets.parse();
    LoraOptions { rank, alpha: 1.0, use_rslora: false, targets: vec![target], seed: 0 }
}
