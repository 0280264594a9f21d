//! Where rows come from: a file, or several, each of which may give a part of its rows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::value::at_home;

/// Files or folders of rows, or data sets on the hub: one at least.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written", into = "Written")]
pub struct Sources(Vec<PathBuf>);

/// As a file has them.
#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a path, or a list of paths")]
enum Written {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl Sources {
    /// The paths, in the order they were given.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// The one path, if there is one.
    pub fn single(&self) -> Option<&Path> {
        match &self.0[..] {
            [path] => Some(path),
            _ => None,
        }
    }

    /// These and another.
    pub(super) fn and(mut self, path: PathBuf) -> Self {
        self.0.push(path);
        self
    }

    pub(super) fn at_home(self) -> Self {
        Self(self.0.into_iter().map(at_home).collect())
    }
}

impl From<PathBuf> for Sources {
    fn from(path: PathBuf) -> Self {
        Self(vec![path])
    }
}

impl From<&str> for Sources {
    fn from(path: &str) -> Self {
        Self(vec![path.into()])
    }
}

impl From<Written> for Sources {
    fn from(written: Written) -> Self {
        match written {
            Written::One(path) => Self(vec![path]),
            Written::Several(paths) => Self(paths),
        }
    }
}

impl From<Sources> for Written {
    fn from(Sources(mut paths): Sources) -> Self {
        if paths.len() == 1 { Self::One(paths.remove(0)) } else { Self::Several(paths) }
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.0.iter().map(|path| path.display().to_string()).collect();
        f.write_str(&paths.join(", "))
    }
}

/// Which share of its rows each source gives, above 0 and up to 1.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "WrittenShares", into = "Vec<f64>")]
pub struct Shares(Vec<f64>);

/// As a file may have them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected shares such as [1, 0.5], one for each source")]
enum WrittenShares {
    Several(Vec<f64>),
    Text(String),
}

impl Shares {
    /// In the order of the sources.
    pub fn of_sources(&self) -> &[f64] {
        &self.0
    }

    fn new(shares: Vec<f64>) -> Result<Self, String> {
        match shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            Some(wrong) => Err(format!("expected shares above 0 and up to 1, got {wrong}")),
            None => Ok(Self(shares)),
        }
    }
}

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shares: Option<Vec<f64>> = text.split(',').map(|share| share.trim().parse().ok()).collect();
        Self::new(shares.ok_or_else(|| format!("expected shares such as 1,0.5, got {text}"))?)
    }
}

impl TryFrom<WrittenShares> for Shares {
    type Error = String;

    fn try_from(written: WrittenShares) -> Result<Self, String> {
        match written {
            WrittenShares::Several(shares) => Self::new(shares),
            WrittenShares::Text(text) => text.parse(),
        }
    }
}

impl From<Shares> for Vec<f64> {
    fn from(Shares(shares): Shares) -> Self {
        shares
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_source_is_written_as_it_always_was() {
        for written in [json!("a.jsonl"), json!(["a.jsonl", "b"])] {
            let read: Sources = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), written);
        }
        let both = Sources::from("a.jsonl").and("b".into());
        assert_eq!((both.to_string().as_str(), both.single()), ("a.jsonl, b", None));
        assert!(serde_json::from_value::<Sources>(json!(7)).is_err());
    }

    #[test]
    fn shares_are_a_list_or_typed_with_commas() {
        let read = |value| serde_json::from_value::<Shares>(value);
        let both: Shares = "1, 0.5".parse().unwrap();
        assert_eq!(read(json!([1, 0.5])).unwrap(), both);
        assert_eq!(read(json!("1,0.5")).unwrap(), both);
        assert_eq!(serde_json::to_value(&both).unwrap(), json!([1.0, 0.5]));
        for (wrong, said) in
            [("0,1", "got 0"), ("1.5", "got 1.5"), ("NaN", "got NaN"), ("half", "got half"), ("", "got ")]
        {
            assert!(wrong.parse::<Shares>().unwrap_err().ends_with(said), "{wrong}");
        }
        assert!(read(json!([-1.0])).is_err() && read(json!(0.5)).is_err());
    }
}
