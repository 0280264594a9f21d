//! Finding a model: a folder on disk, or a repository of the Hugging Face Hub brought into its usual cache. And bringing one there.

mod push;

use std::path::{Path, PathBuf};

use hf_hub::{HFClientSync, HFError, HFRepositorySync, HFResult, RepoTypeModel};

use crate::checkpoint::ADAPTER_WEIGHTS;
use crate::error::ModelError;
use crate::gguf;
use crate::inspect::not_a_folder;

pub use push::{Destination, Hub, ModelFile, ModelFiles, PushError};

/// What a model's weights are in, out of a repository that may hold them in several formats.
const WEIGHTS: [&str; 3] = ["model.safetensors", "model-*-of-*.safetensors", ADAPTER_WEIGHTS];

/// What else a model needs, and what goes along when it is saved.
const DESCRIPTION: [&str; 10] =
    ["*.json", "*.jinja", "*.txt", "*.md", "*.py", "*.model", "*.tiktoken", "LICENSE*", "NOTICE*", "USE_POLICY*"];

/// The folder of a model: `model` itself if it is a folder; one that describes it, in the user's cache, if it is a GGUF file or a
/// folder with one; otherwise the repository `owner/name` of that name,
/// fetched unless it is cached. `revision` is a branch, tag or commit of the repository.
pub fn resolve(model: &str, revision: Option<&str>) -> Result<PathBuf, ModelError> {
    find(model, revision, &[&DESCRIPTION[..], &WEIGHTS].concat())
}

/// The same folder, with everything but a model's weights: of a repository they are not fetched. An adapter's are: they are
/// small, and say how large it is.
pub fn resolve_description(model: &str, revision: Option<&str>) -> Result<PathBuf, ModelError> {
    find(model, revision, &[&DESCRIPTION[..], &[ADAPTER_WEIGHTS]].concat())
}

fn find(model: &str, revision: Option<&str>, patterns: &[&str]) -> Result<PathBuf, ModelError> {
    let path = Path::new(model);
    if path.is_dir() {
        return match gguf::file_in(path)? {
            None => Ok(path.to_owned()),
            Some(file) => gguf::describe(&file),
        };
    }
    if gguf::describes(path) {
        return gguf::describe(path);
    }
    if path.is_file() {
        return Err(not_a_folder(path));
    }
    let (owner, name) = repository_id(model).ok_or_else(|| ModelError::NotAModel { model: model.to_owned() })?;
    let fetch = || -> HFResult<PathBuf> {
        let repository = HFClientSync::new()?.model(owner, name);
        match snapshot(&repository, revision, patterns, false) {
            // Without a network, what was fetched before will do.
            Err(error @ HFError::Request { .. }) => snapshot(&repository, revision, patterns, true).map_err(|_| error),
            result => result,
        }
    };
    fetch().map_err(|error| ModelError::Download { model: model.to_owned(), error: Box::new(error) })
}

fn snapshot(
    repository: &HFRepositorySync<RepoTypeModel>,
    revision: Option<&str>,
    patterns: &[&str],
    cached: bool,
) -> HFResult<PathBuf> {
    repository
        .snapshot_download()
        .maybe_revision(revision)
        .allow_patterns(patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>())
        .local_files_only(cached)
        .send()
}

/// Whether a text may be the name of a repository, `owner/name`.
pub fn is_repository_name(model: &str) -> bool {
    repository_id(model).is_some()
}

/// Splits `owner/name`, both of the characters the Hub allows, so that a mistyped path is not looked for there.
fn repository_id(model: &str) -> Option<(&str, &str)> {
    let valid = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    model.split_once('/').filter(|(owner, name)| valid(owner) && valid(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_used_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(resolve(path, None).unwrap(), dir.path());
    }

    #[test]
    fn a_file_passed_as_a_model_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = resolve(path.to_str().unwrap(), None).unwrap_err();
            format!("{error}\n{}", error.hint().unwrap())
        };
        assert!(refused("tiny.gguf", b"GGUF\x03\0\0\0").contains("expected 8 more bytes of the header"));
        assert!(refused("model.safetensors", b"\x10").contains("pass the folder that it lies in"));
        assert!(refused("notes", b"x").contains("expected a model's folder, got a file"));
    }

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        assert_eq!(repository_id("Qwen/Qwen2.5-0.5B"), Some(("Qwen", "Qwen2.5-0.5B")));
        for wrong in ["", "gpt2", "/a", "a/", "./a", "../a", "a/b/c", "a/.b", "a b/c", "a/b?c"] {
            assert_eq!(repository_id(wrong), None, "{wrong}");
            let error = resolve(wrong, None).unwrap_err();
            assert!(matches!(error, ModelError::NotAModel { .. }), "{error}");
        }
        // As other messages have paths.
        let said = |name: &str| resolve(name, None).unwrap_err().to_string();
        assert!(said("/no/such").starts_with("/no/such: expected a folder or"), "{}", said("/no/such"));
        assert!(said("").starts_with("\"\": expected a folder or"), "{}", said(""));
    }
}
