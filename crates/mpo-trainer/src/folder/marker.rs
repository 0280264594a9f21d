//! The marker: a file that says which run a folder is of. A folder is ours only by it.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::path::Path;

use mpo_objectives::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files;
use crate::error::TrainError;

/// The marker's name.
pub(crate) const MARKER: &str = "mpo-train.json";

/// The program's name and version.
pub(crate) const WRITTEN_BY: &str = concat!("mpo-train ", env!("CARGO_PKG_VERSION"));

/// No marker of ours comes near.
const MAX_MARKER: u64 = 1 << 20;

/// What a folder was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A training run.
    Train,
    /// A comparison of methods.
    Compare,
    /// A run within a comparison.
    ComparedRun,
    /// An evaluation.
    Evaluation,
    /// Rows that are made.
    Preparation,
    /// The paper in miniature.
    Miniature,
    /// The making of the miniature's model.
    MiniatureModel,
    /// The reference's numbers.
    Reference,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "a training run",
            Self::Compare => "a comparison",
            Self::ComparedRun => "a run within a comparison",
            Self::Evaluation => "an evaluation",
            Self::Preparation => "a preparation of rows",
            Self::Miniature => "the miniature",
            Self::MiniatureModel => "the miniature's model",
            Self::Reference => "the reference's numbers",
        })
    }
}

/// What decides a run's outcome: it goes on with the same alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// By key.
    settings: Settings,
    /// Digests of what is read, by what it is, such as `rows`.
    pub(super) inputs: BTreeMap<String, String>,
}

impl Identity {
    /// Of these settings, with nothing read yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, inputs: BTreeMap::new() }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// And of an input with this digest, such as `rows`.
    #[must_use]
    pub fn with(mut self, what: &str, digest: impl Into<String>) -> Self {
        self.inputs.insert(what.to_owned(), digest.into());
        self
    }

    /// The settings that differ from `other`'s.
    fn changed_keys<'a>(&'a self, other: &'a Settings) -> Vec<&'a str> {
        let added = other.keys().filter(|key| !self.settings.contains_key(*key));
        let keys = self.settings.keys().chain(added).map(String::as_str);
        keys.filter(|key| {
            let (was, is) = (self.settings.get(*key), other.get(*key));
            was != is && !(is_off(was) && is_off(is))
        })
        .collect()
    }

    /// The settings that differ from `other`'s, as they were and are.
    pub(super) fn changed_settings(&self, other: &Settings) -> Option<String> {
        let text = |value: Option<&Value>| match value {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let change = |key| format!("{key}: {} → {}", text(self.settings.get(key)), text(other.get(key)));
        let changes: Vec<String> = self.changed_keys(other).into_iter().map(change).collect();
        (!changes.is_empty()).then(|| format!("different settings: {}", changes.join(", ")))
    }

    /// Whether `other` differs, and in nothing but where the run ends.
    pub(super) fn ends_otherwise(&self, other: &Settings) -> bool {
        let changed = self.changed_keys(other);
        !changed.is_empty() && changed.iter().all(|key| END.contains(key))
    }

    /// The settings that say where the run ends.
    pub(super) fn end(&self) -> Settings {
        END.iter().filter_map(|key| Some(((*key).to_owned(), self.settings.get(*key)?.clone()))).collect()
    }

    /// The same run with the end that `settings` say.
    pub(super) fn with_end_of(&self, settings: &Settings) -> Self {
        let mut new = self.clone();
        for key in END {
            match settings.get(key) {
                Some(value) => new.settings.insert(key.to_owned(), value.clone()),
                None => new.settings.remove(key),
            };
        }
        new
    }

    /// What of `other` is not as it was, in words.
    pub(super) fn changed(&self, other: &Self) -> Option<String> {
        self.changed_settings(&other.settings).or_else(|| {
            let mut inputs = other.inputs.iter();
            inputs.find(|(what, digest)| self.inputs.get(*what) != Some(digest)).map(|(what, _)| match &**what {
                "model" => "a different model".to_owned(),
                rows => format!("different {rows}"),
            })
        })
    }
}

/// The settings that say where a run ends.
const END: [&str; 2] = ["epochs", "max_steps"];

/// Whether a setting is at what one is that was added later, of which markers of earlier versions know nothing: such a
/// setting is off by default, so that their runs can go on.
pub(crate) fn is_off(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(_) | Value::Bool(true)) => false,
    }
}

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The program's name and version.
    written_by: String,
    pub(super) kind: Kind,
    pub(super) identity: Identity,
    /// The files that were written in the folder, by their paths there, with the BLAKE3 of those that stay as they were
    /// written at the start. The first versions kept no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<BTreeMap<String, Option<String>>>,
    /// The ends that the run had before it was given later ones, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ends: Vec<End>,
}

/// An end that a run had, before it was given a later one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct End {
    /// Steps taken by then.
    pub(super) steps: u64,
    /// The settings that said so.
    pub(super) settings: Settings,
}

/// The marker as it stands in its file.
#[derive(Serialize, Deserialize)]
struct Checked {
    #[serde(flatten)]
    marker: Marker,
    /// The BLAKE3 of the rest: a byte that changed on the disk must not make another run of it.
    check: String,
}

impl Marker {
    pub(super) fn new(kind: Kind, identity: Identity) -> Self {
        Self { written_by: WRITTEN_BY.into(), kind, identity, written: Some(BTreeMap::new()), ends: vec![] }
    }

    fn check(&self) -> Result<String, serde_json::Error> {
        Ok(blake3::hash(&serde_json::to_vec(self)?).to_string())
    }

    /// The marker in a folder, if there is one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, TrainError> {
        let path = folder.join(MARKER);
        let broken = |problem: String| TrainError::Broken {
            path: path.clone(),
            problem,
            remedy: "a run cannot go on without it: start it anew in another --output; what is in the folder can be used",
        };
        match fs::symlink_metadata(&path) {
            Ok(meta) if !meta.is_file() || meta.len() > MAX_MARKER => {
                return Err(broken("another file of that name".into()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrainError::io(&path, error)),
        }
        let text = fs::read(&path).map_err(|error| TrainError::io(&path, error))?;
        let parsed = |error: serde_json::Error| broken(error.to_string());
        let Checked { marker, check } = serde_json::from_slice(&text).map_err(parsed)?;
        if marker.check().map_err(parsed)? == check {
            Ok(Some(marker))
        } else {
            Err(broken("one whose bytes were changed".into()))
        }
    }

    /// Writes the marker into a folder that has none.
    pub(super) fn put(&self, folder: &Path) -> Result<(), TrainError> {
        let path = folder.join(MARKER);
        files::write_new(&path, &self.text(&path)?)
    }

    /// Writes the marker in the place of an earlier one.
    pub(super) fn replace(&self, folder: &Path) -> Result<(), TrainError> {
        let path = folder.join(MARKER);
        files::write_atomically(&path, &self.text(&path)?)
    }

    fn text(&self, path: &Path) -> Result<Vec<u8>, TrainError> {
        let write = || {
            let checked = Checked { check: self.check()?, marker: self.clone() };
            let mut text = serde_json::to_vec_pretty(&checked)?;
            text.push(b'\n');
            Ok(text)
        };
        write().map_err(|error: serde_json::Error| TrainError::io(path, error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let settings = [("lr", 1e-4.into()), ("rows", Value::Null)];
        let settings = settings.map(|(key, value)| (key.to_owned(), value));
        Identity::new(Settings::from_iter(settings)).with("rows", "abc")
    }

    #[test]
    fn what_changed_is_named() {
        let is = |settings: &[(&str, Value)]| {
            let settings = settings.iter().cloned();
            Settings::from_iter(settings.map(|(key, value)| (key.to_owned(), value)))
        };
        let was = identity();
        for (now, expected) in [
            (is(&[("lr", 1e-4.into())]), None),
            (is(&[("lr", 2e-4.into())]), Some("different settings: lr: 0.0001 → 0.0002")),
            (is(&[("lr", 1e-4.into()), ("seed", 7.into())]), Some("different settings: seed: none → 7")),
            (
                is(&[("lr", 2e-4.into()), ("seed", 7.into())]),
                Some("different settings: lr: 0.0001 → 0.0002, seed: none → 7"),
            ),
            // Added since, and off.
            (is(&[("lr", 1e-4.into()), ("lora", false.into()), ("adapters", serde_json::json!({}))]), None),
            (is(&[("lr", 1e-4.into()), ("lora", true.into())]), Some("different settings: lora: none → true")),
        ] {
            let other = Identity::new(now).with("rows", "abc");
            assert_eq!(was.changed(&other).as_deref(), expected);
        }
        let other = Identity::new(is(&[("lr", 1e-4.into())])).with("rows", "abd");
        assert_eq!(was.changed(&other).unwrap(), "different rows");
    }

    #[test]
    fn a_marker_of_an_earlier_version_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        let old = Marker { written: None, ..Marker::new(Kind::Train, identity()) };
        old.put(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(MARKER)).unwrap();
        assert!(!text.contains("written\""), "{text}");
        let read = Marker::read(dir.path()).unwrap().unwrap();
        let mut settings = identity().settings;
        settings.insert("lora".into(), false.into());
        assert_eq!(read.identity.changed_settings(&settings), None);
    }

    #[test]
    fn a_marker_reads_back_and_a_flipped_bit_is_found_or_harmless() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), None);
        let marker = Marker::new(Kind::Miniature, identity());
        marker.put(dir.path()).unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), Some(marker.clone()));
        assert!(marker.put(dir.path()).is_err());
        let path = dir.path().join(MARKER);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            match Marker::read(dir.path()) {
                Ok(read) => assert_eq!(read.as_ref(), Some(&marker), "byte {at}"),
                Err(error) => assert!(matches!(error, TrainError::Broken { .. }), "{error}"),
            }
        }
    }
}
