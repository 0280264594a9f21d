//! What of a folder is a model and goes to the hub. Whatever else lies in it (rows, logs, checkpoints, optimizer states) stays.

use std::fs;
use std::path::{Path, PathBuf};

use crate::adapter::{ADAPTER_FILE, adapter_weights};
use crate::checkpoint::{
    ADAPTER_WEIGHTS, Checkpoint, CheckpointError, INDEX_FILE, MODEL_FILE, describes_model, verify_description,
    verify_weights,
};
use crate::config::CONFIG_FILE;
use crate::error::ModelError;
use crate::hub::is_repository_name;

/// Chat templates besides the main one.
const TEMPLATES: &str = "additional_chat_templates";

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the folder; `/` stands between folders.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// The files of a model's folder.
#[derive(Debug)]
pub struct ModelFiles {
    dir: PathBuf,
    files: Vec<ModelFile>,
    others: Vec<String>,
}

impl ModelFiles {
    /// Looks for them, and checks that together they are a model or an adapter, and that none is damaged.
    ///
    /// # Errors
    /// If it is neither, or cannot be read.
    pub fn of(dir: &Path) -> Result<Self, ModelError> {
        let mut found = Self { dir: dir.to_owned(), files: vec![], others: vec![] };
        found.gather(dir, "")?;
        found.files.sort_by(|a, b| a.name.cmp(&b.name));
        found.others.sort();
        verify_description(dir)?;
        let is_whole = found.has(MODEL_FILE) || found.has(INDEX_FILE);
        let (found_instead, remedy) = match (found.has(ADAPTER_FILE), found.has(CONFIG_FILE)) {
            (true, _) if is_whole => ("both", "Transformers would use both: give each a folder of its own"),
            (true, _) => {
                adapter_weights(dir)?;
                return found.checked();
            }
            (false, true) => {
                Checkpoint::open(dir)?;
                return found.checked();
            }
            (false, false) => {
                ("a folder without config.json", "pass the folder that a model was saved in, or a run that is finished")
            }
        };
        Err(ModelError::Folder {
            path: dir.to_owned(),
            expected: "a model or an adapter",
            found: found_instead.into(),
            remedy: remedy.into(),
        })
    }

    /// The same, where every byte of the weights is what was written.
    fn checked(self) -> Result<Self, ModelError> {
        verify_weights(&self.dir)?;
        Ok(self)
    }

    /// Those that are the model, by name.
    pub fn files(&self) -> &[ModelFile] {
        &self.files
    }

    /// Names of what else lies there, folders with a `/` at the end.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// The size of all of them.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The base of an adapter, where that is a folder of this machine and means nothing on another.
    pub fn base_on_this_machine(&self) -> Option<String> {
        if !self.has(ADAPTER_FILE) {
            return None;
        }
        let text = fs::read(self.dir.join(ADAPTER_FILE)).ok()?;
        let settings: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let base = settings["base_model_name_or_path"].as_str()?;
        let is_here = !is_repository_name(base) || Path::new(base).exists();
        is_here.then(|| base.to_owned())
    }

    /// Which of these files of a repository are weights that a reader might take for those here.
    pub(super) fn weights_beside(&self, held: &[String]) -> Vec<String> {
        held.iter().filter(|name| (is_weights(name) || *name == ADAPTER_FILE) && !self.has(name)).cloned().collect()
    }

    pub(super) fn path(&self, file: &ModelFile) -> PathBuf {
        self.dir.join(&file.name)
    }

    fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.name == name)
    }

    /// Sorts what lies in `folder`, whose name from the model's folder on is `prefix`.
    fn gather(&mut self, folder: &Path, prefix: &str) -> Result<(), ModelError> {
        let io = CheckpointError::io;
        for entry in fs::read_dir(folder).map_err(io(folder))? {
            let entry = entry.map_err(io(folder))?;
            let path = entry.path();
            let name = entry.file_name();
            let text = format!("{prefix}{}", name.to_string_lossy());
            // Links are followed, as a cache of the hub is made of them.
            let Ok(meta) = fs::metadata(&path) else {
                self.others.push(text);
                continue;
            };
            if meta.is_file() && name.to_str().is_some() && belongs(&text) {
                self.files.push(ModelFile { name: text, bytes: meta.len() });
            } else if meta.is_dir() && text == TEMPLATES {
                self.gather(&path, &format!("{TEMPLATES}/"))?;
            } else {
                self.others.push(if meta.is_dir() { text + "/" } else { text });
            }
        }
        Ok(())
    }
}

/// Whether a file is part of a model: a list of what is, as nobody can list what is not.
fn belongs(name: &str) -> bool {
    let is_template = name.starts_with(TEMPLATES);
    let papers = ["LICENSE", "LICENCE", "NOTICE", "USE_POLICY"];
    let is_paper = papers.iter().any(|paper| {
        let rest = name.strip_prefix(paper);
        rest.is_some_and(|rest| ["", ".md", ".txt"].contains(&rest))
    });
    is_weights(name)
        || (describes_model(name) && (!is_template || name.ends_with(".jinja")))
        || ["README.md", "tokenizer.model", "spiece.model"].contains(&name)
        || name.ends_with(".tiktoken")
        || is_paper
}

/// Whether a file holds weights that this program reads, or says which of several does.
pub(super) fn is_weights(name: &str) -> bool {
    let is_shard = || {
        let middle = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
        let numbers = middle.and_then(|middle| middle.split_once("-of-"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        numbers.is_some_and(|(number, of)| is_number(number) && is_number(of))
    };
    [MODEL_FILE, INDEX_FILE, ADAPTER_WEIGHTS].contains(&name) || is_shard()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_model_is_known_by_name() {
        for name in [
            "README.md",
            "LICENSE",
            "LICENSE.txt",
            "NOTICE",
            "USE_POLICY.md",
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer.model",
            "merges.txt",
            "chat_template.jinja",
            "additional_chat_templates/rag.jinja",
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "adapter_model.safetensors",
            "adapter_config.json",
        ] {
            assert!(belongs(name), "{name}");
        }
        for name in [
            "optimizer.safetensors",
            "model-of-mine.safetensors",
            "model-00001-of-.safetensors",
            "rows.jsonl",
            "rows.json",
            "notes.txt",
            "LICENSE.key",
            "events.jsonl",
            "results.json",
            "mpo-train.json",
            "mpo-train.blake3",
            "trainer_state.json",
            "pytorch_model.bin",
            "additional_chat_templates/rows.json",
            ".env",
        ] {
            assert!(!belongs(name), "{name}");
        }
    }

    #[test]
    fn the_base_of_an_adapter_may_be_a_folder_of_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let of = |settings: &str| {
            fs::write(dir.path().join(ADAPTER_FILE), settings).unwrap();
            let file = ModelFile { name: ADAPTER_FILE.into(), bytes: 1 };
            let files = ModelFiles { dir: dir.path().to_owned(), files: vec![file], others: vec![] };
            files.base_on_this_machine()
        };
        assert_eq!(of(r#"{"base_model_name_or_path": "/home/me/base"}"#).as_deref(), Some("/home/me/base"));
        assert_eq!(of(r#"{"base_model_name_or_path": "owner/name"}"#), None);
        // One that is relative to where the program runs.
        assert_eq!(of(r#"{"base_model_name_or_path": "src/hub"}"#).as_deref(), Some("src/hub"));
        assert_eq!(of("no settings"), None);
    }
}
