//! What a new adapter is to be.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::folder::AdapterFolder;
use crate::{DecoderConfig, ModelError};

/// A new adapter: LoRA (Hu et al., 2022, arXiv:2106.09685), or rsLoRA (Kalajdzievski, 2023, arXiv:2312.03732).
#[derive(Debug, Clone, PartialEq)]
pub struct LoraOptions {
    /// Rows of `a` and columns of `b`.
    pub rank: usize,
    /// The update is `alpha / rank · b · a`.
    pub alpha: f64,
    /// Whether it is `alpha / √rank · b · a` instead.
    pub use_rslora: bool,
    /// The linear maps that get one.
    pub targets: Vec<LoraTarget>,
    /// Decides the first `a`; `b` is zero.
    pub seed: u64,
}

impl LoraOptions {
    /// Whether a model can have such an adapter, which its configuration says: every target names some of its linear maps, and
    /// it comes with no adapter.
    ///
    /// # Errors
    /// If a target names none, or there is an `adapter`.
    pub fn check(&self, model: &DecoderConfig, adapter: Option<&AdapterFolder>) -> Result<(), ModelError> {
        if let Some(adapter) = adapter {
            return Err(ModelError::Folder {
                path: adapter.path().to_owned(),
                expected: "a model, to train a new adapter of",
                found: "an adapter".into(),
                remedy: "leave the settings of a new adapter out to train this one on, or merge it first (`mpo-train merge`)"
                    .into(),
            });
        }
        let names_none = |target: &&LoraTarget| !model.projection_shapes().any(|(path, _)| target.names(&path));
        match self.targets.iter().find(names_none) {
            None => Ok(()),
            Some(target) => Err(ModelError::Target { target: target.to_string(), names: last_names(model) }),
        }
    }

    /// Whether a linear map gets an update.
    pub fn names(&self, path: &str) -> bool {
        self.targets.iter().any(|target| target.names(path))
    }
}

/// Linear maps of the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoraTarget {
    /// All of them: PEFT's `all-linear`.
    All,
    /// Those whose paths end in these parts, such as `q_proj` or `layers.3.mlp.up_proj`.
    Named(String),
}

const ALL: &str = "all-linear";

impl LoraTarget {
    pub(crate) fn names(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(end) => is_end(end, path),
        }
    }
}

impl FromStr for LoraTarget {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == ALL { Self::All } else { Self::Named(text.to_owned()) })
    }
}

impl fmt::Display for LoraTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => ALL,
            Self::Named(end) => end,
        })
    }
}

/// The last part of the path of each linear map of a layer.
pub(crate) fn last_names(model: &DecoderConfig) -> Vec<&'static str> {
    let last = |(name, _): (&'static str, _)| name.rsplit_once('.').map_or(name, |(_, last)| last);
    let mut names: Vec<_> = model.projections().into_iter().map(last).collect();
    // Self-attention and cross-attention call theirs the same.
    let mut known = HashSet::new();
    names.retain(|name| known.insert(*name));
    names
}

/// Whether `end` is the last parts of a path.
pub(super) fn is_end(end: &str, path: &str) -> bool {
    let rest = path.strip_suffix(end).filter(|_| !end.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_the_last_parts_of_a_path() {
        let path = "model.layers.3.self_attn.q_proj";
        for end in ["q_proj", "self_attn.q_proj", "layers.3.self_attn.q_proj", path, ALL] {
            let Ok(target) = end.parse::<LoraTarget>();
            assert!(target.names(path), "{end}");
            assert_eq!(target.to_string(), end);
        }
        for other in ["proj", "_proj", "k_proj", "layers.13.self_attn.q_proj", "model.layers.3.self_attn", ""] {
            assert!(!is_end(other, path), "{other}");
        }
    }
}
