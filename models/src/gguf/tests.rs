//! Files in and out, and files that are not as they should be.

use std::fs;
use std::path::{Path, PathBuf};

use mpo_progress::Silent;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::blocks;
use super::header::Header;
use super::metadata::Metadata;
use super::types::TensorType;
use super::value::Value;
use super::{GgufDtype, GgufOptions, write_gguf};
use crate::config::CONFIG_FILE;
use crate::{Checkpoint, LazyTensor, ModelConfig, SaveOptions, WeightDtype, save};

fn bytes(hex: &Json) -> Vec<u8> {
    let text = hex.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn bits(hex: &Json) -> Vec<u32> {
    bytes(hex).as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect()
}

fn of(case: &Json) -> TensorType {
    match case["type"].as_str().unwrap() {
        "F16" => TensorType::F16,
        "BF16" => TensorType::BF16,
        "Q4_0" => TensorType::Q4_0,
        "Q5_0" => TensorType::Q5_0,
        "Q8_0" => TensorType::Q8_0,
        "Q4_K" => TensorType::Q4K,
        "Q5_K" => TensorType::Q5K,
        "Q6_K" => TensorType::Q6K,
        other => panic!("{other}"),
    }
}

/// Beside llama.cpp's Python package (`tests/peers/make_gguf_blocks.py`), to the bit.
#[test]
fn blocks_are_those_of_llama_cpp() {
    let golden = fs::read(fixtures().join("gguf_blocks.json")).unwrap();
    let golden: Json = serde_json::from_slice(&golden).unwrap();
    let unpack = |case: &Json| {
        let mut values = vec![];
        blocks::decode(of(case), &bytes(&case["bytes"]), &mut values);
        values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let unpacked = golden["unpacked"].as_array().unwrap();
    assert_eq!(unpacked.len(), 6);
    for case in unpacked {
        assert_eq!(unpack(case), bits(&case["numbers"]), "{}", case["type"]);
    }
    let packed = golden["packed"].as_array().unwrap();
    assert_eq!(packed.len(), 3);
    for case in packed {
        let numbers: Vec<f32> = bits(&case["numbers"]).into_iter().map(f32::from_bits).collect();
        let mut data = vec![];
        of(case).encode("w", &numbers, &mut data).unwrap();
        assert_eq!(data, bytes(&case["bytes"]), "{}", case["type"]);
        assert_eq!(unpack(case), bits(&case["unpacked"]), "{}", case["type"]);
    }
}

#[test]
fn numbers_that_a_type_does_not_have_are_refused() {
    let encode = |of: TensorType, value: f32| {
        let error = of.encode("w", &[value; 32], &mut vec![]).unwrap_err();
        assert!(error.hint().is_some());
        error.to_string()
    };
    assert!(encode(TensorType::F16, 7e4).contains("at most 65504 for F16, got 70000"));
    assert!(encode(TensorType::Q8_0, 1e7).contains("at most 65504 for F16"));
    for of in [TensorType::F32, TensorType::F16, TensorType::BF16, TensorType::Q8_0] {
        assert!(encode(of, f32::NAN).contains("expected finite weights, got NaN"));
        assert!(encode(of, f32::INFINITY).contains("got inf"));
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// llama.cpp has no key for which layers slide or rotate, but for Gemma's: there they are those of the published models.
fn with_usual_layers(name: &str, mut config: Json) -> Json {
    let is_full = |layer: usize| (layer + 1).is_multiple_of(4);
    match name {
        "smollm3" => {
            config["no_rope_layers"] = (0..4).map(|layer| u8::from(!is_full(layer))).collect();
            config["layer_types"] = vec!["full_attention"; 4].into();
            config["use_sliding_window"] = false.into();
        }
        "phi3" => config["sliding_window"] = Json::Null,
        "cohere2" => {
            let kind = |layer| if is_full(layer) { "full_attention" } else { "sliding_attention" };
            config["layer_types"] = (0..4).map(kind).collect();
        }
        _ => {}
    }
    config
}

/// The fixture of an architecture, as llama.cpp could compute it: Gemma's scores are divided by the width of a head there.
fn fixture(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = fixtures().join("goldens").join(name);
    let config = fs::read_to_string(source.join(CONFIG_FILE)).unwrap();
    let config = config.replace(r#""query_pre_attn_scalar": 20"#, r#""query_pre_attn_scalar": 24"#);
    let config = with_usual_layers(name, serde_json::from_str(&config).unwrap());
    let config = config.to_string();
    fs::write(dir.path().join(CONFIG_FILE), config).unwrap();
    fs::copy(source.join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    dir
}

/// Converts a folder, and gives the folder that describes the file.
fn there_and_back(dir: &Path, dtype: GgufDtype) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("model.gguf");
    write_gguf(dir, &file, &GgufOptions { dtype, name: "model" }, &Silent).unwrap().unwrap();
    let described = super::describe::describe_in(&home.path().join("cache"), &file).unwrap();
    (home, described)
}

const FIXTURES: [&str; 10] =
    ["llama3rope", "qwen2_untied", "qwen3", "gemma2", "gemma3", "smollm3", "olmo2", "phi3", "cohere", "cohere2"];

#[test]
fn every_architecture_comes_back() {
    for name in FIXTURES {
        let dir = fixture(name);
        for dtype in [GgufDtype::F16, GgufDtype::Bf16, GgufDtype::Q8_0] {
            let (_home, described) = there_and_back(dir.path(), dtype);
            let (before, after) =
                (ModelConfig::from_dir(dir.path()).unwrap(), ModelConfig::from_dir(&described).unwrap());
            assert_eq!(before.decoder, after.decoder, "{name}");
            let (before, after) = (Checkpoint::open(dir.path()).unwrap(), Checkpoint::open(&described).unwrap());
            assert!(before.names().eq(after.names()), "{name}");
            for (tensor, shape) in ModelConfig::from_dir(dir.path()).unwrap().decoder.tensors() {
                let expected = before.tensor_f32(&tensor, &shape).unwrap();
                let got = after.tensor_f32(&tensor, &shape).unwrap();
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                let is_blocks = dtype == GgufDtype::Q8_0 && shape.len() == 2 && shape[1].is_multiple_of(32);
                for (expected, got) in expected.iter().zip(&got) {
                    let expected = match dtype {
                        // Norms of Gemma have had 1 added and taken off.
                        _ if shape.len() == 1 && name.starts_with("gemma") => (expected + 1.0) - 1.0,
                        _ if shape.len() == 1 => *expected,
                        _ if is_blocks => {
                            assert!((expected - got).abs() <= largest / 127.0, "{name} {tensor}: {expected} {got}");
                            continue;
                        }
                        GgufDtype::F16 | GgufDtype::Q8_0 => half::f16::from_f32(*expected).to_f32(),
                        GgufDtype::Bf16 => half::bf16::from_f32(*expected).to_f32(),
                    };
                    assert_eq!(expected, *got, "{name} {tensor}");
                }
                let narrow = after.tensor_bf16(&tensor, &shape).unwrap();
                assert_eq!(narrow.is_some(), dtype == GgufDtype::Bf16 && shape.len() == 2, "{name} {tensor}");
                if let Some(narrow) = narrow {
                    assert!(narrow.iter().map(|value| value.to_f32()).eq(got), "{name} {tensor}");
                }
            }
        }
    }
}

/// What llama.cpp has no key for is refused where it would compute something else.
#[test]
fn a_model_that_would_answer_differently_is_refused() {
    let refused = |name: &str, change: &dyn Fn(&mut Json)| {
        let dir = fixture(name);
        let path = dir.path().join(CONFIG_FILE);
        let mut config: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(&path, config.to_string()).unwrap();
        let file = dir.path().join("out.gguf");
        let options = GgufOptions { dtype: GgufDtype::F16, name: "x" };
        let error = write_gguf(dir.path(), &file, &options, &Silent).unwrap_err();
        assert!(!file.exists());
        format!("{error}\n{}", error.hint().unwrap())
    };
    let set = |key: &'static str, value: Json| move |config: &mut Json| config[key] = value.clone();
    assert!(refused("gemma2", &set("query_pre_attn_scalar", json!(20))).contains("got 20.000 instead of 24"));
    assert!(refused("gemma3", &set("attn_logit_softcapping", json!(20))).contains("got attn_logit_softcapping"));
    assert!(refused("gemma2", &set("final_logit_softcapping", Json::Null)).contains("a soft-cap on logits, got none"));
    assert!(refused("llama3rope", &set("hidden_act", json!("gelu_pytorch_tanh"))).contains("got GeluTanh"));
    assert!(refused("qwen3", &set("attention_bias", json!(true))).contains("biases"));
    let slides = |config: &mut Json| {
        config["use_sliding_window"] = true.into();
        config["sliding_window"] = 8.into();
        config["layer_types"] = vec!["sliding_attention"; 4].into();
    };
    assert!(refused("qwen2_untied", &slides).contains("got layers with a sliding window"));
    let all_rotate = set("no_rope_layers", json!([1, 1, 1, 1]));
    assert!(
        refused("smollm3", &all_rotate).contains("rotary embeddings in the layers that its architecture is known for")
    );
    assert!(refused("smollm3", &set("mlp_bias", json!(true))).contains("biases"));
    assert!(refused("olmo2", &set("attention_bias", json!(true))).contains("biases"));
    assert!(
        refused("olmo2", &set("tie_word_embeddings", json!(true))).contains("a head of its own, got the embedding")
    );
    assert!(refused("phi3", &set("sliding_window", json!(8))).contains("got layers with a sliding window"));
    assert!(refused("phi3_long", &|_| {}).contains("got longrope"));
    assert!(refused("olmo3", &set("attention_bias", json!(false))).contains("got layers with a sliding window"));
    assert!(refused("cohere", &set("tie_word_embeddings", json!(false))).contains("a head that is the embedding"));
    let linear = json!({ "rope_type": "linear", "factor": 2.0, "rope_theta": 1e4 });
    assert!(refused("cohere", &set("rope_parameters", linear)).contains("rotary embeddings without scaling"));
    let types = json!(["sliding_attention", "full_attention", "sliding_attention", "full_attention"]);
    assert!(refused("cohere2", &set("layer_types", types)).contains("got another order of layers"));
    let dynamic = json!({ "rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4 });
    assert!(refused("llama3rope", &set("rope_parameters", dynamic)).contains("got Dynamic"));
}

#[test]
fn heads_that_are_rotated_in_part_come_back() {
    let dir = fixture("phi3");
    let path = dir.path().join(CONFIG_FILE);
    let mut config: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["rope_parameters"]["partial_rotary_factor"] = json!(0.75);
    // No sequence is longer.
    config["sliding_window"] = json!(512);
    fs::write(&path, config.to_string()).unwrap();
    let (_home, described) = there_and_back(dir.path(), GgufDtype::F16);
    let (before, after) = (ModelConfig::from_dir(dir.path()).unwrap(), ModelConfig::from_dir(&described).unwrap());
    assert_eq!(before.decoder, after.decoder);
    assert_eq!(after.decoder.layers[0].rope.as_ref().unwrap().width, 6);
}

/// What scaling there is, other than LLaMA 3's, comes back too.
#[test]
fn rotary_scaling_comes_back() {
    for scaling in [
        json!({ "rope_type": "linear", "factor": 4.0, "rope_theta": 1e6 }),
        json!({ "rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6, "original_max_position_embeddings": 128 }),
    ] {
        let dir = fixture("qwen3");
        let path = dir.path().join(CONFIG_FILE);
        let mut config: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["rope_parameters"] = scaling;
        fs::write(&path, config.to_string()).unwrap();
        let (_home, described) = there_and_back(dir.path(), GgufDtype::F16);
        let (before, after) = (ModelConfig::from_dir(dir.path()).unwrap(), ModelConfig::from_dir(&described).unwrap());
        assert_eq!(before.decoder, after.decoder);
    }
}

#[test]
fn nothing_is_replaced_and_nothing_is_left_of_what_fails() {
    let dir = fixture("qwen3");
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("model.gguf");
    fs::write(&file, "mine").unwrap();
    let options = GgufOptions { dtype: GgufDtype::F16, name: "x" };
    let error = write_gguf(dir.path(), &file, &options, &Silent).unwrap_err();
    assert!(error.to_string().contains("expected the name of a new file"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    fs::remove_file(&file).unwrap();

    // A number that f16 does not have, in the last tensor.
    let config = json!({
        "model_type": "llama", "vocab_size": 4, "hidden_size": 2, "intermediate_size": 2, "num_hidden_layers": 1,
        "num_attention_heads": 1, "head_dim": 2,
    });
    let config = ModelConfig::from_json(config).unwrap();
    let tensors = config.decoder.tensors().into_iter().map(|(name, shape)| {
        let value = if name == "lm_head.weight" { 1e6 } else { 0.5 };
        let values = vec![value; shape.iter().product()];
        LazyTensor { name, shape, values: Box::new(std::iter::once(values)) }
    });
    let source = home.path().join("source");
    let save_options = SaveOptions { dtype: WeightDtype::F32, ..SaveOptions::default() };
    save(&source, &config.raw, tensors, &save_options).unwrap();
    let error = write_gguf(&source, &file, &options, &Silent).unwrap_err();
    assert!(error.to_string().contains("output.weight: expected weights of at most 65504"), "{error}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["source"]);
    let (_home, described) = there_and_back(&source, GgufDtype::Bf16);
    assert_eq!(Checkpoint::open(&described).unwrap().tensor_f32("lm_head.weight", &[4, 2]).unwrap()[0], 999_424.0);
}

/// A file with these keys and tensors, of f32 each.
fn file(metadata: &[(&str, Value)], tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        super::value::encode_text(key, &mut bytes);
        bytes.extend(value.kind().to_le_bytes());
        value.encode(&mut bytes);
    }
    for (name, sizes, kind, offset) in tensors {
        super::value::encode_text(name, &mut bytes);
        bytes.extend((sizes.len() as u32).to_le_bytes());
        sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

fn parse(bytes: &[u8]) -> Result<Header, String> {
    Header::parse(Path::new("a.gguf"), bytes).map_err(|error| {
        let hint = error.hint().unwrap();
        format!("{error}\n{hint}")
    })
}

#[track_caller]
fn assert_refused(bytes: &[u8], expected: &str) {
    let error = parse(bytes).unwrap_err();
    assert!(error.starts_with("a.gguf: ") && error.contains(expected), "no {expected:?} in {error}");
}

#[test]
fn a_file_that_breaks_the_format_is_refused() {
    let one = |sizes: &[u64], kind, offset, data| file(&[], &[("t", sizes, kind, offset)], data);
    let header = parse(&one(&[2, 3], 0, 32, 56)).unwrap();
    assert_eq!((&header.tensors[0].shape[..], header.tensors[0].from, header.tensors[0].to), (&[3, 2][..], 32, 56));
    assert_refused(b"", "expected 4 more bytes");
    assert_refused(b"GGML\0\0\0\0", "expected a file that begins with GGUF");
    assert_refused(b"GGUF\x01\0\0\0\0\0\0\0", "version 1");
    assert_refused(b"GGUF\0\0\0\x03\0\0\0\0", "big-endian");
    assert_refused(&one(&[2, 3], 0, 64, 56), "within the 56 bytes of data");
    assert_refused(&one(&[2, 3], 0, u64::MAX - 31, 56), "within the 56 bytes");
    assert_refused(&one(&[2, 3], 0, 8, 64), "a place at a multiple of 32, got 8");
    assert_refused(&one(&[1 << 40, 1 << 40], 0, 0, 0), "within the 0 bytes");
    assert_refused(&one(&[u64::MAX], 0, 0, 0), "within the 0 bytes");
    assert_refused(&one(&[33, 2], 8, 0, 256), "rows of whole blocks of 32 numbers, got rows of 33");
    assert_refused(&one(&[32], 11, 0, 256), "Q3_K in t");
    assert_refused(&one(&[32], 4_000, 0, 256), "type 4000 in t");
    assert_refused(&one(&[1; 5], 0, 0, 256), "at most 4 sizes, got 5");
    let two = |names: [&str; 2], second| file(&[], &[(names[0], &[8], 0, 0), (names[1], &[8], 0, second)], 64);
    assert!(parse(&two(["a", "b"], 32)).is_ok());
    assert_refused(&two(["a", "a"], 32), "got a twice");
    assert_refused(&two(["a", "b"], 0), "got a and b in the same bytes");
    assert_refused(&file(&[("k", 1u32.into()), ("k", 1u32.into())], &[], 0), "each key once, got k twice");
    assert_refused(&file(&[("general.alignment", 33u32.into())], &[], 0), "a power of two");
    let mut wrong = file(&[("k", "text".into())], &[], 0);
    let end = wrong.iter().rposition(|&byte| byte == b't').unwrap();
    wrong[end] = 0xff;
    assert_refused(&wrong, "k: expected a text in UTF-8");
}

/// A count is not believed: no room is made for what the file cannot hold.
#[test]
fn absurd_counts_are_refused_without_allocating() {
    let whole = file(&[("k", [1u32, 2].into_iter().collect())], &[("t", &[8], 0, 0)], 32);
    // The tensors, the keys, the bytes of the key, the values of the array.
    for at in [8, 16, 24, 24 + 8 + 1 + 4 + 4] {
        for count in [1 << 20, u64::MAX / 2, u64::MAX] {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            assert_refused(&bytes, "expected at most");
        }
    }
    // Depth is bounded, and with it the stack.
    let nested = (0..3).fold(Value::U8(0), |inner, _| Value::Array(vec![inner]));
    assert_refused(&file(&[("k", nested)], &[], 0), "expected a type from 0 to 12, got 9");
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let whole = file(&[("k", ["a", "b"].into_iter().collect())], &[("t", &[8], 0, 0)], 32);
    assert!(parse(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_err(), "{length}");
    }
}

/// A whole small model with a tokenizer of each kind.
fn model(tokenizer: &str) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "tie_word_embeddings": true, "eos_token_id": [1, 2],
    });
    let config = ModelConfig::from_json(config).unwrap();
    let tensors = config.decoder.tensors().into_iter().map(|(name, shape)| {
        let values = vec![0.5; shape.iter().product()];
        LazyTensor { name, shape, values: Box::new(std::iter::once(values)) }
    });
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("tokenizer.json"), tokenizer).unwrap();
    fs::write(source.path().join("tokenizer_config.json"), r#"{"eos_token": "</s>", "chat_template": "x"}"#).unwrap();
    let options = SaveOptions { copy_from: Some(source.path()), ..SaveOptions::default() };
    save(&home.path().join("model"), &config.raw, tensors, &options).unwrap();
    let file = home.path().join("model.gguf");
    let options = GgufOptions { dtype: GgufDtype::F16, name: "model" };
    write_gguf(&home.path().join("model"), &file, &options, &Silent).unwrap();
    fs::read(file).unwrap()
}

fn pieces() -> String {
    json!({
        "added_tokens": [
            { "id": 0, "content": "<unk>", "special": true }, { "id": 1, "content": "</s>", "special": true },
            { "id": 7, "content": "▁▁", "special": false },
        ],
        "normalizer": { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        "pre_tokenizer": null,
        "model": {
            "type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
            "vocab": { "<unk>": 0, "</s>": 1, "<0x0A>": 2, "▁": 3, "a": 4, "▁a": 5, "▁▁": 7 },
            "merges": [["▁", "▁"], ["▁", "a"]],
        },
    })
    .to_string()
}

fn words() -> String {
    json!({
        "added_tokens": [{ "id": 1, "content": "</s>", "special": true }],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": true },
        "post_processor": null,
        "model": {
            "type": "BPE", "vocab": { "a": 0, "</s>": 1, "Ġ": 2, "Ġa": 3, "b": 4, "ab": 5 },
            "merges": ["Ġ a", "a b"],
        },
    })
    .to_string()
}

/// The files that are made of a whole file.
fn described(bytes: &[u8]) -> (TempDir, Result<PathBuf, String>) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("a.gguf");
    fs::write(&file, bytes).unwrap();
    let described = super::describe::describe_in(&home.path().join("cache"), &file);
    (home, described.map_err(|error| format!("{error}\n{}", error.hint().unwrap_or_default())))
}

#[test]
fn tokenizers_come_back() {
    for (before, merges) in [(pieces(), json!([["▁", "▁"], ["▁", "a"]])), (words(), json!([["Ġ", "a"], ["a", "b"]]))]
    {
        let (_home, dir) = described(&model(&before));
        let dir = dir.unwrap();
        let json = |name: &str| serde_json::from_slice::<Json>(&fs::read(dir.join(name)).unwrap()).unwrap();
        let (before, after) = (serde_json::from_str::<Json>(&before).unwrap(), json("tokenizer.json"));
        assert_eq!(after["model"]["vocab"], before["model"]["vocab"]);
        assert_eq!(after["model"]["merges"], merges);
        let names = |tokenizer: &Json| {
            let tokens = tokenizer["added_tokens"].as_array().unwrap().clone();
            tokens.iter().map(|token| (token["id"].clone(), token["special"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(names(&after), names(&before));
        assert_eq!(json("tokenizer_config.json")["eos_token"], "</s>");
        assert_eq!(json(CONFIG_FILE)["eos_token_id"], json!([1, 2]));
        assert_eq!(fs::read_to_string(dir.join("chat_template.jinja")).unwrap(), "x");
    }
}

/// A key of a whole file is changed, added or taken away.
fn changed(bytes: &[u8], key: &str, value: Option<Value>) -> Vec<u8> {
    let header = Header::parse(Path::new("a.gguf"), bytes).unwrap();
    let mut metadata = Metadata::default();
    for (name, held) in header.metadata.iter() {
        match &value {
            _ if name != key => metadata.put(name, held.clone()),
            Some(value) => metadata.put(name, value.clone()),
            None => {}
        }
    }
    let sizes: Vec<Vec<u64>> =
        header.tensors.iter().map(|tensor| tensor.shape.iter().rev().map(|&size| size as u64).collect()).collect();
    let tensors = header.tensors.iter().zip(&sizes);
    let tensors: Vec<(&str, &[u64], u32, u64)> = tensors
        .map(|(tensor, sizes)| (tensor.name.as_str(), &sizes[..], tensor.of.number(), tensor.from as u64))
        .collect();
    if let Some(value) = value
        && metadata.get(key).is_none()
    {
        metadata.put(key, value);
    }
    let metadata: Vec<(&str, Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let data = &bytes[header.data_start..];
    let mut changed = file(&metadata, &tensors, data.len());
    let start = changed.len() - data.len();
    changed[start..].copy_from_slice(data);
    changed
}

#[test]
fn a_model_that_is_not_known_is_refused() {
    let (words, pieces) = (model(&words()), model(&pieces()));
    let refused = |bytes: &[u8], key: &str, value: Option<Value>, expected: &str| {
        let (_home, error) = described(&changed(bytes, key, value));
        let error = error.unwrap_err();
        assert!(error.contains(expected), "no {expected:?} in {error}");
    };
    let numbers = |numbers: [u32; 2]| Some(numbers.into_iter().collect::<Value>());
    refused(&words, "general.architecture", Some("mamba".into()), "olmo2, phi3, command-r or cohere2, got mamba");
    refused(&words, "llama.attention.head_count", None, "expected the key llama.attention.head_count, got none");
    refused(&words, "llama.attention.head_count", numbers([1, 2]), "of all layers as llama.attention.head_count");
    refused(&words, "llama.attention.head_count", Some(0u32.into()), "numbers of heads");
    refused(&words, "llama.rope.dimension_count", Some(2u32.into()), "heads of one width");
    refused(&words, "llama.expert_count", Some(8u32.into()), "a dense model, got a mixture of experts");
    refused(&words, "llama.rope.scaling.type", Some("longrope".into()), "linear or yarn, got longrope");
    refused(&words, "split.count", Some(Value::U16(2)), "a model in one file, got a part of one");
    refused(&words, "tokenizer.ggml.model", Some("t5".into()), "of the kind gpt2 or llama, got t5");
    refused(
        &words,
        "tokenizer.ggml.pre",
        Some("viking".into()),
        "llama-bpe, dbrx, qwen2, smollm or gpt-2, as tokenizer.ggml.pre, got viking",
    );
    refused(&words, "tokenizer.ggml.pre", None, "got none");
    refused(&words, "tokenizer.ggml.merges", None, "expected pairs of tokens as tokenizer.ggml.merges");
    refused(&words, "tokenizer.ggml.token_type", numbers([1, 1]), "expected a type of each token");
    refused(&words, "tokenizer.ggml.tokens", Some(["a"; 8].into_iter().collect()), "each token once, got \"a\" twice");
    refused(&pieces, "tokenizer.ggml.scores", None, "expected a score of each token");
    let (_home, fine) = described(&changed(&words, "general.name", Some("another".into())));
    fine.unwrap();
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(bytes);
        let _ = parse(&file);
    }

    /// A byte of the header is changed: what comes of it is a model or an error.
    #[test]
    fn no_change_of_a_file_panics(at in 0usize..4096, byte: u8, of_pieces: bool) {
        use std::sync::LazyLock;
        static MODELS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [model(&words()), model(&pieces())]);
        let mut bytes = MODELS[usize::from(of_pieces)].clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let (_home, Ok(dir)) = described(&bytes)
            && let (Ok(config), Ok(checkpoint)) = (ModelConfig::from_dir(&dir), Checkpoint::open(&dir))
        {
            for (name, shape) in config.decoder.tensors().into_iter().take(16) {
                let _ = checkpoint.tensor_f32(&name, &shape);
            }
        }
    }
}
