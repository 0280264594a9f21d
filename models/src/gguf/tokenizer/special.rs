//! What a folder says of special tokens and of the chat template beside `tokenizer.json`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::checkpoint::CheckpointError;
use crate::config::file;

/// The roles that llama.cpp has ids for: its name, and that of the key in a `tokenizer_config.json`.
pub(super) const ROLES: [(&str, &str); 6] = [
    ("bos", "bos_token"),
    ("eos", "eos_token"),
    ("unknown", "unk_token"),
    ("seperator", "sep_token"),
    ("padding", "pad_token"),
    ("mask", "mask_token"),
];

/// What the files say.
pub(super) struct Special {
    config: Map<String, Value>,
    map: Map<String, Value>,
}

impl Special {
    /// Reads `tokenizer_config.json` and `special_tokens_map.json`, of which neither must be there.
    pub(super) fn read(dir: &Path) -> Result<Self, CheckpointError> {
        let object = |name: &str| match json(&dir.join(name))? {
            Some(Value::Object(map)) => Ok(map),
            _ => Ok::<_, CheckpointError>(Map::new()),
        };
        Ok(Self { config: object("tokenizer_config.json")?, map: object("special_tokens_map.json")? })
    }

    /// The text of the token in a role. What the configuration says comes first where it lists its tokens, else what is kept
    /// apart, as in Transformers.
    pub(super) fn token(&self, key: &str) -> Option<&str> {
        let listed = self.config.contains_key("added_tokens_decoder");
        let order = if listed { [&self.config, &self.map] } else { [&self.map, &self.config] };
        order.into_iter().find_map(|map| {
            let value = map.get(key)?;
            value.as_str().or_else(|| value.get("content")?.as_str())
        })
    }

    /// The chat template of a folder: of several, the default.
    pub(super) fn template(&self, dir: &Path) -> Result<Option<String>, CheckpointError> {
        let path = dir.join("chat_template.jinja");
        if path.exists() {
            return fs::read_to_string(&path).map(Some).map_err(CheckpointError::io(&path));
        }
        let old = json(&dir.join("chat_template.json"))?;
        let field = old.as_ref().and_then(|old| old.get("chat_template")).or(self.config.get("chat_template"));
        Ok(field.and_then(|field| match field {
            Value::Array(named) => {
                let default = named.iter().find(|one| one["name"] == "default");
                default.and_then(|one| one["template"].as_str()).map(str::to_owned)
            }
            field => field.as_str().map(str::to_owned),
        }))
    }
}

/// The contents of a file of JSON, if it is there.
pub(super) fn json(path: &Path) -> Result<Option<Value>, CheckpointError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = file::read_up_to(path, MAX_BYTES).map_err(CheckpointError::io(path))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| CheckpointError::malformed(path, format!("expected JSON, got {error}")))
}

/// The largest vocabularies take 40 million.
const MAX_BYTES: u64 = 1 << 29;
