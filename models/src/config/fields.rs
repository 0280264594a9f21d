//! Typed access to the keys of a `config.json`, with errors that name file, key, expectation and finding.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::ConfigError;

/// No size in any published configuration comes near; it keeps products of sizes far from overflow.
const MAX_SIZE: usize = 1 << 24;

/// The hint for a value that no release of Transformers would have written.
pub(crate) const COMPARE: &str = "compare the file with the config.json published with the model";

/// The keys of one JSON object. A key holding `null` counts as absent, as it does in Transformers, except to
/// [`Fields::has`].
pub(crate) struct Fields<'a> {
    file: &'a Path,
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(file: &'a Path, map: &'a Map<String, Value>) -> Self {
        Self { file, prefix: String::new(), map }
    }

    /// The value of a key, unless it is `null`.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Every key, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// Whether the key is written at all, if only as `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(crate) fn error(&self, key: &str, expected: impl Into<String>, hint: &'static str) -> ConfigError {
        ConfigError {
            file: self.file.to_path_buf(),
            key: format!("{}{key}", self.prefix),
            expected: expected.into(),
            got: self.map.get(key).map_or("nothing".into(), abridged),
            hint,
        }
    }

    /// A nested object.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Fields<'a>>, ConfigError> {
        self.optional(key, "an object", |value| {
            Some(Fields { file: self.file, prefix: format!("{}{key}.", self.prefix), map: value.as_object()? })
        })
    }

    /// A size that must be there.
    pub(crate) fn size(&self, key: &str) -> Result<usize, ConfigError> {
        self.optional_size(key)?.ok_or_else(|| self.error(key, "a positive integer", COMPARE))
    }

    /// A size: at least one, and not absurd.
    pub(crate) fn optional_size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.optional(key, &format!("an integer from 1 to {MAX_SIZE}"), |value| {
            let size = usize::try_from(value.as_u64()?).ok()?;
            (1..=MAX_SIZE).contains(&size).then_some(size)
        })
    }

    /// A count, which may be zero.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.optional(key, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    /// A number that is positive and finite in `f32`, where it will be used.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.optional(key, "a positive number", positive)
    }

    /// A list of such numbers.
    pub(crate) fn positives(&self, key: &str) -> Result<Option<Vec<f64>>, ConfigError> {
        self.optional(key, "a list of positive numbers", |value| value.as_array()?.iter().map(positive).collect())
    }

    /// A list of counts.
    pub(crate) fn counts(&self, key: &str) -> Result<Option<Vec<u64>>, ConfigError> {
        self.optional(key, "a list of whole numbers", |value| value.as_array()?.iter().map(Value::as_u64).collect())
    }

    /// Any number that is finite.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.optional(key, "a number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let flag = self.optional(key, "true or false", Value::as_bool)?;
        Ok(flag.unwrap_or(default))
    }

    /// That none of these keys asks for what is not computed.
    pub(crate) fn all_off(&self, keys: &[&str]) -> Result<(), ConfigError> {
        for key in keys {
            if self.flag(key, false)? {
                return Err(self.error(key, "false", "choose a model without it: it is not computed here"));
            }
        }
        Ok(())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.optional(key, "a string", Value::as_str)
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, ConfigError> {
        self.optional(key, "a list of strings", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// A token; -1 says that there is none, as in Meta's own files.
    pub(crate) fn token_id(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        match self.map.get(key).and_then(Value::as_i64) {
            Some(-1) => Ok(None),
            _ => self.optional(key, "a token id", token_id),
        }
    }

    /// Token ids written as one number or as a list of them.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let ids = self.optional(key, "a token id or a list of them", |value| match value {
            Value::Array(ids) => ids.iter().map(token_id).collect(),
            id => token_id(id).map(|id| vec![id]),
        })?;
        Ok(ids.unwrap_or_default())
    }

    fn optional<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.error(key, expected, COMPARE)),
        }
    }
}

fn positive(value: &Value) -> Option<f64> {
    let number = value.as_f64()?;
    let used = number as f32;
    (used > 0.0 && used.is_finite()).then_some(number)
}

fn token_id(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

/// The value as it stands in the file, short enough for one line.
pub(crate) fn abridged(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
