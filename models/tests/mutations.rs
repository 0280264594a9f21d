//! Damaged and hostile model folders: whatever bytes a file holds, looking at the folder and reading its tensors ends in a
//! result or an error. `PROPTEST_CASES=100000` makes a long run of it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

use mpo_models::{CHECKSUMS_FILE, Checkpoint, LazyTensor, ModelConfig, SaveOptions, WeightDtype, inspect, save};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    CHECKSUMS_FILE,
];

fn config() -> Map<String, Value> {
    let config = json!({
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 16,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0, "mscale_all_dim": 0.5},
        "eos_token_id": [1, 2],
        "pad_token_id": -1,
    });
    config.as_object().unwrap().clone()
}

/// A model of two shards, with companions.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tensor = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        LazyTensor { name: name.into(), shape: shape.to_vec(), values: Box::new(std::iter::once(vec![0.5; count])) }
    };
    let tensors = [
        tensor("model.embed_tokens.weight", &[16, 8]),
        tensor("model.norm.weight", &[8]),
        tensor("lm_head.weight", &[16, 8]),
    ];
    let source = tempfile::tempdir().unwrap();
    for (name, text) in [("generation_config.json", r#"{"eos_token_id": 3}"#), ("tokenizer_config.json", "{}")] {
        fs::write(source.path().join(name), text).unwrap();
    }
    let options = SaveOptions {
        dtype: WeightDtype::F16,
        max_shard_bytes: 300,
        copy_from: Some(source.path()),
        ..SaveOptions::default()
    };
    save(&dir.path().join("model"), &config(), tensors, &options).unwrap();
    dir
}

/// Everything that is read of a folder before a model is computed.
fn read(dir: &Path) {
    _ = inspect(dir);
    if let Ok(checkpoint) = Checkpoint::open(dir) {
        _ = checkpoint.tensor_f32("model.norm.weight", &[8]);
        _ = checkpoint.content_hash();
    }
}

#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let pieces = [
        &b"[[[[[[[[[[[[[[[["[..],
        b"\"\"",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"null",
        b"\\ud800",
        b"\xff",
        b",",
        b"{}",
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        any::<usize>().prop_map(Change::Cut),
        (any::<usize>(), 1usize..64).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<usize>(), prop::sample::select(pieces.map(<[u8]>::to_vec).to_vec()))
            .prop_map(|(at, piece)| Change::Insert(at, piece)),
    ]
}

fn changed(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    if bytes.is_empty() {
        return bytes;
    }
    let length = bytes.len();
    match change {
        Change::Flip(at, byte) => bytes[at % length] ^= byte,
        Change::Cut(at) => bytes.truncate(at % length),
        Change::Repeat(at, count) => {
            let from = at % length;
            let piece = bytes[from..length.min(from + count)].to_vec();
            bytes.splice(from..from, piece);
        }
        Change::Insert(at, piece) => {
            let at = at % length;
            bytes.splice(at..at, piece.iter().copied());
        }
    }
    bytes
}

fn odd_value() -> impl Strategy<Value = Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    prop::sample::select(vec![
        json!(null),
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(1_000_000_000),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(5e-324),
        json!(-0.0),
        json!(0.5),
        json!(true),
        json!(""),
        json!("x".repeat(10_000)),
        json!([]),
        json!({}),
        json!([null, -5, "a"]),
        json!({"rope_type": "dynamic", "factor": 1e-300}),
        json!({"rope_type": "yarn", "factor": 1e300, "original_max_position_embeddings": 1}),
        json!({"full_attention": {}, "sliding_attention": null}),
        json!({"rope_type": "longrope", "factor": 1e300, "short_factor": [1e-300, 2.0], "long_factor": [1.0, 2.0]}),
        json!({"rope_type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [1.0, 2.0]}),
        json!([0, 1, 1]),
        deep,
    ])
}

/// A configuration with some keys replaced, at the top or in a section.
fn odd_config() -> impl Strategy<Value = Value> {
    let types = [
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma2",
        "gemma3_text",
        "gemma3",
        "llava",
        "smollm3",
        "olmo2",
        "olmo3",
        "phi3",
        "cohere",
        "cohere2",
    ];
    let keys = [
        "model_type",
        "architectures",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "rope_scaling",
        "rope_parameters",
        "rope_theta",
        "rope_local_base_freq",
        "sliding_window",
        "layer_types",
        "max_window_layers",
        "use_sliding_window",
        "hidden_act",
        "hidden_activation",
        "rms_norm_eps",
        "attention_bias",
        "mlp_bias",
        "tie_word_embeddings",
        "eos_token_id",
        "pad_token_id",
        "bos_token_id",
        "query_pre_attn_scalar",
        "final_logit_softcapping",
        "quantization_config",
        "text_config",
        "original_max_position_embeddings",
        "sliding_window_pattern",
        "partial_rotary_factor",
        "no_rope_layers",
        "no_rope_layer_interval",
        "layer_norm_eps",
        "logit_scale",
        "model_max_length",
        "use_qk_norm",
    ];
    let changes = prop::collection::vec((prop::sample::select(keys.to_vec()), odd_value()), 0..4);
    (prop::sample::select(types.to_vec()), changes).prop_map(|(model_type, changes)| {
        let mut config = Value::Object(config());
        config["model_type"] = model_type.into();
        config.as_object_mut().unwrap().remove("architectures");
        if matches!(model_type, "gemma3" | "llava") {
            let mut text = config.clone();
            text.as_object_mut().unwrap().remove("model_type");
            config["text_config"] = text;
        }
        for (key, value) in changes {
            match config.get_mut("text_config") {
                Some(Value::Object(text)) if key != "text_config" => _ = text.insert(key.into(), value),
                _ => config[key] = value,
            }
        }
        config
    })
}

/// Failures are not written into the source tree.
fn without_a_file() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(without_a_file())]

    #[test]
    fn a_damaged_folder_is_an_error_or_none(
        file in prop::sample::select(FILES.to_vec()),
        changes in prop::collection::vec(change(), 1..4),
        listed: bool,
    ) {
        let home = folder();
        let dir = home.path().join("model");
        let good = fs::read(dir.join(file)).unwrap();
        let bad = changes.iter().fold(good.clone(), changed);
        fs::write(dir.join(file), &bad).unwrap();
        if listed {
            // A list that is as it was written finds every change of a file that it names.
            let found = file == CHECKSUMS_FILE || bad == good || {
                let sums = mpo_models::Checksums::read(&dir).unwrap().unwrap();
                sums.verify(&dir, |_| true).is_err()
            };
            prop_assert!(found);
        } else {
            _ = fs::remove_file(dir.join(CHECKSUMS_FILE));
        }
        read(&dir);
    }

    #[test]
    fn an_odd_configuration_is_an_error_or_bounded(config in odd_config()) {
        if let Ok(model) = ModelConfig::from_json(config) {
            let decoder = &model.decoder;
            prop_assert!(decoder.num_layers == decoder.layers.len() && decoder.num_layers <= 4096);
            prop_assert!(decoder.num_parameters() <= 10_000_000_000_000);
            for rope in decoder.layers.iter().take(16).filter_map(|layer| layer.rope.as_ref()) {
                prop_assert!(rope.width.is_multiple_of(2) && rope.width <= decoder.attention.head_dim);
                prop_assert!(rope.attention_factor().is_finite());
                prop_assert_eq!(rope.inv_freq().len(), rope.width / 2);
            }
        }
    }
}
