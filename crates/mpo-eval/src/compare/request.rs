//! Which runs a comparison was asked for, kept in its folder: `--resume` goes on with them and needs no second asking.

use std::fs;
use std::io;
use std::path::PathBuf;

use mpo_models::{checked_line, unchecked_line};
use mpo_trainer::{RunFolder, TrainError, typed_value};
use serde::{Deserialize, Serialize};

use super::plan::Dimension;

/// The seed of a comparison that names none.
const SEED: u64 = 42;

/// What decides the runs and how they are examined, beside their settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Methods and ablations by name; MPO and DPO if none is named.
    pub methods: Vec<String>,
    /// Every method and every ablation.
    pub all: bool,
    /// Settings to try, each value with each.
    pub grid: Vec<Dimension>,
    /// Whether to try what the paper searches.
    pub search: bool,
    /// A run for each.
    pub seeds: Vec<u64>,
    /// A file of benign prompts.
    pub benign: Option<PathBuf>,
    /// Longest answer to a held-out prompt, in tokens; a short one by default, for a refusal opens as one.
    pub max_new_tokens: Option<usize>,
}

impl Request {
    /// This one and, where it says nothing, what the comparison in this folder was asked for earlier.
    /// Methods that are named now come beside the earlier ones only in the results.
    ///
    /// # Errors
    /// If a seed or a value of a grid is named twice, or what is kept in the folder was damaged.
    pub fn completed(self, held: Option<&RunFolder>) -> Result<Self, TrainError> {
        let earlier = held.map(Self::kept).transpose()?.unwrap_or_default();
        let mut request = self.or(earlier);
        if request.seeds.is_empty() {
            request.seeds = vec![SEED];
        }
        request.check()?;
        Ok(request)
    }

    /// Whether everything is named once: the same run twice would look like two that agree.
    fn check(&self) -> Result<(), TrainError> {
        if let Some(seed) = repeated(&self.seeds) {
            let got = format!("{seed} twice");
            return Err(TrainError::setting("seeds", "each seed once", got));
        }
        let keys: Vec<&String> = self.grid.iter().map(|dimension| &dimension.key).collect();
        if let Some(key) = repeated(&keys) {
            return Err(TrainError::setting("grid", "each setting once, with all its values", format!("{key} twice")));
        }
        for Dimension { key, values } in &self.grid {
            let numbers: Vec<_> = values.iter().map(|value| typed_value(value)).collect();
            if let Some(value) = repeated(&numbers) {
                let got = format!("{key}={value} twice");
                return Err(TrainError::setting("grid", "each value once", got));
            }
        }
        Ok(())
    }

    fn or(self, earlier: Self) -> Self {
        let names_methods = self.all || !self.methods.is_empty();
        let first = |now: Vec<u64>, earlier| if now.is_empty() { earlier } else { now };
        Self {
            all: self.all || (!names_methods && earlier.all),
            methods: if names_methods { self.methods } else { earlier.methods },
            grid: if self.grid.is_empty() { earlier.grid } else { self.grid },
            search: self.search || earlier.search,
            seeds: first(self.seeds, earlier.seeds),
            benign: self.benign.or(earlier.benign),
            max_new_tokens: self.max_new_tokens.or(earlier.max_new_tokens),
        }
    }

    /// Keeps it in the folder, for `--resume`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn keep(&self, held: &RunFolder) -> Result<(), TrainError> {
        let path = file(held);
        let text =
            serde_json::to_string(self).map_err(|error| TrainError::Io { path: path.clone(), error: error.into() })?;
        held.start(&path, checked_line(&text).as_bytes())
    }

    fn kept(held: &RunFolder) -> Result<Self, TrainError> {
        let path = file(held);
        let text = match fs::read(&path) {
            // Killed before it was written, the comparison is asked for now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| TrainError::Io { path: path.clone(), error })?,
        };
        let line = String::from_utf8(text).ok();
        let object = line.as_deref().and_then(unchecked_line);
        let request = object.and_then(|object| serde_json::from_str(&object).ok());
        request.ok_or_else(|| TrainError::Broken {
            path,
            problem: "bytes that were changed since they were written".into(),
            remedy: "delete the file, and name --methods, --seeds and the like again beside --resume",
        })
    }
}

/// The first item that stands there a second time.
fn repeated<T: PartialEq>(items: &[T]) -> Option<&T> {
    let again = items.iter().enumerate();
    let mut again = again.filter(|(at, item)| items[..*at].contains(item));
    again.next().map(|(_, item)| item)
}

fn file(held: &RunFolder) -> PathBuf {
    held.path().join("request.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_again_is_as_it_was() {
        let earlier = Request {
            methods: vec!["sft".into(), "dpo".into()],
            grid: vec!["lr=1e-4,1e-5".parse().unwrap()],
            seeds: vec![1, 2],
            max_new_tokens: Some(8),
            ..Request::default()
        };
        assert_eq!(Request::default().or(earlier.clone()), earlier);
        let now = Request { methods: vec!["mpo".into()], ..Request::default() };
        let expected = Request { methods: vec!["mpo".into()], ..earlier.clone() };
        assert_eq!(now.or(earlier.clone()), expected);
        let all = Request { all: true, seeds: vec![3], ..Request::default() };
        let joined = all.or(earlier);
        assert!(joined.all && joined.methods.is_empty() && joined.seeds == [3]);
    }

    #[test]
    fn a_run_is_not_asked_for_twice() {
        let of = |seeds: &[u64], grid: &str| Request {
            seeds: seeds.to_vec(),
            grid: vec![grid.parse().unwrap()],
            ..Request::default()
        };
        of(&[1, 2], "lr=1e-4,1e-5").check().unwrap();
        let refused = |request: Request| request.check().unwrap_err().to_string();
        assert!(refused(of(&[1, 2, 1], "lr=1e-4")).contains("1 twice"));
        let grid = ["lr=1e-4", "lr=1e-5"].map(|one| one.parse().unwrap()).to_vec();
        assert!(refused(Request { grid, ..Request::default() }).contains("lr twice"));
        // Written in two ways.
        assert!(refused(of(&[1], "lr=1e-4,0.0001")).contains("lr=0.0001 twice"));
    }
}
