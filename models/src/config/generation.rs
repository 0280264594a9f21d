//! `generation_config.json`, of which only the tokens that end an answer are read.

use std::io;
use std::path::Path;

use serde_json::Value;

use super::fields::Fields;
use super::{ConfigError, file};

/// The file beside the configuration that says how the model generates; many models name the end of a turn only there.
pub(crate) const GENERATION_FILE: &str = "generation_config.json";

/// The tokens that generation ends at, as this file in a model's folder says; none where there is no such file.
pub(super) fn eos_token_ids(dir: &Path) -> Result<Vec<u32>, ConfigError> {
    let path = &dir.join(GENERATION_FILE);
    let bytes = match file::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => {
            let hint = "make the file readable, or download it again";
            return Err(file::unread(path, &error, hint));
        }
    };
    match file::parse(path, &bytes)? {
        Value::Object(map) => Fields::new(path, &map).token_ids("eos_token_id"),
        other => Err(file::not_an_object(path, &other)),
    }
}
