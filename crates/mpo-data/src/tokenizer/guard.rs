//! A tokenizer of a file that we do not vouch for: what would hang it or fill memory is refused, and what panics inside it
//! is an error that names the file.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::error::DataError;
use crate::quiet::{self, quietly};
use crate::text::visible;

/// Bytes of a file; those of the largest vocabularies have 40 million.
const MAX_FILE: u64 = 512 * 1024 * 1024;
/// The largest id; vocabularies have a few hundred thousand tokens, and room is made for every id up to the largest.
const MAX_ID: u32 = 1 << 24;
/// Bytes of a text that a step writes or looks for.
const MAX_PIECE: usize = 4096;
/// How many times longer the steps may make a text.
const MAX_GROWTH: f64 = 2000.0;
/// How long a short text may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A tokenizer and the file it came from.
#[derive(Clone)]
pub(super) struct Guarded {
    tokenizer: Tokenizer,
    path: PathBuf,
    /// What its model takes for a text that it does not know.
    unknown: Option<u32>,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Guarded {
    /// Reads a `tokenizer.json`.
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if size > MAX_FILE {
            return Err(DataError::TokenizerFile {
                path: path.into(),
                problem: format!("expected at most {MAX_FILE} bytes, got {size}"),
            });
        }
        Self::from_bytes(&super::read_bytes(path)?, path)
    }

    fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, DataError> {
        let invalid = |problem: String| DataError::TokenizerFile { path: path.into(), problem };
        let steps = serde_json::from_slice(bytes);
        let steps = steps.map_err(|error| DataError::tokenizer_json(path, error))?;
        let unknown = check(steps).map_err(invalid)?;
        let tokenizer = caught(|| {
            let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
            // Cutting and padding are ours: what the file asks for is for another program.
            tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
            tokenizer.with_padding(None);
            Ok(tokenizer)
        });
        let tokenizer = tokenizer.map_err(invalid)?;
        let largest = tokenizer.get_vocab(true).into_values().max();
        if let Some(id) = largest.filter(|&id| id > MAX_ID) {
            return Err(invalid(format!("expected token ids of at most {MAX_ID}, got {id}")));
        }
        let guarded = Self {
            unknown: match unknown {
                Some(Unknown::Id(id)) => Some(id),
                Some(Unknown::Token(token)) => tokenizer.token_to_id(&token),
                None => None,
            },
            tokenizer,
            path: path.into(),
        };
        guarded.try_out()?;
        Ok(guarded)
    }

    /// Tries a short text of many kinds on a thread of its own: what never ends is left behind there.
    fn try_out(&self) -> Result<(), DataError> {
        let (done, answer) = mpsc::channel();
        let tokenizer = self.clone();
        let spawned = thread::Builder::new().name("tokenizer".into()).spawn(move || {
            let kinds = ["word ", "a", " ", "\n", "1", "?!", "\t\"'", "É本ক\u{301}", "<|x|>", "_-"];
            let text: String = kinds.iter().map(|kind| kind.repeat(60)).collect();
            // It may fail on this text and not on others; each says so for itself.
            let ids = tokenizer.encode(&text, true);
            _ = ids.map(|ids| tokenizer.decode(&ids, true));
            _ = done.send(());
        });
        spawned.map_err(|error| DataError::Thread { what: "tokenizer", error })?;
        answer.recv_timeout(PATIENCE).map_err(|_| {
            let seconds = PATIENCE.as_secs();
            self.error(&format!("it takes more than {seconds} seconds for a short text"))
        })
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(super) fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// A tokenizer of the same file with a change.
    pub(super) fn of_same_file(&self, file: &Value) -> Result<Self, DataError> {
        Self::from_bytes(file.to_string().as_bytes(), &self.path)
    }

    pub(super) fn to_json(&self) -> Result<Value, DataError> {
        let text = self.tokenizer.to_string(false).map_err(|error| self.error(&error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| self.error(&error.to_string()))
    }

    pub(super) fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, DataError> {
        let encoded = caught(|| {
            let encoding = self.tokenizer.encode(text, add_special_tokens);
            encoding.map_err(|error| error.to_string())
        });
        let encoding = encoded.map_err(|problem| self.error(&problem))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, DataError> {
        let decoded = caught(|| {
            let text = self.tokenizer.decode(ids, skip_special_tokens);
            text.map_err(|error| error.to_string())
        });
        decoded.map_err(|problem| self.error(&problem))
    }

    pub(super) fn error(&self, problem: &str) -> DataError {
        DataError::TokenizerFile { path: self.path.clone(), problem: visible(problem) }
    }
}

/// After a panic it is asked for other texts at most, and it keeps no state between texts.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match quietly(|| panic::catch_unwind(AssertUnwindSafe(work))) {
        Ok(result) => result,
        Err(panic) => Err(format!("the tokenizer that it describes fails: {}", quiet::message(&*panic))),
    }
}

/// What a model takes for a text that it does not know.
enum Unknown {
    Token(String),
    Id(u32),
}

/// The parts of a `tokenizer.json` that are looked at before a tokenizer is made of it.
#[derive(Deserialize)]
struct Steps {
    model: Option<Model>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
}

#[derive(Deserialize)]
struct Model {
    unk_token: Option<Value>,
    unk_id: Option<u32>,
}

/// Refuses steps of a tokenizer that make a text far longer or never end, and reads what is unknown to it.
fn check(steps: Steps) -> Result<Option<Unknown>, String> {
    for (name, step) in [
        ("normalizer", steps.normalizer),
        ("pre_tokenizer", steps.pre_tokenizer),
        ("post_processor", steps.post_processor),
        ("decoder", steps.decoder),
    ] {
        let growth = step.as_ref().map_or(Ok(1.0), growth);
        let growth = growth.map_err(|problem| format!("{name}: {problem}"))?;
        if growth > MAX_GROWTH {
            return Err(format!(
                "{name}: expected steps that leave a text of about its length, got some that make it {growth:.0} times as long"
            ));
        }
    }
    let Some(model) = steps.model else {
        return Ok(None);
    };
    let token = model.unk_token.as_ref().and_then(Value::as_str);
    let token = token.map(|token| Unknown::Token(token.into()));
    Ok(model.unk_id.map(Unknown::Id).or(token))
}

/// How many times longer a step, and those in it, may make a text.
fn growth(step: &Value) -> Result<f64, String> {
    let mut factor = 1.0;
    match step {
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            let length = |name: &str| fields.get(name).and_then(Value::as_str).map_or(0, str::len);
            if let Some(pattern) = fields.get("pattern") {
                let literal = pattern.get("String").and_then(Value::as_str);
                if literal.or(pattern.get("Regex").and_then(Value::as_str)) == Some("") {
                    return Err(format!("expected a pattern of {kind}, got an empty one"));
                }
                // A regular expression may match single characters.
                let least = literal.map_or(1, str::len);
                factor *= (length("content") as f64 / least as f64).max(1.0);
            }
            for (name, value) in fields {
                if name != "precompiled_charsmap" {
                    factor *= growth(value)?;
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                factor *= growth(item)?;
            }
        }
        Value::String(text) if text.len() > MAX_PIECE => {
            let length = text.len();
            return Err(format!("expected texts of at most {MAX_PIECE} bytes, got one of {length}"));
        }
        _ => {}
    }
    Ok(factor)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::TextTokenizer;
    use super::super::testing::{CHATML, config, folder};
    use crate::template::TemplateOptions;

    #[test]
    fn a_file_that_would_hang_or_crash_is_named() {
        let with = |key: &str, step: serde_json::Value| {
            let folder = folder(false, &config(CHATML));
            let path = folder.path().join("tokenizer.json");
            let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            file[key] = step;
            fs::write(&path, file.to_string()).unwrap();
            TextTokenizer::from_dir(folder.path(), &TemplateOptions::default()).unwrap_err()
        };
        let replace = |pattern: &str, content: &str| serde_json::json!({ "type": "Replace", "pattern": { "String": pattern }, "content": content });
        let sequence = |steps: Vec<serde_json::Value>| serde_json::json!({ "type": "Sequence", "normalizers": steps });
        for (step, expected) in [
            (replace("", "x"), "an empty one"),
            (sequence(vec![replace("", "x")]), "an empty one"),
            (serde_json::json!({ "type": "Prepend", "prepend": "x".repeat(100_000) }), "at most 4096 bytes"),
            (sequence(vec![replace("a", "aaaa"); 40]), "times as long"),
        ] {
            let error = with("normalizer", step);
            let text = error.to_string();
            assert!(text.contains("tokenizer.json: normalizer: expected"), "{text}");
            assert!(text.contains(expected), "{text}");
        }
        let model = serde_json::json!({
            "type": "WordLevel", "unk_token": "</s>", "vocab": { "</s>": 0, "bake": 4_000_000_000_u32 },
        });
        let error = with("model", model).to_string();
        assert!(error.contains("tokenizer.json: expected token ids of at most"), "{error}");
    }
}
