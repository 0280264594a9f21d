//! What `tokenizer_config.json` says, and the files beside it that name tokens.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::DataError;
use crate::template::TemplateField;

/// The special tokens that a tokenizer has names for, such as `eos_token`, by which templates write them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpecialTokens(Map<String, Value>);

impl SpecialTokens {
    /// The text of a token; none where the tokenizer has no such token.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Every name, with a text or a list of texts.
    pub(crate) fn variables(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The texts of all.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(|value| match value {
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
            value => value.as_str().into_iter().collect::<Vec<_>>(),
        })
    }

    /// The tokens among the keys of one file.
    #[cfg(test)]
    pub(crate) fn of_file(file: &Map<String, Value>) -> Self {
        let mut tokens = Self::default();
        tokens.add(file);
        tokens
    }

    /// Takes over the tokens among the keys of a file that have no name yet.
    fn add(&mut self, file: &Map<String, Value>) {
        let extra = file.get("extra_special_tokens").and_then(Value::as_object);
        let tokens = file.iter().filter(|(name, _)| name.ends_with("_token")).chain(extra.into_iter().flatten());
        for (name, value) in tokens {
            if let Some(text) = text(value)
                && !self.0.contains_key(name)
            {
                self.0.insert(name.clone(), text.into());
            }
        }
        for name in ["additional_special_tokens", "extra_special_tokens"] {
            if let Some(list) = file.get(name).and_then(Value::as_array)
                && !self.0.contains_key(name)
            {
                let texts: Vec<Value> = list.iter().filter_map(text).map(Value::from).collect();
                self.0.insert(name.into(), texts.into());
            }
        }
    }
}

impl<N: Into<String>, T: Into<String>> FromIterator<(N, T)> for SpecialTokens {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(tokens: I) -> Self {
        let named = tokens.into_iter();
        Self(named.map(|(name, text)| (name.into(), text.into().into())).collect())
    }
}

/// A token is written as its text, or as an object that has it. Numbers and truth values, such as those of
/// `add_bos_token`, are none.
fn text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// The parts of the files that matter here.
pub(super) struct TokenizerConfig {
    pub(super) tokens: SpecialTokens,
    pub(super) template: Option<TemplateField>,
}

impl TokenizerConfig {
    /// Reads `tokenizer_config.json` and `special_tokens_map.json`, as Transformers does: none of them must be there. What an
    /// old tokenizer keeps apart comes first; where the configuration lists its tokens, what it says of one, even that
    /// there is none, stands.
    pub(super) fn read(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join("tokenizer_config.json");
        let mut config = object(&path)?;
        let mut map = object(&dir.join("special_tokens_map.json"))?;
        let mut tokens = SpecialTokens::default();
        if config.contains_key("added_tokens_decoder") {
            map.retain(|name, _| !config.contains_key(name));
        }
        tokens.add(&map);
        tokens.add(&config);
        let template = config.remove("chat_template").filter(|value| !value.is_null());
        let template = template
            .map(TemplateField::deserialize)
            .transpose()
            .map_err(|error| DataError::tokenizer_json(&path, error))?;
        Ok(Self { tokens, template })
    }

    /// Makes sure that the end-of-sequence token has a name. Where the tokenizer's files give none, it is the id that
    /// generation stops at, whose text `text_of` tells.
    ///
    /// # Errors
    /// If there is none either.
    pub(super) fn name_eos(&mut self, dir: &Path, text_of: impl Fn(u32) -> Option<String>) -> Result<(), DataError> {
        let name = "eos_token";
        if self.tokens.get(name).is_some_and(|text| !text.is_empty()) {
            return Ok(());
        }
        for file in ["generation_config.json", "config.json"] {
            let file = object(&dir.join(file))?;
            let id = file.get("eos_token_id");
            // Of several, the first.
            let id = id.and_then(|id| id.get(0).unwrap_or(id).as_u64());
            let id = id.and_then(|id| u32::try_from(id).ok());
            if let Some(text) = id.and_then(&text_of) {
                self.tokens.0.insert(name.into(), text.into());
                return Ok(());
            }
        }
        Err(DataError::NoEndOfSequence(dir.into()))
    }
}

/// The object in a file; an empty one where there is no such file.
fn object(path: &Path) -> Result<Map<String, Value>, DataError> {
    if path.exists() {
        let bytes = super::read_bytes(path)?;
        serde_json::from_slice(&bytes).map_err(|error| DataError::tokenizer_json(path, error))
    } else {
        Ok(Map::new())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::TextTokenizer;
    use super::super::testing::folder;
    use crate::template::TemplateChoice;

    #[test]
    fn what_ends_a_sequence_is_looked_for_as_in_transformers() {
        type Files<'a> = &'a [(&'a str, &'a str)];
        let (config, map) = ("tokenizer_config.json", "special_tokens_map.json");
        let (generation, model) = ("generation_config.json", "config.json");
        let cases: [(Files<'_>, Option<u32>); 10] = [
            (&[(config, r#"{"eos_token": null}"#), (map, r#"{"eos_token": "</s>"}"#)], Some(1)),
            (&[(config, "{}"), (map, r#"{"eos_token": {"content": "</s>"}}"#)], Some(1)),
            (&[(map, r#"{"eos_token": "</s>"}"#)], Some(1)),
            // What is kept apart comes first, unless the configuration lists its tokens.
            (&[(config, r#"{"eos_token": "<end>"}"#), (map, r#"{"eos_token": "</s>"}"#)], Some(1)),
            (
                &[(config, r#"{"eos_token": "<end>", "added_tokens_decoder": {}}"#), (map, r#"{"eos_token": "</s>"}"#)],
                Some(3),
            ),
            (&[(generation, r#"{"eos_token_id": [3, 1]}"#), (model, r#"{"eos_token_id": 1}"#)], Some(3)),
            (&[(generation, r#"{"eos_token_id": null}"#), (model, r#"{"eos_token_id": 1}"#)], Some(1)),
            (&[(map, r#"{"eos_token": "</s>"}"#), (model, r#"{"eos_token_id": 3}"#)], Some(1)),
            (&[(model, r#"{"eos_token_id": 4000}"#)], None),
            (&[], None),
        ];
        for (files, expected) in cases {
            let folder = folder(false, "{}");
            fs::remove_file(folder.path().join(config)).unwrap();
            for (file, text) in files {
                fs::write(folder.path().join(file), text).unwrap();
            }
            let options = "plain".parse::<TemplateChoice>().unwrap().into();
            match (TextTokenizer::from_dir(folder.path(), &options), expected) {
                (Ok(tokenizer), Some(expected)) => {
                    let response = tokenizer.encode_response("bread").unwrap();
                    assert_eq!((tokenizer.eos_id(), response), (expected, vec![8, expected]));
                }
                (Err(error), None) => {
                    let message = error.to_string();
                    for file in [config, map, generation, model] {
                        assert!(message.contains(file), "{message}");
                    }
                }
                (got, _) => panic!("{files:?}: {got:?}"),
            }
        }
    }
}
