use std::fs;

use mpo_kernels::Activation;
use serde_json::{Value, json};

use super::generation::GENERATION_FILE;
use super::*;

/// A small model of an architecture; `changes` are laid over it, `null` included.
fn config(model_type: &str, changes: Value) -> Value {
    let mut config = json!({
        "model_type": model_type,
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn read(model_type: &str, changes: Value) -> DecoderConfig {
    ModelConfig::from_json(config(model_type, changes)).unwrap().decoder
}

/// The rotary embedding of a layer.
fn rope_of(config: &DecoderConfig, layer: usize) -> RopeConfig {
    config.layers[layer].rope.clone().unwrap()
}

fn windows_of(config: &DecoderConfig) -> Vec<Option<usize>> {
    config.layers.iter().map(|layer| layer.window).collect()
}

#[track_caller]
fn assert_rejected(model_type: &str, changes: Value, message: &str) {
    let error = ModelConfig::from_json(config(model_type, changes)).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn llama_leaves_out_what_it_derives() {
    let config = read("llama", json!({"num_key_value_heads": null, "eos_token_id": [2, 5]}));
    assert_eq!((config.attention.head_dim, config.attention.num_kv_heads), (16, 4));
    assert_eq!(config.attention.scale, 0.25);
    assert!(!config.tie_word_embeddings && !config.attention.fused && !config.mlp.fused && !config.norm.centred);
    assert_eq!((config.attention.qk_norm, config.norm.place), (QkNorm::None, NormPlace::Before));
    assert_eq!(config.eos_token_ids, [2, 5]);
    let rope = RopeConfig { theta: 10_000.0, scaling: RopeScaling::None, width: 16, pairs: RopePairs::Halves };
    assert_eq!(config.layers, vec![LayerConfig { window: None, rope: Some(rope) }; 4]);
}

#[test]
fn both_forms_of_rotary_parameters_mean_the_same() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let mut nested = scaling.clone();
    nested["rope_theta"] = json!(500_000.0);
    let older = json!({"rope_theta": 500_000.0, "rope_scaling": scaling});
    let newer = json!({"rope_parameters": nested});
    assert_eq!(read("llama", older), read("llama", newer.clone()));
    let expected = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let rope = rope_of(&read("llama", newer), 0);
    assert_eq!((rope.theta, rope.scaling), (500_000.0, expected));
}

#[test]
fn yarn_is_read_in_every_form() {
    let yarn = |changes: Value| match rope_of(&read("llama", changes), 0).scaling {
        RopeScaling::Yarn(yarn) => yarn,
        other => panic!("{other:?}"),
    };
    let older = yarn(json!({
        "max_position_embeddings": 2048, "rope_scaling": {"type": "yarn", "factor": 4.0},
    }));
    assert_eq!(older.original_max_position_embeddings, 2048);
    assert_eq!((older.beta_fast, older.beta_slow, older.truncate), (32.0, 1.0, true));
    assert_eq!(older.attention_factor, 0.1 * 4f64.ln() + 1.0);
    let newer = yarn(json!({
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "yarn", "factor": null, "original_max_position_embeddings": 2048},
    }));
    assert_eq!(newer, older);
    let told = yarn(json!({
        "rope_scaling": {
            "rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 64, "attention_factor": 0.5,
            "beta_fast": 16, "beta_slow": 2, "truncate": false,
        },
    }));
    assert_eq!((told.attention_factor, told.beta_fast, told.truncate), (0.5, 16.0, false));
    // Of DeepSeek's files: (0.1 · 2 · ln 4 + 1) / (0.1 · ln 4 + 1).
    let scales = yarn(json!({
        "max_position_embeddings": 64,
        "rope_scaling": {"type": "yarn", "factor": 4, "mscale": 2, "mscale_all_dim": 1},
    }));
    let expected = 0.2f64.mul_add(4f64.ln(), 1.0) / 0.1f64.mul_add(4f64.ln(), 1.0);
    assert!((scales.attention_factor - expected).abs() < 1e-12);
}

#[test]
fn dynamic_scaling_changes_nothing_within_the_original_context() {
    let dynamic = json!({
        "max_position_embeddings": 512, "rope_scaling": {"type": "dynamic", "factor": 2.0},
    });
    let config = read("llama", dynamic);
    assert_eq!(config.longest(), Some(512));
    let plain = read("llama", json!({"max_position_embeddings": 512}));
    assert_eq!(plain.longest(), None);
    let freqs = |config: &DecoderConfig| rope_of(config, 0).inv_freq();
    assert_eq!(freqs(&config), freqs(&plain));
}

#[test]
fn one_set_of_rotary_parameters_for_all_layers_may_be_nested() {
    let nested = json!({"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5e5}}});
    assert_eq!(rope_of(&read("qwen3", nested), 0).theta, 5e5);
}

#[test]
fn qwen2_slides_only_when_told_to() {
    let window = json!({"sliding_window": 32, "max_window_layers": 3});
    assert_eq!(windows_of(&read("qwen2", window)), [None; 4]);
    let used = json!({"sliding_window": 32, "max_window_layers": 3, "use_sliding_window": true});
    let config = read("qwen2", used);
    assert_eq!(windows_of(&config), [None, None, None, Some(32)]);
    assert_eq!(config.attention.bias, AttentionBias { qkv: true, output: false });
}

#[test]
fn qwen3_normalizes_queries_and_keys() {
    let config = read("qwen3", json!({"attention_bias": true}));
    assert_eq!((config.attention.head_dim, config.attention.qk_norm), (128, QkNorm::Heads));
    assert_eq!(config.attention.bias, AttentionBias::all(true));
}

#[test]
fn gemma2_alternates_and_caps() {
    let config = read("gemma2", json!({"query_pre_attn_scalar": 16}));
    let windows = [Some(4096), None, Some(4096), None];
    assert_eq!(windows_of(&config), windows);
    assert_eq!((config.attention.scale, config.attention.head_dim), (0.25, 256));
    assert_eq!(config.attention.softcap, Some(50.0));
    assert_eq!(config.final_softcap, Some(30.0));
    assert_eq!((config.norm.offset, config.embedding_scale), (1.0, Some(8.0)));
    assert_eq!(config.mlp.activation, Activation::GeluTanh);
    assert!(config.tie_word_embeddings);
    assert_eq!((config.norm.place, config.attention.qk_norm), (NormPlace::Around, QkNorm::None));
    let uncapped = read("gemma2", json!({"final_logit_softcapping": null}));
    assert_eq!(uncapped.final_softcap, None);
    assert_eq!(uncapped.attention.softcap, Some(50.0));
}

#[test]
fn gemma3_has_a_rotary_base_for_either_kind_of_layer() {
    let older = json!({
        "sliding_window": 8, "sliding_window_pattern": 3, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
        "rope_scaling": {"type": "linear", "factor": 8.0},
    });
    let newer = json!({
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    });
    let config = read("gemma3_text", older);
    assert_eq!(config, read("gemma3_text", newer));
    assert_eq!(windows_of(&config), [Some(8), Some(8), None, Some(8)]);
    let (sliding, full) = (rope_of(&config, 0), rope_of(&config, 2));
    assert_eq!((sliding.theta, sliding.scaling), (1e4, RopeScaling::None));
    assert_eq!((full.theta, full.scaling), (1e6, RopeScaling::Linear { factor: 8.0 }));
    assert_eq!((config.attention.qk_norm, config.final_softcap), (QkNorm::Heads, None));
}

#[test]
fn gemma3_makes_every_sixth_layer_full() {
    let config = read("gemma3_text", json!({"num_hidden_layers": 7}));
    let full: Vec<_> = windows_of(&config).iter().map(Option::is_none).collect();
    assert_eq!(full, [false, false, false, false, false, true, false]);
}

#[test]
fn smollm3_says_which_layers_rotate() {
    let rotated = |changes| {
        let config = read("smollm3", changes);
        config.layers.iter().map(|layer| layer.rope.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(rotated(json!({})), [true, true, true, false]);
    assert_eq!(rotated(json!({"no_rope_layer_interval": 2})), [true, false, true, false]);
    // A list counts, and one that is too long is of a model with more layers.
    let listed = json!({"no_rope_layer_interval": 2, "no_rope_layers": [0, 1, 1, 1, 0]});
    assert_eq!(rotated(listed), [false, true, true, true]);
    let slides = json!({"use_sliding_window": true, "sliding_window": 8});
    assert_eq!(windows_of(&read("smollm3", slides)), [None, None, None, Some(8)]);
    assert_eq!(windows_of(&read("smollm3", json!({"sliding_window": 8}))), [None; 4]);
    let config = read("smollm3", json!({}));
    assert_eq!((rope_of(&config, 0).theta, config.pad_token_id), (2e6, Some(128_004)));
}

#[test]
fn olmo3_scales_the_full_layers_alone() {
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    let older = json!({"rope_theta": 1e5, "sliding_window": 8, "rope_scaling": yarn});
    let mut full = yarn;
    full["rope_theta"] = json!(1e5);
    let newer = json!({
        "sliding_window": 8,
        "rope_parameters": {
            "full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": 1e5},
        },
    });
    let config = read("olmo3", older);
    assert_eq!(config, read("olmo3", newer));
    assert_eq!(windows_of(&config), [Some(8), Some(8), Some(8), None]);
    assert_eq!((rope_of(&config, 0).theta, rope_of(&config, 0).scaling), (1e5, RopeScaling::None));
    assert!(matches!(rope_of(&config, 3).scaling, RopeScaling::Yarn(_)));
    assert_eq!((config.norm.eps, config.pad_token_id), (1e-5, Some(1)));
}

#[test]
fn longrope_is_read_under_all_its_names() {
    let long = |kind: &str| {
        json!({
            "max_position_embeddings": 512, "original_max_position_embeddings": 64, "partial_rotary_factor": 0.25,
            "rope_scaling": {"type": kind, "short_factor": [1, 2], "long_factor": [4, 8]},
        })
    };
    let config = read("phi3", long("longrope"));
    // Of 16 numbers of a head 4 are rotated, by 1 and 1 / (2 · 10000^(1/2)). ln 8 is half of ln 64.
    let rope = rope_of(&config, 0);
    assert_eq!((rope.width, rope.inv_freq()), (4, vec![1.0, 0.005]));
    assert!((rope.attention_factor() - 1.5f64.sqrt()).abs() < 1e-12);
    assert_eq!(config.longest(), Some(64));
    for kind in ["su", "yarn"] {
        assert_eq!(read("phi3", long(kind)), config, "{kind}");
    }
    let mut told = long("longrope");
    told["rope_scaling"]["attention_factor"] = json!(1.25);
    assert_eq!(rope_of(&read("phi3", told), 0).attention_factor(), 1.25);
}

#[test]
fn cohere2_rotates_where_it_slides() {
    let config = read("cohere2", json!({"sliding_window_pattern": 2, "sliding_window": 8, "model_max_length": 1024}));
    assert_eq!(windows_of(&config), [Some(8), None, Some(8), None]);
    let rotated: Vec<bool> = config.layers.iter().map(|layer| layer.rope.is_some()).collect();
    assert_eq!(rotated, [true, false, true, false]);
    assert_eq!((config.logit_scale, config.max_positions), (Some(0.0625), Some(1024)));
    assert_eq!((config.norm.place, config.norm.centred), (NormPlace::Shared, true));
    let types = ["full_attention", "sliding_attention", "sliding_attention", "sliding_attention"];
    assert_eq!(windows_of(&read("cohere2", json!({"layer_types": types})))[..2], [None, Some(4096)]);
}

#[test]
fn parameters_of_a_published_model_are_counted() {
    let config = json!({
        "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": true,
    });
    assert_eq!(read("llama", config).num_parameters(), 134_515_008);
}

#[test]
fn every_key_that_does_not_fit_is_named() {
    let cases = [
        ("llama", json!({"hidden_size": 0}), "config.json: hidden_size: expected an integer from 1"),
        ("llama", json!({"vocab_size": null}), "vocab_size: expected a positive integer, got null"),
        ("llama", json!({"vocab_size": 1u64 << 60}), "vocab_size: expected an integer from 1"),
        ("llama", json!({"num_hidden_layers": 100_000}), "at most 4096 layers, got 100000"),
        ("llama", json!({"hidden_size": 1 << 23, "intermediate_size": 1 << 23}), "parameters together"),
        ("llama", json!({"hidden_size": 66}), "a multiple of num_attention_heads = 4, got 66"),
        ("llama", json!({"hidden_size": 60}), "head_dim: expected an even size"),
        ("llama", json!({"num_key_value_heads": 3}), "a divisor of num_attention_heads = 4, got 3"),
        ("llama", json!({"rms_norm_eps": -1e-6}), "rms_norm_eps: expected a positive number"),
        ("llama", json!({"rms_norm_eps": 1e-60}), "rms_norm_eps: expected a positive number"),
        ("llama", json!({"hidden_act": "relu"}), "hidden_act: expected silu or gelu_pytorch_tanh, got \"relu\""),
        ("llama", json!({"eos_token_id": [1, -1]}), "eos_token_id: expected a token id or a list"),
        (
            "llama",
            json!({"max_position_embeddings": 64, "rope_scaling": {"type": "longrope", "factor": 4}}),
            "rope_scaling.short_factor: expected 8 positive numbers, got nothing",
        ),
        (
            "llama",
            json!({"rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [2.0]}}),
            "rope_scaling.type: expected default, linear, llama3, yarn, longrope or dynamic, got \"su\"",
        ),
        (
            "llama",
            json!({"rope_scaling": {"type": "yarn", "factor": 4}}),
            "rope_scaling.original_max_position_embeddings: expected a positive integer",
        ),
        (
            "llama",
            json!({"rope_scaling": {"type": "dynamic", "factor": 4}}),
            "expected max_position_embeddings beside dynamic scaling",
        ),
        (
            "llama",
            json!({"rope_scaling": {"type": "linear", "factor": 4}, "rope_parameters": {"rope_type": "default"}}),
            "rope_scaling: expected the same as rope_parameters",
        ),
        (
            "llama",
            json!({"rope_parameters": {
                "full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4},
            }}),
            "sliding_attention: expected the same as full_attention",
        ),
        ("llama", json!({"rope_scaling": {"factor": 4}}), "rope_scaling.rope_type: expected the kind"),
        (
            "llama",
            json!({"rope_parameters": {"rope_type": "linear"}}),
            "rope_parameters.factor: expected a positive number, got nothing",
        ),
        ("llama", json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor: expected 1, got 0.5"),
        ("llama", json!({"architectures": ["LlamaForSequenceClassification"]}), "expected [\"LlamaForCausalLM\"]"),
        (
            "qwen2",
            json!({"use_sliding_window": true, "max_window_layers": 0, "sliding_window": 0}),
            "sliding_window: expected an integer",
        ),
        ("gemma2", json!({"sliding_window": null}), "sliding_window: expected a window in use"),
        ("gemma2", json!({"layer_types": ["full_attention"]}), "layer_types: expected 4 of"),
        ("gemma2", json!({"final_logit_softcapping": 0.0}), "final_logit_softcapping: expected a positive"),
        ("gemma3_text", json!({"use_bidirectional_attention": true}), "expected false or nothing"),
        ("smollm3", json!({"no_rope_layers": [1, 1, 0]}), "no_rope_layers: expected 4 of 0 or 1"),
        ("smollm3", json!({"no_rope_layers": [1, 1, 0, 2]}), "no_rope_layers: expected 4 of 0 or 1"),
        ("smollm3", json!({"layer_types": vec!["sliding_attention"; 4]}), "sliding_window: expected a window in use"),
        ("phi3", json!({"partial_rotary_factor": 1.5}), "partial_rotary_factor: expected at most 1, got 1.5"),
        ("phi3", json!({"partial_rotary_factor": 0.2}), "expected a part of 16 that is an even size, got 0.2"),
        ("phi3", json!({"mlp_bias": true}), "mlp_bias: expected false, got true"),
        (
            "phi3",
            json!({"rope_scaling": {"type": "linear", "factor": 2}}),
            "rope_scaling: expected default or longrope",
        ),
        (
            "phi3",
            json!({"rope_scaling": {"type": "longrope", "short_factor": vec![1; 8], "long_factor": vec![1; 7]}}),
            "rope_scaling.factor: expected a positive number",
        ),
        (
            "phi3",
            json!({"max_position_embeddings": 64, "rope_scaling": {
                "type": "longrope", "short_factor": vec![1; 8], "long_factor": vec![1; 7],
            }}),
            "rope_scaling.long_factor: expected 8 positive numbers",
        ),
        (
            "phi3",
            json!({"rope_scaling": {"type": "longrope", "short_mscale": 1.2}}),
            "rope_scaling.short_mscale: expected nothing, got 1.2",
        ),
        (
            "phi3",
            json!({"original_max_position_embeddings": 1, "rope_scaling": {
                "type": "longrope", "factor": 2, "short_factor": vec![1; 8], "long_factor": vec![1; 8],
            }}),
            "original_max_position_embeddings: expected at least 2",
        ),
        ("cohere", json!({}), "rope_theta: expected a positive number, got nothing"),
        ("cohere", json!({"rope_theta": 1e4, "use_qk_norm": true}), "use_qk_norm: expected false, got true"),
        ("cohere2", json!({"sliding_window": null}), "sliding_window: expected a window in use"),
        (
            "mixtral",
            json!({}),
            "expected one of llama, mistral, smollm3, qwen2, qwen3, gemma2, gemma3_text, olmo2, olmo3, phi3, cohere, cohere2, t5, \
             mt5, got \"mixtral\"",
        ),
    ];
    for (model_type, changes, message) in cases {
        assert_rejected(model_type, changes, message);
    }
}

#[test]
fn a_folder_without_a_readable_config_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let message = || ModelConfig::from_dir(dir.path()).unwrap_err().to_string();
    assert!(message().contains("config.json"));
    for text in ["", "[1, 2]", "{\"rms_norm_eps\": NaN}"] {
        fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
        assert!(message().contains("expected a JSON object"), "{text}");
    }
}

#[test]
fn generation_ends_where_either_file_says() {
    let dir = tempfile::tempdir().unwrap();
    let model = config("llama", json!({"eos_token_id": 2}));
    fs::write(dir.path().join(CONFIG_FILE), model.to_string()).unwrap();
    let generation = dir.path().join(GENERATION_FILE);
    let read = || ModelConfig::from_dir(dir.path());
    for (text, ids) in [
        ("{}", &[2][..]),
        (r#"{"eos_token_id": null}"#, &[2]),
        (r#"{"eos_token_id": 5, "top_p": 0.9}"#, &[2, 5]),
        (r#"{"eos_token_id": [7, 2, 7]}"#, &[2, 7]),
    ] {
        fs::write(&generation, text).unwrap();
        let config = read().unwrap();
        assert_eq!(config.decoder.eos_token_ids, ids, "{text}");
        // A trained model is saved under the configuration that it came with.
        assert_eq!(Value::Object(config.raw), model, "{text}");
    }
    for text in ["", "[2]", "{\"eos_token_id\": \"</s>\"}"] {
        fs::write(&generation, text).unwrap();
        let error = read().unwrap_err();
        assert!(error.to_string().contains(GENERATION_FILE), "{error}");
        assert!(!error.hint().is_empty());
    }
    fs::remove_file(&generation).unwrap();
    assert_eq!(read().unwrap().decoder.eos_token_ids, [2]);
}

#[test]
fn a_padding_token_of_minus_one_is_none() {
    let config = read("llama", json!({"pad_token_id": -1, "bos_token_id": -1}));
    assert_eq!((config.pad_token_id, config.bos_token_id), (None, None));
    assert_rejected("llama", json!({"pad_token_id": -2}), "expected a token id, got -2");
}

#[test]
fn a_configuration_in_another_format_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (bytes, message, hint) in [
        (&b"version https://git-lfs.github.com/spec/v1\n"[..], "got a Git LFS pointer", "git lfs pull"),
        (b"<!doctype html>", "got a web page", "HF_TOKEN"),
        (b"", "expected a JSON object, got an empty file", "download"),
    ] {
        fs::write(dir.path().join(CONFIG_FILE), bytes).unwrap();
        let error = ModelConfig::from_dir(dir.path()).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
    }
}

#[test]
fn max_positions_come_from_the_file() {
    let long = json!({"max_position_embeddings": 131_072});
    assert_eq!(read("qwen2", long).max_positions, Some(131_072));
    assert_eq!(read("gemma2", json!({})).max_positions, None);
}

#[test]
fn the_file_is_kept_as_it_was_written() {
    let value = config("llama", json!({"unknown_to_us": [1, 2]}));
    let model = ModelConfig::from_json(value.clone()).unwrap();
    assert_eq!(Value::Object(model.raw), value);
}
