//! Where settings that came from a file stand there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::yaml;
use crate::error::TrainError;

/// The keys that files gave, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Places(BTreeMap<String, Place>);

#[derive(Debug, Clone, PartialEq)]
struct Place {
    file: PathBuf,
    /// Counted from one; not known in a map in braces.
    line: Option<usize>,
    /// Whether it says that what a weaker source says does not count.
    is_null: bool,
}

impl Places {
    /// Those of the keys in a file that was read as settings.
    pub(super) fn of(text: &str, file: &Path) -> Self {
        let keys: Map<String, Value> = yaml::read(text).unwrap_or_default();
        let place = |(key, value): (String, Value)| {
            let place = Place { file: file.to_owned(), line: yaml::line(text, &key), is_null: value.is_null() };
            (key, place)
        };
        Self(keys.into_iter().map(place).collect())
    }

    /// Whether a key is null.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|place| place.is_null)
    }

    /// The keys that are.
    pub(super) fn nulls(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, place)| place.is_null).map(|(key, _)| &**key)
    }

    /// These, and `weaker` of keys that are neither here nor `given` in another way.
    pub(super) fn or(&self, weaker: &Self, given: impl Fn(&str) -> bool) -> Self {
        let rest = weaker.0.iter().filter(|(key, _)| !given(key));
        let all = rest.chain(&self.0).map(|(key, place)| (key.clone(), place.clone()));
        Self(all.collect())
    }

    /// The error with the place of the setting that it is about, if it came from a file.
    pub(super) fn locate(&self, error: TrainError) -> TrainError {
        let TrainError::Setting { key, expected, got } = error else {
            return error;
        };
        match self.0.get(&key) {
            None => TrainError::Setting { key, expected, got },
            Some(Place { file, line, .. }) => {
                let line = line.map_or(String::new(), |line| format!("line {line}: "));
                TrainError::Config {
                    path: file.clone(),
                    problem: format!("{line}{key}: expected {expected}, got {got}"),
                }
            }
        }
    }
}
