//! The chat template of a saved model, where it is not that of the model it was made from.

use std::{fs, io, path::Path};

use serde_json::{Map, Value};

use super::CheckpointError;
use super::write::write_synced;

/// Makes `template` the only one in the folder: programs look in several places.
pub(super) fn replace(dir: &Path, template: &str) -> Result<(), CheckpointError> {
    write_synced(&dir.join("chat_template.jinja"), template.as_bytes())?;
    let path = dir.join("additional_chat_templates");
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(CheckpointError::io(&path)(error));
        }
        _ => {}
    }
    // Old programs read no other file.
    change(&dir.join("chat_template.json"), |file| {
        file.insert("chat_template".into(), template.into());
    })?;
    change(&dir.join("tokenizer_config.json"), |config| {
        config.remove("chat_template");
    })
}

/// Changes an object of JSON in a file, if the file is there.
fn change(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), CheckpointError> {
    let io_error = CheckpointError::io;
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(io_error(path))?,
    };
    let before: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| io_error(path)(error.into()))?;
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(&after).map_err(|error| io_error(path)(error.into()))?;
    write_synced(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_that_is_saved_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("tokenizer_config.json"), r#"{"a": 1, "chat_template": "x", "b": 2}"#).unwrap();
        fs::write(path("chat_template.json"), "{}").unwrap();
        fs::create_dir(path("additional_chat_templates")).unwrap();
        fs::write(path("additional_chat_templates").join("tool_use.jinja"), "x").unwrap();
        for template in ["first", "second"] {
            replace(dir.path(), template).unwrap();
            assert_eq!(fs::read_to_string(path("chat_template.jinja")).unwrap(), template);
        }
        let config = fs::read(path("tokenizer_config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config, serde_json::json!({ "a": 1, "b": 2 }));
        let old = fs::read_to_string(path("chat_template.json")).unwrap();
        let old: Value = serde_json::from_str(&old).unwrap();
        assert_eq!(old, serde_json::json!({ "chat_template": "second" }));
        assert!(!path("additional_chat_templates").exists());
    }
}
