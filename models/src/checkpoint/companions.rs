//! What goes along when a model is saved: every file of the one it was made from that is not weights.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::{CheckpointError, TOKENIZER_FILES, write::write_synced};
use crate::checksums::CHECKSUMS_FILE;
use crate::config::CONFIG_FILE;
use crate::gguf::SOURCE_FILE;

/// What weights and optimizer states are stored in, by one program or another.
const WEIGHT_ENDINGS: [&str; 20] = [
    "safetensors",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "gguf",
    "ggml",
    "ggjt",
    "h5",
    "msgpack",
    "onnx",
    "onnx_data",
    "npz",
    "npy",
    "ot",
    "tflite",
    "mlmodel",
    "mlpackage",
    "nemo",
    "pkl",
];

/// What such files begin with, whatever they are called: GGUF, an archive of PyTorch, a pickle, HDF5.
const WEIGHT_BEGINNINGS: [&[u8]; 5] = [b"GGUF", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x89HDF"];

/// Folders below folders that are looked into.
const MAX_DEPTH: usize = 8;

/// Chat templates beside the first.
const MORE_TEMPLATES: &str = "additional_chat_templates";

/// What the names of files begin with that say under what licence a model is.
const LICENCES: [&str; 5] = ["license", "licence", "notice", "use_policy", "copying"];

/// Copies the files of the model in `source` that say under what licence it is into the folder `partial`.
pub(super) fn copy_licence(source: &Path, partial: &Path) -> Result<(), CheckpointError> {
    let io = CheckpointError::io;
    for entry in fs::read_dir(source).map_err(io(source))? {
        let entry = entry.map_err(io(source))?;
        let (path, name) = (entry.path(), entry.file_name());
        let lower = name.to_str().unwrap_or_default().to_ascii_lowercase();
        let is_licence = LICENCES.iter().any(|beginning| lower.starts_with(beginning)) && path.is_file();
        if is_licence && !is_weights(&lower, &path).map_err(io(&path))? {
            write_synced(&partial.join(&name), &fs::read(&path).map_err(io(&path))?)?;
        }
    }
    Ok(())
}

/// Copies the companions of the model in `source` into the new folder `partial`, which is to become `target`.
pub(super) fn copy(source: &Path, partial: &Path, target: &Path) -> Result<(), CheckpointError> {
    // The target may lie below the source, and must not be copied into itself.
    let around = target.parent().filter(|parent| *parent != Path::new(""));
    let target = fs::canonicalize(around.unwrap_or(Path::new("."))).ok();
    copy_folder(source, partial, target.as_deref(), 0)
}

/// Makes the tokenizer in the folder `partial` that in `source`: its files, chat templates among them, and none of another's,
/// of which a chat template would beat those in `source`.
pub(crate) fn replace_tokenizer(source: &Path, partial: &Path) -> Result<(), CheckpointError> {
    let io = CheckpointError::io;
    for name in TOKENIZER_FILES.into_iter().chain(["tokenizer.model", "chat_template.json"]) {
        let (path, copy) = (source.join(name), partial.join(name));
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                absent(fs::remove_file(&copy)).map_err(io(&copy))?
            }
            bytes => write_synced(&copy, &bytes.map_err(io(&path))?)?,
        }
    }
    let (templates, copies) = (source.join(MORE_TEMPLATES), partial.join(MORE_TEMPLATES));
    absent(fs::remove_dir_all(&copies)).map_err(io(&copies))?;
    if templates.is_dir() { copy_folder(&templates, &copies, None, 0) } else { Ok(()) }
}

/// What is not there is removed.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn copy_folder(source: &Path, to: &Path, target: Option<&Path>, depth: usize) -> Result<(), CheckpointError> {
    let io = CheckpointError::io;
    for entry in fs::read_dir(source).map_err(io(source))? {
        let entry = entry.map_err(io(source))?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(text) = name.to_str() else {
            continue;
        };
        // Links are followed to files, as a cache of the hub is made of them; a folder may be linked to itself.
        let Ok(meta) = fs::metadata(&path) else {
            continue;
        };
        if meta.is_file() {
            if [CHECKSUMS_FILE, SOURCE_FILE].contains(&text) || is_weights(text, &path).map_err(io(&path))? {
                continue;
            }
            fs::create_dir_all(to).map_err(io(to))?;
            let bytes = fs::read(&path).map_err(io(&path))?;
            write_synced(&to.join(&name), &bytes)?;
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && depth < MAX_DEPTH
            && !text.starts_with('.')
            && !is_something_else(&path, target)
        {
            copy_folder(&path, &to.join(&name), target, depth + 1)?;
        }
    }
    Ok(())
}

/// Weights, or what belongs to weights alone: an index of them, an adapter's settings.
fn is_weights(name: &str, path: &Path) -> io::Result<bool> {
    let name = name.to_ascii_lowercase();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    if ending.is_some_and(|ending| WEIGHT_ENDINGS.contains(&ending))
        || name.ends_with(".index.json")
        || name.starts_with("adapter_")
    {
        return Ok(true);
    }
    let mut beginning = [0; 4];
    let read = File::open(path)?.read(&mut beginning)?;
    let beginning = &beginning[..read];
    Ok(WEIGHT_BEGINNINGS.iter().any(|magic| beginning.starts_with(magic)))
}

/// A folder that is not part of the model: another model, a run, or where the model is being saved.
fn is_something_else(folder: &Path, target: Option<&Path>) -> bool {
    let holds = |name: &str| folder.join(name).exists();
    let around_target = || {
        let folder = fs::canonicalize(folder).ok()?;
        Some(target?.starts_with(folder))
    };
    holds(CONFIG_FILE) || holds("adapter_config.json") || holds("config.yaml") || around_target() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Writes files, and gives those that go along.
    fn copied(files: &[(&str, &[u8])]) -> Vec<String> {
        let source = tempfile::tempdir().unwrap();
        let partial = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = source.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        copy(source.path(), partial.path(), &source.path().join("runs/one/model")).unwrap();
        let mut names = vec![];
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(partial.path().join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = folder.join(entry.file_name());
                if entry.path().is_dir() {
                    folders.push(name)
                } else {
                    let bytes = fs::read(entry.path()).unwrap();
                    assert_eq!(bytes, fs::read(source.path().join(&name)).unwrap());
                    names.push(name.to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        names.sort();
        names
    }

    #[test]
    fn every_file_but_weights_is_copied() {
        let kept = [
            "LICENSE",
            "README.md",
            "added_tokens.json",
            "additional_chat_templates/tool_use.jinja",
            "chat_template.json",
            "config.json",
            "generation_config.json",
            "merges.txt",
            "modeling_own.py",
            "original/params.json",
            "original/tokenizer.model",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer.model",
            "vocab.json",
        ];
        let weights = [
            CHECKSUMS_FILE,
            ".git/config",
            ".cache/huggingface/x.metadata",
            "adapter_config.json",
            "adapter_model.safetensors",
            "checkpoint-10/config.json",
            "checkpoint-10/optimizer.pt",
            "model-00001-of-00002.safetensors",
            "model.Q4_K_M.GGUF",
            "model.safetensors.index.json",
            "original/consolidated.00.pth",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
            "runs/one/config.yaml",
            "runs/one/notes.txt",
            "tf_model.h5",
        ];
        let files: Vec<(&str, &[u8])> = kept.iter().chain(&weights).map(|&name| (name, &b"{}"[..])).collect();
        assert_eq!(copied(&files), kept);
    }

    #[test]
    fn a_tokenizer_takes_the_place_of_another_with_its_templates() {
        let (source, partial) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |dir: &Path, name: &str| {
            fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            fs::write(dir.join(name), name).unwrap();
        };
        let others = ["chat_template.jinja", "chat_template.json", "merges.txt", "additional_chat_templates/rag.jinja"];
        for name in others.into_iter().chain(["tokenizer.json", "config.json"]) {
            write(partial.path(), name);
        }
        for name in ["tokenizer.json", "tokenizer_config.json", "additional_chat_templates/tool_use.jinja"] {
            write(source.path(), name);
        }
        replace_tokenizer(source.path(), partial.path()).unwrap();
        let is_there = |name: &&str| partial.path().join(name).exists();
        assert!(!others.iter().any(is_there));
        let kept =
            ["config.json", "tokenizer.json", "tokenizer_config.json", "additional_chat_templates/tool_use.jinja"];
        assert!(kept.iter().all(is_there));
    }

    #[test]
    fn weights_are_recognized_by_content_too() {
        let files: [(&str, &[u8]); 6] = [
            ("model.old", b"GGUF\x03\0\0\0"),
            ("weights", b"PK\x03\x04\0\0"),
            ("state.dat", b"\x80\x02}q\0"),
            ("empty", b""),
            ("P", b"P"),
            ("tokens.txt", b"PK is a word"),
        ];
        assert_eq!(copied(&files), ["P", "empty", "tokens.txt"]);
    }
}
