//! LLaMA-Factory's `dataset_info.json`: data sets by name, the file of each, and what its columns are called.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{DataFile, shards};
use crate::columns::Columns;
use crate::error::DataError;
use crate::formats::Tags;
use crate::records::{Fields, Selection};

pub(super) const NAME: &str = "dataset_info.json";

/// A description is a page or two.
const MOST_BYTES: u64 = 4 << 20;

/// The sets of a folder that say where they lie.
pub(super) struct Sets {
    info: PathBuf,
    sets: Vec<(String, Place)>,
}

enum Place {
    /// A file, or a folder of them.
    Here(DataFile),
    /// A name on the hub.
    Hub(String),
}

/// The sets that a folder's `dataset_info.json` describes; none if there is no such file, or another kind of that name.
pub(super) fn sets(folder: &Path) -> Result<Option<Sets>, DataError> {
    let info = folder.join(NAME);
    let fits = fs::metadata(&info).is_ok_and(|file| file.is_file() && file.len() <= MOST_BYTES);
    let Some(Value::Object(entries)) = fits.then(|| serde_json::from_slice(&fs::read(&info).ok()?).ok()).flatten()
    else {
        return Ok(None);
    };
    let mut sets = Vec::new();
    for (name, entry) in &entries {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let Some(file) = text("file_name") else {
            if let Some(repository) = text("hf_hub_url") {
                sets.push((name.clone(), Place::Hub(repository.to_owned())));
            }
            continue;
        };
        let problem = |error: DataError| DataError::Columns(format!("{}: {name}: {error}", info.display()));
        sets.push((
            name.clone(),
            Place::Here(DataFile {
                path: folder.join(file),
                columns: columns(entry.get("columns")).map_err(problem)?,
                tags: tags(entry.get("tags")),
                most_rows: entry.get("num_samples").and_then(Value::as_u64).and_then(|rows| rows.try_into().ok()),
            }),
        ));
    }
    Ok((!sets.is_empty()).then_some(Sets { info, sets }))
}

impl Sets {
    /// The set of a file.
    pub(super) fn of_file(self, path: &Path) -> Option<DataFile> {
        let name = path.file_name()?;
        let mut sets = self.sets.into_iter().filter_map(|(_, place)| match place {
            Place::Here(file) => Some(file),
            Place::Hub(_) => None,
        });
        sets.find(|file| file.path.file_name() == Some(name)).map(|file| DataFile { path: path.into(), ..file })
    }

    /// The only set, or the one that was asked for as a split is.
    pub(super) fn choose(mut self, selection: &Selection<'_>) -> Result<Vec<DataFile>, DataError> {
        let chosen = match (selection.split, &self.sets[..]) {
            (None, [_]) => Some(0),
            (Some(wanted), sets) => sets.iter().position(|(name, _)| name == wanted),
            (None, _) => None,
        };
        match chosen.map(|index| self.sets.swap_remove(index)) {
            Some((_, Place::Here(file))) => file.files(),
            Some((set, Place::Hub(repository))) => Err(DataError::SetOnHub { info: self.info, set, repository }),
            None => Err(DataError::SeveralSets {
                info: self.info,
                found: self.sets.into_iter().map(|(name, _)| name).collect(),
            }),
        }
    }
}

impl DataFile {
    /// The file, or those of the folder that it is.
    fn files(self) -> Result<Vec<Self>, DataError> {
        if !self.path.is_dir() {
            return Ok(vec![self]);
        }
        let whole = Selection { split: None, is_row: &|_| true };
        let paths = shards::in_folder(&self.path, &whole)?.into_iter();
        let of =
            |path| Self { path, columns: self.columns.clone(), tags: self.tags.clone(), most_rows: self.most_rows };
        Ok(paths.map(of).collect())
    }
}

/// Its names for columns, as ours.
fn columns(columns: Option<&Value>) -> Result<Columns, DataError> {
    let Some(Value::Object(columns)) = columns else {
        return Ok(Columns::default());
    };
    let renamed = columns.iter().filter_map(|(theirs, column)| {
        let ours = match theirs.as_str() {
            "prompt" => "instruction",
            "query" => "input",
            "response" => "output",
            "messages" => "conversations",
            same @ ("history" | "system" | "tools" | "chosen" | "rejected" | "kto_tag") => same,
            _ => return None,
        };
        Some((ours.to_owned(), column.as_str()?.to_owned()))
    });
    renamed.collect::<std::collections::BTreeMap<_, _>>().try_into()
}

/// Its names within a message.
fn tags(tags: Option<&Value>) -> Tags {
    let empty = Fields::new();
    let tags = tags.and_then(Value::as_object).unwrap_or(&empty);
    let tag = |name: &str| tags.get(name).and_then(Value::as_str).map(str::to_owned);
    Tags {
        role: tag("role_tag"),
        content: tag("content_tag"),
        system: tag("system_tag"),
        user: tag("user_tag"),
        assistant: tag("assistant_tag"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(info: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), info).unwrap();
        dir
    }

    fn selection(split: Option<&str>) -> Selection<'_> {
        Selection { split, is_row: &|_| true }
    }

    #[test]
    fn a_set_has_its_file_and_the_names_of_its_columns() {
        let dir = folder(
            r#"{"one": {"file_name": "a.json", "columns": {"messages": "talk", "chosen": "good", "images": "i"},
                "tags": {"role_tag": "who", "user_tag": "person"}}, "other": {"script_url": "x"}}"#,
        );
        let files = sets(dir.path()).unwrap().unwrap().choose(&selection(None)).unwrap();
        assert_eq!(files[0].path, dir.path().join("a.json"));
        assert_eq!(files[0].columns, "conversations=talk,chosen=good".parse().unwrap());
        assert_eq!(files[0].tags.user.as_deref(), Some("person"));
        let path = dir.path().join("a.json");
        assert!(sets(dir.path()).unwrap().unwrap().of_file(&path).is_some());
        let path = dir.path().join("b.json");
        assert!(sets(dir.path()).unwrap().unwrap().of_file(&path).is_none());
    }

    #[test]
    fn a_set_lies_in_a_folder_or_on_the_hub() {
        let dir = folder(r#"{"hub": {"hf_hub_url": "owner/name"}, "shards": {"file_name": "rows", "num_samples": 7}}"#);
        fs::create_dir(dir.path().join("rows")).unwrap();
        for name in ["rows/a.jsonl", "rows/b.jsonl"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        let choose = |split| sets(dir.path()).unwrap().unwrap().choose(&selection(Some(split)));
        let files = choose("shards").unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[1].path, dir.path().join("rows/b.jsonl"));
        assert_eq!(files[1].most_rows, Some(7));
        let error = choose("hub").unwrap_err();
        assert!(error.to_string().ends_with("the set `hub` lies on the hub, as owner/name"));
        assert_eq!(error.hint().unwrap(), "give its name there: --data owner/name");
    }

    #[test]
    fn of_several_sets_one_must_be_named() {
        let dir = folder(r#"{"one": {"file_name": "a.json"}, "two": {"file_name": "b.json"}}"#);
        let choose = |split| sets(dir.path()).unwrap().unwrap().choose(&selection(split));
        assert_eq!(choose(Some("two")).unwrap()[0].path, dir.path().join("b.json"));
        let error = choose(None).unwrap_err().to_string();
        assert!(error.ends_with("got `one`, `two`"), "{error}");
        assert!(choose(Some("three")).is_err());
    }

    #[test]
    fn another_file_of_that_name_describes_nothing() {
        for info in ["[1]", "{", r#"{"features": {}, "splits": {}}"#] {
            assert!(sets(folder(info).path()).unwrap().is_none(), "{info}");
        }
    }
}
