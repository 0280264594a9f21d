//! Configurations of published models, in the keys that they come with. Their parameters were counted by Transformers: those of
//! `AutoModelForCausalLM.from_config` on PyTorch's device `meta`.

use serde_json::{Value, json};

use super::*;

/// A configuration with the sizes that all have: of vocabulary, hidden states and feed-forward block; layers, heads, key heads.
fn read(model_type: &str, sizes: [usize; 6], rest: Value) -> DecoderConfig {
    let keys = [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    ];
    let mut config = json!({ "model_type": model_type });
    for (key, size) in keys.into_iter().zip(sizes) {
        config[key] = size.into();
    }
    for (key, value) in rest.as_object().unwrap() {
        config[key] = value.clone();
    }
    ModelConfig::from_json(config).unwrap().decoder
}

/// The same of every layer.
fn rope(config: &DecoderConfig) -> RopeConfig {
    let first = config.layers[0].rope.clone().unwrap();
    assert!(config.layers.iter().all(|layer| layer.rope.as_ref() == Some(&first)));
    first
}

#[test]
fn llama_3_2_and_3_3() {
    for (sizes, tied, factor, head_dim, parameters) in [
        ([128_256, 2048, 8192, 16, 32, 8], true, 32.0, 64, 1_235_814_400),
        ([128_256, 3072, 8192, 28, 24, 8], true, 32.0, 128, 3_212_749_824),
        ([128_256, 8192, 28_672, 80, 64, 8], false, 8.0, 128, 70_553_706_496),
    ] {
        let config = read(
            "llama",
            sizes,
            json!({
                "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
                "bos_token_id": 128_000, "eos_token_id": [128_001, 128_008, 128_009], "head_dim": head_dim,
                "hidden_act": "silu", "max_position_embeddings": 131_072, "mlp_bias": false, "pretraining_tp": 1,
                "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "tie_word_embeddings": tied,
                "rope_scaling": {
                    "factor": factor, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                    "original_max_position_embeddings": 8192, "rope_type": "llama3",
                },
            }),
        );
        assert_eq!(config.num_parameters(), parameters);
        assert_eq!((config.attention.head_dim, config.tie_word_embeddings), (head_dim, tied));
        assert_eq!((config.norm.eps, config.max_positions, config.longest()), (1e-5, Some(131_072), None));
        let scaling = RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let expected = RopeConfig { theta: 500_000.0, scaling, width: head_dim, pairs: RopePairs::Halves };
        assert_eq!(rope(&config), expected);
        // The slowest frequency is divided by the factor.
        let slowest = config.layers[0].rope.as_ref().unwrap().inv_freq()[head_dim / 2 - 1];
        let plain = 500_000f64.powf(2.0 / head_dim as f64 - 1.0);
        assert!((f64::from(slowest) * factor / plain - 1.0).abs() < 1e-5);
    }
}

#[test]
fn qwen3_in_all_dense_sizes() {
    for (sizes, tied, parameters) in [
        ([151_936, 1024, 3072, 28, 16, 8], true, 596_049_920),
        ([151_936, 2048, 6144, 28, 16, 8], true, 1_720_574_976),
        ([151_936, 2560, 9728, 36, 32, 8], true, 4_022_468_096),
        ([151_936, 4096, 12_288, 36, 32, 8], false, 8_190_735_360),
        ([151_936, 5120, 17_408, 40, 40, 8], false, 14_768_307_200),
        ([151_936, 5120, 25_600, 64, 64, 8], false, 32_762_123_264),
    ] {
        let config = read(
            "qwen3",
            sizes,
            json!({
                "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "bos_token_id": 151_643,
                "eos_token_id": 151_645, "head_dim": 128, "hidden_act": "silu", "max_position_embeddings": 40_960,
                "max_window_layers": sizes[3], "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1_000_000,
                "sliding_window": null, "tie_word_embeddings": tied, "use_sliding_window": false,
            }),
        );
        assert_eq!(config.num_parameters(), parameters);
        assert_eq!((config.attention.head_dim, config.attention.qk_norm), (128, QkNorm::Heads));
        assert!(config.layers.iter().all(|layer| layer.window.is_none()));
        assert_eq!((rope(&config).theta, rope(&config).scaling), (1e6, RopeScaling::None));
    }
}

#[test]
fn smollm3() {
    let pattern: Vec<u8> = (1..=36).map(|number| u8::from(number % 4 != 0)).collect();
    let config = read(
        "smollm3",
        [128_256, 2048, 11_008, 36, 16, 4],
        json!({
            "architectures": ["SmolLM3ForCausalLM"], "attention_bias": false, "bos_token_id": null,
            "eos_token_id": 128_012, "hidden_act": "silu", "layer_types": vec!["full_attention"; 36],
            "max_position_embeddings": 65_536, "max_window_layers": 28, "mlp_bias": false,
            "no_rope_layer_interval": 4, "no_rope_layers": pattern, "pad_token_id": 128_004, "pretraining_tp": 2,
            "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 5_000_000.0, "sliding_window": null,
            "use_sliding_window": false,
        }),
    );
    assert_eq!(config.num_parameters(), 3_075_098_624);
    assert!(config.tie_word_embeddings);
    let rotated: Vec<bool> = config.layers[..5].iter().map(|layer| layer.rope.is_some()).collect();
    assert_eq!(rotated, [true, true, true, false, true]);
    assert_eq!(config.layers[0].rope.as_ref().unwrap().theta, 5e6);
}

#[test]
fn olmo_2_and_3() {
    let rest = || {
        json!({
            "attention_bias": false, "eos_token_id": 100_257, "hidden_act": "silu", "pad_token_id": 100_277,
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 500_000,
            "tie_word_embeddings": false,
        })
    };
    for (sizes, parameters) in [
        ([100_352, 2048, 8192, 16, 16, 16], 1_484_916_736),
        ([100_352, 4096, 11_008, 32, 32, 32], 7_298_617_344),
        ([100_352, 5120, 13_824, 40, 40, 40], 13_716_198_400),
        ([100_352, 5120, 27_648, 64, 40, 8], 32_234_279_936),
    ] {
        let config = read("olmo2", sizes, rest());
        assert_eq!(config.num_parameters(), parameters);
        assert_eq!((config.norm.place, config.attention.qk_norm), (NormPlace::After, QkNorm::Whole));
    }
    let mut of_3 = rest();
    of_3["max_position_embeddings"] = 65_536.into();
    of_3["sliding_window"] = 4096.into();
    of_3["rope_scaling"] = json!({
        "rope_type": "yarn", "factor": 8.0, "attention_factor": 1.207_944_154_167_983_6, "beta_fast": 32.0,
        "beta_slow": 1.0, "original_max_position_embeddings": 8192,
    });
    let config = read("olmo3", [100_278, 4096, 11_008, 32, 32, 32], of_3);
    assert_eq!(config.num_parameters(), 7_298_011_136);
    let windows: Vec<_> = config.layers[..4].iter().map(|layer| layer.window).collect();
    assert_eq!(windows, [Some(4096), Some(4096), Some(4096), None]);
    let scaling = |layer: usize| config.layers[layer].rope.clone().unwrap().scaling;
    assert!(scaling(0) == RopeScaling::None && matches!(scaling(3), RopeScaling::Yarn(yarn) if yarn.factor == 8.0));
}

#[test]
fn phi_3_to_phi_4() {
    let long = json!({ "type": "longrope", "short_factor": vec![1.0; 48], "long_factor": vec![2.0; 48] });
    for (name, sizes, rest, rotated, longest, parameters) in [
        (
            "Phi-3-mini-4k",
            [32_064, 3072, 8192, 32, 32, 32],
            json!({ "rope_scaling": null, "sliding_window": 2047, "tie_word_embeddings": false }),
            96,
            None,
            3_821_079_552u64,
        ),
        (
            "Phi-3.5-mini",
            [32_064, 3072, 8192, 32, 32, 32],
            json!({
                "rope_scaling": long, "sliding_window": 262_144, "max_position_embeddings": 131_072,
                "original_max_position_embeddings": 4096, "tie_word_embeddings": false,
            }),
            96,
            Some(4096),
            3_821_079_552,
        ),
        (
            "Phi-3-medium-4k",
            [32_064, 5120, 17_920, 40, 40, 10],
            json!({ "rope_scaling": null, "sliding_window": 2047, "tie_word_embeddings": false }),
            128,
            None,
            13_960_238_080,
        ),
        (
            "Phi-4",
            [100_352, 5120, 17_920, 40, 40, 10],
            json!({ "rope_theta": 250_000, "sliding_window": null, "tie_word_embeddings": false }),
            128,
            None,
            14_659_507_200,
        ),
        (
            "Phi-4-mini",
            [200_064, 3072, 8192, 32, 24, 8],
            json!({
                "partial_rotary_factor": 0.75, "rope_scaling": long, "sliding_window": 262_144, "lm_head_bias": false,
                "max_position_embeddings": 131_072, "original_max_position_embeddings": 4096, "tie_word_embeddings": true,
                "attention_bias": false, "mlp_bias": false,
            }),
            96,
            Some(4096),
            3_836_021_760,
        ),
    ] {
        let config = read("phi3", sizes, rest);
        assert_eq!(config.num_parameters(), parameters, "{name}");
        assert_eq!((rope(&config).width, config.longest()), (rotated, longest), "{name}");
        assert!(config.attention.fused && config.mlp.fused, "{name}");
        if longest.is_some() {
            // √(1 + ln 32 / ln 4096), and ln 32 is 5/12 of ln 4096.
            assert!((rope(&config).attention_factor() - (17f64 / 12.0).sqrt()).abs() < 1e-12, "{name}");
        }
    }
}

#[test]
fn aya_expanse_and_command_r7b() {
    for (sizes, scale, theta, parameters) in [
        ([256_000, 4096, 14_336, 32, 32, 8], 0.125, 10_000.0, 8_028_033_024),
        ([256_000, 8192, 24_576, 40, 64, 8], 0.0625, 4_000_000.0, 32_296_476_672),
    ] {
        let config = read(
            "cohere",
            sizes,
            json!({
                "architectures": ["CohereForCausalLM"], "attention_bias": false, "bos_token_id": 5,
                "eos_token_id": 255_001, "hidden_act": "silu", "layer_norm_eps": 1e-5, "logit_scale": scale,
                "max_position_embeddings": 8192, "pad_token_id": 0, "rope_theta": theta, "use_qk_norm": false,
            }),
        );
        assert_eq!(config.num_parameters(), parameters);
        assert_eq!((config.logit_scale, config.norm.eps, config.norm.centred), (Some(scale), 1e-5, true));
        assert_eq!((rope(&config).theta, rope(&config).pairs), (theta, RopePairs::Neighbours));
    }
    let config = read(
        "cohere2",
        [256_000, 4096, 14_336, 32, 32, 8],
        json!({
            "architectures": ["Cohere2ForCausalLM"], "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
            "layer_norm_eps": 1e-5, "layer_switch": 4, "logit_scale": 0.25, "max_position_embeddings": 8192,
            "rope_scaling": null, "rope_theta": 50_000, "rotary_pct": 1.0, "sliding_window": 4096,
            "sliding_window_pattern": 4, "use_parallel_block": true, "position_embedding_type": "rope_gptj",
        }),
    );
    assert_eq!(config.num_parameters(), 8_028_033_024);
    let layers: Vec<_> = config.layers[..4].iter().map(|layer| (layer.window, layer.rope.is_some())).collect();
    assert_eq!(layers, [(Some(4096), true), (Some(4096), true), (Some(4096), true), (None, false)]);
}
