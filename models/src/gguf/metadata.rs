//! What a file says of its model: values by their keys, in their order.

use super::value::Value;
use std::collections::HashMap;

/// Values by key.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    values: Vec<(String, Value)>,
    places: HashMap<String, usize>,
}

impl Metadata {
    /// Puts a value at the end; false, and nothing is put, if there is one of this key.
    pub(super) fn insert(&mut self, key: String, value: Value) -> bool {
        let place = self.values.len();
        if self.places.contains_key(&key) {
            return false;
        }
        self.places.insert(key.clone(), place);
        self.values.push((key, value));
        true
    }

    /// The same of a key that is written once.
    pub(super) fn put(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.insert(key.into(), value.into());
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.places.get(key).and_then(|&place| self.values.get(place)).map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &(String, Value)> {
        self.values.iter()
    }
}
