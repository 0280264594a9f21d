//! The keys that say what a decoder is, as `convert_hf_to_gguf.py` writes them.

use std::path::Path;

use mpo_kernels::Activation;
use serde_json::json;

use super::architecture::Family;
use super::config::{ROPE_PARAMETERS, default_period, frequency_factors, norm_eps_key, query_scalar};
use super::metadata::Metadata;
use super::value::Value;
use crate::config::{AttentionBias, DecoderConfig, RopeConfig, RopeScaling};
use crate::{Architecture, ModelError};

/// Puts the keys, and gives what each frequency of LLaMA 3's scaling is divided by, which is a tensor there.
///
/// # Errors
/// If llama.cpp would compute something else than this model: what it has no key for, it takes as published models have it.
pub(super) fn put(dir: &Path, config: &DecoderConfig, metadata: &mut Metadata) -> Result<Option<Vec<f32>>, ModelError> {
    let family = Family::of(config);
    let (name, ..) = family.names();
    let DecoderConfig { attention, mlp, norm, layers, .. } = config;
    let refuse = |expected: &'static str, found: String| ModelError::Folder {
        path: dir.to_owned(),
        expected,
        found,
        remedy: format!("llama.cpp computes {name} in one way only, and this model would answer differently there"),
    };
    let usual = if family.is_gemma() { Activation::GeluTanh } else { Activation::Silu };
    if mlp.activation != usual {
        return Err(refuse("the activation that its architecture is known for", format!("{:?}", mlp.activation)));
    }
    let AttentionBias { qkv, output } = attention.bias;
    let biases = match family.architecture() {
        Architecture::Llama => true,
        Architecture::Qwen2 => qkv && !output,
        _ => !qkv && !output,
    };
    if !biases || (mlp.bias && family.architecture() != Architecture::Llama) {
        return Err(refuse("the biases that its architecture is known for", "others".into()));
    }
    let ties = family.architecture() == Architecture::Gemma2 || family.is_cohere();
    if ties && !config.tie_word_embeddings {
        return Err(refuse("a head that is the embedding", "a matrix of its own".into()));
    }
    if family.architecture() == Architecture::Olmo2 && config.tie_word_embeddings {
        return Err(refuse("a head of its own", "the embedding".into()));
    }
    let key = |key: &str| format!("{name}.{key}");
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let mut put = |name: &str, value: Value| metadata.put(key(name), value);
    put("block_count", size(config.num_layers).into());
    // The format wants one; where the model says nothing, no sequence is too long for it.
    put("context_length", size(config.max_positions.unwrap_or(1 << 20)).into());
    put("embedding_length", size(config.hidden_size).into());
    put("feed_forward_length", size(mlp.intermediate_size).into());
    put("attention.head_count", size(attention.num_heads).into());
    put("attention.head_count_kv", size(attention.num_kv_heads).into());
    put("attention.key_length", size(attention.head_dim).into());
    put("attention.value_length", size(attention.head_dim).into());
    put(&format!("attention.{}", norm_eps_key(family)), (norm.eps as f32).into());
    put("vocab_size", size(config.vocab_size).into());
    let rotated = || layers.iter().filter_map(|layer| Some((layer.window, layer.rope.as_ref()?)));
    let Some((_, rope)) = rotated().find(|(window, _)| window.is_none()).or(rotated().next()) else {
        return Err(refuse("layers that rotate", "none".into()));
    };
    put("rope.dimension_count", size(rope.width).into());
    put("rope.freq_base", (rope.theta as f32).into());
    // It has no key for layers that know of no positions.
    let knows = |layer: usize| match family.architecture() {
        Architecture::SmolLm3 => !(layer + 1).is_multiple_of(4),
        Architecture::Cohere2 => layers[layer].window.is_some(),
        _ => true,
    };
    if layers.iter().enumerate().any(|(layer, of)| of.rope.is_some() != knows(layer)) {
        return Err(refuse("rotary embeddings in the layers that its architecture is known for", "in others".into()));
    }
    if family.is_gemma() {
        let [layers, hidden, heads, head_dim] =
            [config.num_layers, config.hidden_size, attention.num_heads, attention.head_dim].map(|size| size as u64);
        let scalar = query_scalar(family, layers, hidden, heads, head_dim) as f64;
        if (attention.scale.powi(-2) - scalar).abs() > 1e-6 * scalar {
            return Err(refuse(
                "query_pre_attn_scalar as llama.cpp takes it, the width of a head in all sizes but 27B",
                format!("{:.3} instead of {scalar}", attention.scale.powi(-2)),
            ));
        }
        if family.architecture() == Architecture::Gemma3 && attention.softcap.is_some() {
            return Err(refuse("scores without a soft-cap", "attn_logit_softcapping".into()));
        }
        if let Some(cap) = attention.softcap {
            put("attn_logit_softcapping", (cap as f32).into());
        } else if family.architecture() == Architecture::Gemma2 {
            return Err(refuse("a soft-cap on scores", "none".into()));
        }
        match config.final_softcap {
            Some(cap) => put("final_logit_softcapping", (cap as f32).into()),
            None if family.architecture() == Architecture::Gemma2 => {
                return Err(refuse("a soft-cap on logits", "none".into()));
            }
            None => {}
        }
        windows(family, config, &mut put)
            .map_err(|found| refuse("sliding layers of one window and one rope", found))?;
    } else if family.architecture() == Architecture::Cohere2 {
        windows(family, config, &mut put)
            .map_err(|found| refuse("three sliding layers of one window to each full one", found))?;
    } else if let Some(window) = layers.iter().find_map(|layer| layer.window) {
        // A window that no sequence is longer than is none, and Phi's file has it all the same.
        if family.architecture() != Architecture::Phi3 || config.max_positions.is_none_or(|longest| window < longest) {
            return Err(refuse("attention to all tokens", "layers with a sliding window".into()));
        }
    }
    if family.architecture() == Architecture::Phi3 {
        // Without one, 0 says so.
        put("attention.sliding_window", size(layers.iter().find_map(|layer| layer.window).unwrap_or(0)).into());
    }
    let kind = "rope.scaling.type";
    if let Some(scale) = config.logit_scale {
        put("logit_scale", (scale as f32).into());
        if rope.scaling != RopeScaling::None {
            return Err(refuse("rotary embeddings without scaling", format!("{:?}", rope.scaling)));
        }
        put(kind, "none".into());
    }
    match &rope.scaling {
        RopeScaling::None => Ok(None),
        &RopeScaling::Linear { factor } => {
            put(kind, "linear".into());
            put("rope.scaling.factor", (factor as f32).into());
            Ok(None)
        }
        RopeScaling::Yarn(yarn) => {
            let usual = 0.1 * yarn.factor.ln() + 1.0;
            let is_usual = (yarn.beta_fast, yarn.beta_slow, yarn.truncate) == (32.0, 1.0, true);
            if !is_usual || (yarn.attention_factor - usual).abs() > 1e-6 {
                return Err(refuse("yarn with its usual parameters", format!("{yarn:?}")));
            }
            put(kind, "yarn".into());
            put("rope.scaling.factor", (yarn.factor as f32).into());
            put("rope.scaling.original_context_length", size(yarn.original_max_position_embeddings).into());
            Ok(None)
        }
        &RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings }
            if family.architecture() == Architecture::Llama =>
        {
            let parameters = json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            });
            metadata.put(ROPE_PARAMETERS, parameters.to_string());
            Ok(Some(frequency_factors(rope)))
        }
        scaling => {
            let got = match scaling {
                // Its factors would fill a screen.
                RopeScaling::LongRope(_) => "longrope".into(),
                other => format!("{other:?}"),
            };
            Err(refuse("rotary scaling that is linear or yarn, or llama3 of a LLaMA", got))
        }
    }
}

/// The window of the layers that slide, which they are where it is not the usual, and their rope.
fn windows(family: Family, config: &DecoderConfig, put: &mut impl FnMut(&str, Value)) -> Result<(), String> {
    let layers = &config.layers;
    let mut sliding = layers.iter().filter_map(|layer| Some((layer.window?, layer.rope.as_ref()?)));
    let Some((window, rope)) = sliding.next() else {
        // Gemma 3 slides where there is a window, the others anyway.
        return if family.architecture() == Architecture::Gemma3 { Ok(()) } else { Err("no layer that slides".into()) };
    };
    if sliding.any(|other| other != (window, rope)) {
        return Err("several".into());
    }
    put("attention.sliding_window", u32::try_from(window).unwrap_or(u32::MAX).into());
    let period = default_period(family);
    let usual = |layer: usize| layer as u64 % period < period - 1;
    if layers.iter().enumerate().any(|(layer, of)| of.window.is_some() != usual(layer)) {
        if !family.is_gemma() {
            return Err("another order of layers".into());
        }
        put("attention.sliding_window_pattern", layers.iter().map(|layer| layer.window.is_some()).collect());
    }
    let full: Option<&RopeConfig> =
        layers.iter().filter(|layer| layer.window.is_none()).find_map(|of| of.rope.as_ref());
    match family.architecture() {
        Architecture::Gemma3 if rope.scaling == RopeScaling::None => {
            put("rope.freq_base_swa", (rope.theta as f32).into());
            Ok(())
        }
        Architecture::Gemma2 | Architecture::Cohere2 if full.is_none_or(|full| full == rope) => Ok(()),
        _ => Err("another rope".into()),
    }
}
