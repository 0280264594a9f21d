//! A first look at a model's folder: whether it holds a model that can be used, before minutes go into reading it.

use std::path::Path;

use crate::adapter::{AdapterFolder, adapter_weights};
use crate::checkpoint::{Checkpoint, CheckpointError, verify_description, verify_weights};
use crate::command::python;
use crate::config::{CONFIG_FILE, ModelConfig};
use crate::error::{ModelError, abridged};
use crate::kind::FileKind;
use crate::other_formats::other_formats;

const TOKENIZER_FILE: &str = "tokenizer.json";

/// What tokenizers are kept in that are not `tokenizer.json`.
const OTHER_TOKENIZERS: [&str; 5] = ["tokenizer.model", "spiece.model", "vocab.json", "tekken.json", "qwen.tiktoken"];

/// What a first look found.
#[derive(Debug)]
pub struct Inspected {
    /// The configuration.
    pub config: ModelConfig,
    /// The adapter, where the folder is one's; then the configuration is its base's.
    pub adapter: Option<AdapterFolder>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

/// Looks at a model's folder. Weights are mapped, and none is read.
///
/// # Errors
/// If there is neither a model nor an adapter in it, or one that cannot be used as it is: quantized weights, other formats.
pub fn inspect(dir: &Path) -> Result<Inspected, ModelError> {
    let Some(adapter) = AdapterFolder::find(dir)? else {
        let (config, notes) = inspect_model(dir, dir)?;
        return Ok(Inspected { config, adapter: None, notes });
    };
    let (config, notes) = inspect_model(adapter.base(), adapter.tokenizer_dir())?;
    if let Err(error) = adapter_weights(dir) {
        verify_weights(dir)?;
        return Err(error.into());
    }
    Ok(Inspected { config, adapter: Some(adapter), notes })
}

/// Looks at a model, whose tokenizer may be in another folder.
fn inspect_model(dir: &Path, tokenizer: &Path) -> Result<(ModelConfig, Vec<String>), ModelError> {
    verify_description(dir)?;
    if !dir.join(CONFIG_FILE).exists()
        && let Some(error) = other_formats(dir)
    {
        return Err(error);
    }
    let config = ModelConfig::from_dir(dir)?;
    check_tokenizer(tokenizer)?;
    let checkpoint = match Checkpoint::open(dir) {
        Err(CheckpointError::NoWeights { .. }) if let Some(error) = other_formats(dir) => {
            return Err(error);
        }
        // Where the file is damaged, its checksum says more than what is odd about it.
        Err(error) => {
            verify_weights(dir)?;
            return Err(error.into());
        }
        Ok(checkpoint) => checkpoint,
    };
    if let Some((name, dtype)) = checkpoint.quantized() {
        return Err(ModelError::Folder {
            path: dir.to_owned(),
            expected: "weights in f32, f16, bf16 or NF4",
            found: format!("quantized ones, as {name} of type {dtype} shows"),
            remedy: "weights that are quantized so are not read: pass the model that this one was made from".into(),
        });
    }
    let mut notes = vec![];
    let (other_half, _) = Checkpoint::other_half(checkpoint.names().collect());
    if !other_half.is_empty() {
        let names: Vec<String> = other_half.iter().map(|&name| name.to_owned()).collect();
        notes.push(format!(
            "{}: {} is used as a decoder of text; its other tensors are not: {}",
            dir.display(),
            config.whole.as_deref().unwrap_or("the model"),
            abridged(&names)
        ));
    }
    Ok((config, notes))
}

/// That a file was named where a model's folder belongs.
pub(crate) fn not_a_folder(path: &Path) -> ModelError {
    let kind = FileKind::of_file(path);
    let (found, remedy) = match kind {
        Some(kind) => (kind.what, kind.remedy),
        None => ("a file", ""),
    };
    let remedy = match (path.file_name().and_then(|name| name.to_str()), remedy) {
        (Some(name), _) if name.ends_with(".safetensors") => "pass the folder that it lies in",
        (_, "") => "pass the folder of a model in Hugging Face layout",
        (_, remedy) => remedy,
    };
    ModelError::Folder {
        path: path.to_owned(),
        expected: "a model's folder",
        found: found.into(),
        remedy: remedy.into(),
    }
}

/// A tokenizer that is there, but not as `tokenizer.json`.
fn check_tokenizer(dir: &Path) -> Result<(), ModelError> {
    let file = dir.join(TOKENIZER_FILE);
    for (name, expected) in
        [(TOKENIZER_FILE, "a tokenizer in JSON"), ("tokenizer_config.json", "a configuration in JSON")]
    {
        let file = dir.join(name);
        if let Some(kind) = FileKind::of_file(&file) {
            return Err(CheckpointError::Kind { file, expected, kind }.into());
        }
    }
    if file.exists() {
        return Ok(());
    }
    let others = OTHER_TOKENIZERS.into_iter().filter(|name| dir.join(name).exists());
    let others: Vec<String> = others.map(str::to_owned).collect();
    if others.is_empty() {
        return Ok(());
    }
    let make = python(
        "from sys import argv as a; from transformers import AutoTokenizer as T; T.from_pretrained(a[1]).save_pretrained(a[1])",
        dir,
        "",
    );
    Err(ModelError::Folder {
        path: file,
        expected: "a tokenizer in JSON",
        found: format!("none, but {}", abridged(&others)),
        remedy: format!("make it with `{make}` (needs pip install transformers sentencepiece protobuf)"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::adapter::ADAPTER_FILE;
    use crate::checkpoint::MODEL_FILE;
    use serde_json::json;
    use tempfile::TempDir;

    fn llama() -> Vec<u8> {
        let config = json!({
            "model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1,
        });
        config.to_string().into_bytes()
    }

    fn weights(name: &str, dtype: &str) -> Vec<u8> {
        let header = json!({ name: {"dtype": dtype, "shape": [0], "data_offsets": [0, 0]} }).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    /// A folder of these files is refused in words that have all of `expected` in them.
    #[track_caller]
    fn assert_refused(files: &[(&str, &[u8])], expected: &[&str]) {
        let dir = folder(files);
        let error = inspect(dir.path()).unwrap_err();
        let text = format!("{error}\n{}", error.hint().unwrap());
        for expected in expected {
            assert!(text.contains(expected), "no {expected:?} in {text}");
        }
    }

    #[test]
    fn what_is_not_a_model_is_named() {
        let (config, tensors) = (llama(), weights("model.norm.weight", "F32"));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n";
        let model = |more: &[(&'static str, &'static [u8])]| {
            let mut files = vec![(CONFIG_FILE, config.clone()), (MODEL_FILE, tensors.clone())];
            files.extend(more.iter().map(|(name, bytes)| (*name, bytes.to_vec())));
            files
        };
        let refused = |files: Vec<(&str, Vec<u8>)>, expected: &[&str]| {
            let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
            assert_refused(&files, expected);
        };
        let adapter: &[u8] =
            br#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "some base"}"#;
        let weights = ("adapter_model.safetensors", &tensors[..]);
        assert_refused(
            &[(ADAPTER_FILE, adapter), weights],
            &["base_model_name_or_path: expected the folder", "some base"],
        );
        assert_refused(&[(ADAPTER_FILE, adapter)], &["expected an adapter's weights", "got none"]);
        assert_refused(&[(ADAPTER_FILE, adapter), ("adapter_model.bin", b"")], &["a Python pickle", "save_pretrained"]);
        assert_refused(&[(ADAPTER_FILE, b"{}"), weights], &["peft_type: expected LORA, got nothing"]);
        let nested = br#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "below"}"#;
        assert_refused(
            &[(ADAPTER_FILE, nested), weights, ("below/adapter_config.json", adapter)],
            &["expected a model, as the base of an adapter, got another adapter"],
        );
        let mut mixed = model(&[]);
        mixed.push((ADAPTER_FILE, adapter.to_vec()));
        refused(mixed, &["got a model and an adapter of \"some base\"", "would use both"]);
        assert_refused(&[(CONFIG_FILE, &config), ("model.onnx", b"x")], &["got ONNX"]);
        assert_refused(&[(MODEL_FILE, &tensors)], &["without config.json"]);
        assert_refused(&[("model/config.json", &config)], &["a folder of its own", "pass "]);
        refused(model(&[("tokenizer.model", b"x")]), &["none, but tokenizer.model", "AutoTokenizer"]);
        refused(model(&[(TOKENIZER_FILE, pointer)]), &["got a Git LFS pointer", "git lfs pull"]);
        refused(
            vec![(CONFIG_FILE, pointer.to_vec()), (MODEL_FILE, tensors.clone())],
            &["got a Git LFS pointer", "git lfs pull"],
        );
        assert_refused(&[], &[CONFIG_FILE]);
    }

    #[test]
    fn quantized_weights_are_refused() {
        for (name, dtype) in [
            ("model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__fp4", "U8"),
            ("model.layers.0.mlp.up_proj.weight.absmax", "F32"),
            ("model.layers.0.mlp.up_proj.qweight", "I32"),
            ("model.layers.0.mlp.up_proj.weight", "U8"),
            ("model.layers.0.mlp.up_proj.weight", "F8_E4M3"),
            ("model.layers.0.mlp.up_proj.SCB", "F32"),
        ] {
            let files = [(CONFIG_FILE, llama()), (MODEL_FILE, weights(name, dtype))];
            let files = files.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
            assert_refused(&files, &["got quantized ones", name, "made from"]);
        }
    }

    #[test]
    fn tensors_that_are_not_used_are_named() {
        for (name, noted) in [
            ("model.norm.weight", false),
            ("model.layers.0.self_attn.rotary_emb.inv_freq", false),
            ("v_head.summary.weight", true),
            ("model.vision_tower.patch.weight", true),
        ] {
            let dir = folder(&[(CONFIG_FILE, &llama()), (MODEL_FILE, &weights(name, "F32"))]);
            let notes = inspect(dir.path()).unwrap().notes;
            assert_eq!(notes.iter().any(|note| note.contains(name)), noted, "{notes:?}");
        }
    }
}
