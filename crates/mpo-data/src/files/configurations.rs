//! The configurations of a data set, as the head of its `README.md` names them: which files hold which split.

use std::path::Path;

use serde::Deserialize;

use super::shards::kind;
use crate::error::DataError;
use crate::records::Selection;

pub(super) const README: &str = "README.md";

/// The head of a `README.md` is a page or two.
const MOST_BYTES: usize = 1 << 20;

/// The configurations of a set; there is one at least.
pub(super) struct Configurations(Vec<Configuration>);

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    configs: Vec<Configuration>,
}

#[derive(Deserialize)]
struct Configuration {
    config_name: String,
    data_files: Option<DataFiles>,
    data_dir: Option<String>,
    #[serde(default)]
    default: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum DataFiles {
    Patterns(Patterns),
    Splits(Vec<Split>),
}

#[derive(Deserialize)]
struct Split {
    split: String,
    path: Patterns,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Several(Vec<String>),
}

impl Patterns {
    fn list(&self) -> &[String] {
        match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::Several(patterns) => patterns,
        }
    }
}

impl Configurations {
    /// Those that the text of a `README.md` names; none if it names none.
    ///
    /// # Errors
    /// If its head names some and cannot be understood.
    pub(super) fn of(readme: &Path, text: &str) -> Result<Option<Self>, DataError> {
        let text = text.get(..MOST_BYTES).unwrap_or(text).trim_start_matches('\u{FEFF}');
        let head = text.strip_prefix("---").and_then(|text| text.split_once("\n---"));
        let Some((head, _)) = head.filter(|(head, _)| head.contains("\nconfigs:")) else {
            return Ok(None);
        };
        let head: Head = serde_saphyr::from_str(head).map_err(|error| DataError::Configurations {
            readme: readme.into(),
            problem: format!("the head of the file: {error}"),
        })?;
        Ok((!head.configs.is_empty()).then_some(Self(head.configs)))
    }

    /// The files of `paths` that are to be read.
    ///
    /// # Errors
    /// If there are several configurations and none was named, or a pattern names no file.
    pub(super) fn choose<'p>(
        &self,
        place: &Path,
        paths: &[&'p str],
        selection: &Selection<'_>,
    ) -> Result<Vec<&'p str>, DataError> {
        let error = |problem| DataError::Configurations { readme: place.join(README), problem };
        let (configuration, split) = self.named(selection.split).ok_or_else(|| {
            let names = self.0.iter().map(|of| format!("`{}`", of.config_name));
            let names = names.collect::<Vec<_>>().join(", ");
            error(format!("expected the name of a configuration, got several: {names}"))
        })?;
        let splits = configuration.splits();
        let selection = Selection { split, ..*selection };
        let chosen = selection.choose(place, splits.iter().map(|(name, _)| name.as_str()))?;
        let patterns = splits.into_iter().find(|(name, _)| *name == chosen);
        let mut files = Vec::new();
        for pattern in patterns.iter().flat_map(|(_, patterns)| patterns.list()) {
            let folder = configuration.data_dir.as_deref().map(|folder| folder.trim_matches('/'));
            let pattern = match folder {
                Some(folder) => format!("{folder}/{pattern}"),
                None => pattern.trim_start_matches("./").to_owned(),
            };
            let before = files.len();
            let data = paths.iter().copied().filter(|path| kind(path).is_some());
            files.extend(data.filter(|path| matches(&pattern, path)));
            if files.len() == before {
                return Err(error(format!("expected files of the name `{pattern}`, got none")));
            }
        }
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// The configuration that was named before a split, as `CONFIGURATION/SPLIT`, else the default one; and the split.
    fn named<'s>(&self, wanted: Option<&'s str>) -> Option<(&Configuration, Option<&'s str>)> {
        let by_name = |name: &str| self.0.iter().find(|of| of.config_name == name);
        if let Some(wanted) = wanted {
            let (name, split) = match wanted.split_once('/') {
                Some((name, split)) => (name, Some(split)),
                None => (wanted, None),
            };
            if let Some(configuration) = by_name(name) {
                return Some((configuration, split));
            }
        }
        let default = match &self.0[..] {
            [only] => Some(only),
            several => several.iter().find(|of| of.default).or_else(|| by_name("default")),
        };
        Some((default?, wanted))
    }
}

impl Configuration {
    /// Its splits. Files that are named for no split are the one to train on.
    fn splits(&self) -> Vec<(String, Patterns)> {
        let all = || Patterns::One("**".into());
        match &self.data_files {
            None => vec![("train".into(), all())],
            Some(DataFiles::Patterns(patterns)) => vec![("train".into(), patterns.clone())],
            Some(DataFiles::Splits(splits)) => {
                let splits = splits.iter();
                splits.map(|of| (of.split.clone(), of.path.clone())).collect()
            }
        }
    }
}

/// Whether a path has the form of a pattern: `*` is any signs but `/`, `**` any at all, `?` one sign. The name of a folder is
/// all that is in it.
fn matches(pattern: &str, path: &str) -> bool {
    let folder = pattern.trim_end_matches('/');
    fits(pattern.as_bytes(), path.as_bytes()) || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn fits(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([b'*', b'*', b'/', rest @ ..], _) if fits(rest, path) => true,
        ([b'*', b'*', rest @ ..], _) => {
            (0..=path.len()).any(|at| fits(rest.strip_prefix(b"/").unwrap_or(rest), &path[at..]))
        }
        ([b'*', rest @ ..], _) => {
            let most = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=most).any(|at| fits(rest, &path[at..]))
        }
        ([b'?', rest @ ..], [byte, after @ ..]) => *byte != b'/' && fits(rest, after),
        ([one, rest @ ..], [byte, after @ ..]) => one == byte && fits(rest, after),
        ([], []) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 5] = ["README.md", "data/en/a.jsonl", "data/en/b.jsonl", "data/sw/a.jsonl", "held-out.csv"];

    fn chosen(head: &str, split: Option<&str>) -> String {
        let readme = format!("---\nlicense: mit\n{head}---\n# A set\n");
        let selection = Selection { split, is_row: &|_| true };
        let configurations = match Configurations::of(Path::new("d/README.md"), &readme) {
            Ok(Some(configurations)) => configurations,
            Ok(None) => return "none".into(),
            Err(error) => return error.to_string(),
        };
        match configurations.choose(Path::new("d"), &PATHS, &selection) {
            Ok(paths) => paths.join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn files_are_read_that_the_head_names() {
        let both = "data/en/a.jsonl data/en/b.jsonl";
        for (data_files, split, expected) in [
            ("data/en/*.jsonl", None, both),
            ("[data/en/a.jsonl, data/en/b.jsonl]", None, both),
            ("data/en", None, both),
            ("\"data/**/b.jsonl\"", None, "data/en/b.jsonl"),
            ("\"**/a.jsonl\"", None, "data/en/a.jsonl data/sw/a.jsonl"),
            ("data/??/b*", None, "data/en/b.jsonl"),
            ("\"*.csv\"", None, "held-out.csv"),
            ("[{split: train, path: data/sw/*}, {split: test, path: [held-out.csv]}]", None, "data/sw/a.jsonl"),
            ("[{split: train, path: data/sw/*}, {split: test, path: [held-out.csv]}]", Some("test"), "held-out.csv"),
            ("data/fr/*", None, "d/README.md: expected files of the name `data/fr/*`, got none"),
            ("data/en/*", Some("test"), "d: expected a split `test`, got `train`"),
        ] {
            let head = format!("configs:\n- config_name: default\n  data_files: {data_files}\n");
            assert_eq!(chosen(&head, split), expected, "{data_files}");
        }
        assert_eq!(chosen("tags: [a]\n", None), "none");
        assert!(chosen("configs:\n- data_files: 3\n", None).contains("the head of the file"));
    }

    #[test]
    fn of_several_configurations_one_is_named_or_the_default() {
        let two = "configs:\n- config_name: en\n  data_files: data/en/*\n- config_name: sw\n  data_dir: data/sw\n  data_files: \"*\"\n";
        let sw = "data/sw/a.jsonl";
        assert_eq!(chosen(two, Some("sw")), sw);
        assert_eq!(chosen(two, Some("sw/train")), sw);
        assert_eq!(chosen(&format!("{two}  default: true\n"), None), sw);
        let error = chosen(two, None);
        assert!(error.ends_with("got several: `en`, `sw`"), "{error}");
        assert!(chosen(two, Some("train")).ends_with("got several: `en`, `sw`"));
        assert_eq!(chosen(two, Some("sw/dev")), "d: expected a split `dev`, got `train`");
    }
}
