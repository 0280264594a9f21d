//! A file of GGUF as a folder in Hugging Face layout: configuration, tokenizer and chat template, and where the weights are.
//!
//! The folder lies in the user's cache, under a name that follows from the file's place and header, so it is made once.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::header::Header;
use super::{config, tokenizer};
use crate::adapter::ADAPTER_FILE;
use crate::checkpoint::{CheckpointError, INDEX_FILE, MODEL_FILE, map, write_config, write_synced};
use crate::config::CONFIG_FILE;
use crate::error::{ModelError, abridged};
use crate::kind::{FileKind, GGUF};
use crate::scratch::Scratch;

/// In such a folder: the file that it describes.
pub(crate) const SOURCE_FILE: &str = "gguf.json";

/// Changes whenever the same file would be described in another way.
const VERSION: &str = "1";

/// Whether a path is that of a GGUF file.
pub(crate) fn describes(path: &Path) -> bool {
    let is_named = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    let begins = || FileKind::of_file(path).is_some_and(|kind| kind == GGUF);
    path.is_file() && (begins() || (is_named && FileKind::of_file(path).is_none()))
}

/// The one GGUF file in a folder that has no other weights.
///
/// # Errors
/// If there are several.
pub(crate) fn file_in(dir: &Path) -> Result<Option<PathBuf>, ModelError> {
    let others = [MODEL_FILE, INDEX_FILE, ADAPTER_FILE, SOURCE_FILE];
    if others.iter().any(|name| dir.join(name).exists()) {
        return Ok(None);
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let ends = |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    let mut files: Vec<PathBuf> = entries.filter(|path| ends(path) && path.is_file()).collect();
    files.sort();
    match &files[..] {
        [] => Ok(None),
        [_] => Ok(files.pop()),
        [first, ..] => {
            let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(ModelError::Folder {
                path: dir.to_owned(),
                expected: "one GGUF file",
                found: abridged(&files.iter().map(name).collect::<Vec<_>>()),
                remedy: format!("pass one of them, such as {}", first.display()),
            })
        }
    }
}

/// The folder that describes a file; it is made if it is not there.
///
/// # Errors
/// If the file is not as the format wants it, or has a model or a tokenizer that is not known.
pub(crate) fn describe(file: &Path) -> Result<PathBuf, ModelError> {
    describe_in(&cache(), file)
}

/// Where such folders are.
fn cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || env::home_dir().map(|home| home.join(".cache"));
    let base = set("XDG_CACHE_HOME").or_else(home).unwrap_or_else(env::temp_dir);
    base.join("mpo-train").join("gguf")
}

pub(super) fn describe_in(cache: &Path, file: &Path) -> Result<PathBuf, ModelError> {
    let file = fs::canonicalize(file).map_err(CheckpointError::io(file))?;
    let bytes = map(&file)?;
    let header = Header::parse(&file, &bytes)?;
    let mut hasher = blake3::Hasher::new();
    for part in [VERSION.as_bytes(), file.as_os_str().as_encoded_bytes(), &bytes[..header.data_start]] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let dir = cache.join(format!("{name:.60}-{}", &hasher.finalize().to_hex()[..16]));
    if dir.join(SOURCE_FILE).exists() {
        return Ok(dir);
    }
    let config = config::config(&file, &bytes, &header)?;
    let files = tokenizer::files(&file, &header.metadata)?;
    let io = |error| ModelError::from(CheckpointError::io(&dir)(error));
    let scratch = Scratch::beside(&dir).map_err(io)?;
    let partial = scratch.path();
    write_config(&partial.join(CONFIG_FILE), &config)?;
    for (name, text) in files {
        write_synced(&partial.join(name), text.as_bytes())?;
    }
    write_synced(&partial.join(SOURCE_FILE), json!({ "file": file }).to_string().as_bytes())?;
    scratch.finish().map_err(io)?;
    Ok(dir)
}

/// The file that a folder describes, if it describes one.
pub(crate) fn source(dir: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    let path = dir.join(SOURCE_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).map_err(CheckpointError::io(&path))?;
    let file = serde_json::from_slice::<Json>(&bytes).ok().and_then(|json| Some(PathBuf::from(json["file"].as_str()?)));
    file.map(Some).ok_or_else(|| CheckpointError::malformed(&path, "expected the path of a file, got something else"))
}
