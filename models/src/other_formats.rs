//! Weights in formats that are not read here: what a folder holds in place of a model in Hugging Face layout.

use std::fs;
use std::path::Path;

use crate::checkpoint::{INDEX_FILE, MODEL_FILE};
use crate::command::{python, word};
use crate::config::CONFIG_FILE;
use crate::error::ModelError;
use crate::nested::{Nested, nested};

/// What files of other formats end in, what they are, and which model to pass in their place.
const OTHERS: [(&[&str], &str, &str); 7] = [
    (
        &[".ggml", "ggml-model.bin"],
        "what llama.cpp had before GGUF",
        "pass the model that it was made from, or a GGUF file of it",
    ),
    (
        &[".onnx", ".onnx_data", ".ort"],
        "ONNX",
        "ONNX is for answering, not for training: pass the model that it was exported from",
    ),
    (
        &["openvino_model.bin", "openvino_model.xml"],
        "OpenVINO",
        "OpenVINO is for answering, not for training: pass the model that it was exported from",
    ),
    (
        &[".npz"],
        "arrays of NumPy or MLX",
        "pass the model that they were made from, often the one of the same name without -mlx",
    ),
    (
        &[".tflite", ".keras", ".mlmodel", ".mlpackage", ".engine", ".nemo", ".pdparams", ".ot"],
        "the format of another program",
        "pass the model that it was made from, with weights in safetensors",
    ),
    (
        &[".distcp", "_model_states.pt", "_optim_states.pt"],
        "the parts that several processes saved of a model",
        "have the program that saved them put them together: `accelerate merge-weights` for FSDP, `zero_to_fp32.py` in the \
         folder for DeepSpeed",
    ),
    (
        &[".safetensors.part", ".incomplete", ".aria2", ".crdownload"],
        "a download that has not come to its end",
        "download the file again",
    ),
];

/// Weights that Transformers before 5 reads and saves as safetensors, with the argument that it needs.
const CONVERTED: [(&[&str], &str, &str); 2] = [
    (&["flax_model.msgpack", ".msgpack"], "weights of Flax", "from_flax=True"),
    (&["tf_model.h5", ".h5"], "weights of TensorFlow", "from_tf=True"),
];

/// What the folder holds in place of a configuration and weights in safetensors, if it is something known.
pub(crate) fn other_formats(dir: &Path) -> Option<ModelError> {
    let names = file_names(dir);
    let ending = |endings: &[&str]| {
        names.iter().find(|name| {
            let name = name.to_ascii_lowercase();
            endings.iter().any(|ending| name.ends_with(ending))
        })
    };
    let error = |found: String, remedy: String| {
        Some(ModelError::Folder {
            path: dir.to_owned(),
            expected: "config.json and weights in safetensors",
            found,
            remedy,
        })
    };
    if !dir.join(CONFIG_FILE).exists()
        && let Some(Nested { found, remedy }) = nested(dir)
    {
        return error(found, remedy);
    }
    if let Some(name) = names.iter().find(|name| name.starts_with("consolidated.")) {
        return error(format!("weights in Meta's own layout ({name:?})"), convert_metas(dir, name));
    }
    let Some(name) = ending(&[".safetensors"]) else {
        for (endings, what, remedy) in OTHERS {
            if let Some(name) = ending(endings) {
                return error(format!("{what} ({name:?})"), remedy.into());
            }
        }
        for (endings, what, argument) in CONVERTED {
            if let Some(name) = ending(endings) {
                let convert = convert(dir, argument);
                return error(
                    format!("{what} ({name:?})"),
                    format!("convert them with `{convert}` (needs pip install 'transformers<5')"),
                );
            }
        }
        let Some(name) = ending(&[".bin", ".bin.index.json", ".pth", ".pt", ".ckpt"]) else {
            let Nested { found, remedy } = nested(dir)?;
            return error(found, remedy);
        };
        let convert = convert(dir, "dtype='auto'");
        return error(
            format!("weights as a Python pickle ({name:?})"),
            format!("convert them with `{convert}`; torch 2.6 or later runs no code from the file"),
        );
    };
    let config = dir.join(CONFIG_FILE).exists();
    let (found, remedy) = match (config, name.contains("-of-")) {
        (false, _) => (format!("{name:?} without config.json"), "download the model's other files too".into()),
        (true, true) => (format!("{name:?} without {INDEX_FILE}"), format!("download {INDEX_FILE} too")),
        (true, false) => (format!("{name:?}"), format!("if these are the model's weights, call the file {MODEL_FILE}")),
    };
    error(found, remedy)
}

/// A command that has Transformers read weights, with this argument, and save them as safetensors.
fn convert(dir: &Path, argument: &str) -> String {
    let code = format!(
        "from sys import argv as a; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; \
         M.from_pretrained(a[1], {argument}).save_pretrained(a[2]); T.from_pretrained(a[1]).save_pretrained(a[2])"
    );
    python(&code, dir, "-safetensors")
}

/// What to do with weights as Meta publishes them.
fn convert_metas(dir: &Path, name: &str) -> String {
    let other = "pass the model of the same name in Hugging Face layout";
    if name.ends_with(".pth") {
        format!(
            "{other}, usually with -hf at the end, or convert it with `python -m \
             transformers.models.llama.convert_llama_weights_to_hf --input_dir {} --output_dir {} --llama_version 3.1` (name \
             the version that it is)",
            word(dir, ""),
            word(dir, "-hf"),
        )
    } else {
        format!("{other}: download {INDEX_FILE} and the files that it names, or {MODEL_FILE}, from the same place")
    }
}

fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a folder with files of these names.
    fn said(names: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let error = other_formats(dir.path()).unwrap();
        format!("{error}\n{}", error.hint().unwrap())
    }

    #[test]
    fn weights_in_other_formats_are_named() {
        for (names, expected) in [
            (&["ggml-model.bin"][..], &["before GGUF (\"ggml-model.bin\")", "llama.cpp"][..]),
            (&["config.json", "model.onnx"], &["got ONNX (\"model.onnx\")", "exported"]),
            (&["openvino_model.bin"], &["got OpenVINO", "exported"]),
            (&["weights.00.npz"], &["MLX (\"weights.00.npz\")", "-mlx"]),
            (
                &["config.json", "flax_model.msgpack"],
                &["got weights of Flax (\"flax_model.msgpack\")", "from_flax=True", "transformers<5"],
            ),
            (&["tf_model.h5"], &["got weights of TensorFlow", "from_tf=True"]),
            (&["__0_0.distcp"], &["several processes", "merge-weights"]),
            (
                &["params.json", "consolidated.00.pth"],
                &["Meta's own layout (\"consolidated.00.pth\")", "-hf", "convert_llama_weights_to_hf"],
            ),
            (
                &["config.json", "params.json", "consolidated.safetensors"],
                &["Meta's own layout (\"consolidated.safetensors\")", "model.safetensors.index.json"],
            ),
            (&["config.json", "pytorch_model.bin"], &["a Python pickle (\"pytorch_model.bin\")", "save_pretrained"]),
            (&["config.json", "pytorch_model.bin.index.json"], &["a Python pickle"]),
            (&["config.json", "model-00001-of-00002.safetensors"], &["without model.safetensors.index.json"]),
            (&["model.safetensors"], &["without config.json"]),
        ] {
            let said = said(names);
            for expected in expected {
                assert!(said.contains(expected), "no {expected:?} in {said}");
            }
        }
    }

    #[test]
    fn a_configuration_without_weights_does_not_hide_the_models_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = dir.path().join("checkpoint-7");
        fs::create_dir(&checkpoint).unwrap();
        fs::write(dir.path().join(CONFIG_FILE), "{}").unwrap();
        fs::write(checkpoint.join(CONFIG_FILE), "{}").unwrap();
        let hint = other_formats(dir.path()).unwrap().hint().unwrap();
        assert!(hint.ends_with("checkpoint-7"), "{hint}");
    }
}
