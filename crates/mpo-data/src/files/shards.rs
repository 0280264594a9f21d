//! The files of a folder, by split, as data sets lie on the hub.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::configurations::{Configurations, README};
use crate::error::DataError;
use crate::records::Selection;
use crate::splits;

/// Names of files that describe a data set and hold none of its rows.
const DESCRIPTIONS: [&str; 4] = ["dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"];

/// The files of a folder to read, sorted: those that its `README.md` names, or all that have the names of data files.
pub(super) fn in_folder(folder: &Path, selection: &Selection<'_>) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = BTreeSet::new();
    collect(folder, Path::new(""), &mut vec![], &mut paths)?;
    let is_there = |name: &str| folder.join(name).exists();
    if is_there("config.json") && (is_there("tokenizer.json") || is_there("model.safetensors")) {
        return Err(DataError::ModelFolder(folder.into()));
    }
    if let Some((what, hint)) = saved_to_disk(&paths) {
        return Err(DataError::NotRows { path: folder.into(), what, hint });
    }
    let readme = fs::read_to_string(folder.join(README)).unwrap_or_default();
    let chosen = choose(folder, paths.iter().map(String::as_str), &readme, selection)?;
    let chosen = chosen.into_iter().map(|path| folder.join(path)).collect();
    Ok(each_once(chosen))
}

/// What a folder is that Python's `datasets` wrote with `save_to_disk`, and what helps; none for others.
fn saved_to_disk(paths: &BTreeSet<String>) -> Option<(&'static str, &'static str)> {
    let has_arrow = paths.iter().any(|path| path.ends_with(".arrow"));
    match has_arrow {
        true if paths.contains("dataset_dict.json") => Some((
            "splits as DatasetDict.save_to_disk writes them",
            "write one as Parquet, in Python: datasets.load_from_disk(FOLDER)[\"train\"].to_parquet(\"train.parquet\")",
        )),
        true if paths.contains("state.json") => Some((
            "a folder as Dataset.save_to_disk writes it",
            "write it as Parquet, in Python: datasets.load_from_disk(FOLDER).to_parquet(\"train.parquet\")",
        )),
        _ => None,
    }
}

/// The files without those that another path leads to as well: a link may lead to a file or folder that is read already.
fn each_once(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort_by_key(|path| path.components().count());
    let mut seen = HashSet::new();
    // A file that is gone is reported where it is opened.
    paths.retain(|path| fs::canonicalize(path).map_or(true, |real| seen.insert(real)));
    paths.sort_unstable();
    paths
}

/// Adds the files below `folder/relative`, as paths relative to `folder` with `/`; hidden ones are skipped, and so are links to
/// the folders `around`, which this one lies in.
fn collect(
    folder: &Path,
    relative: &Path,
    around: &mut Vec<PathBuf>,
    paths: &mut BTreeSet<String>,
) -> Result<(), DataError> {
    let here = folder.join(relative);
    let io_error = |source| DataError::Io { path: here.clone(), source };
    let real = fs::canonicalize(&here).map_err(io_error)?;
    if around.contains(&real) {
        return Ok(());
    }
    around.push(real);
    for entry in fs::read_dir(&here).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let path = relative.join(name);
        // Files of the hub's cache are links.
        match fs::metadata(entry.path()) {
            Ok(found) if found.is_dir() => collect(folder, &path, around, paths)?,
            Ok(found) if found.is_file() => {
                let parts = path.iter().map(|part| part.to_string_lossy());
                paths.insert(parts.collect::<Vec<_>>().join("/"));
            }
            _ => {}
        }
    }
    around.pop();
    Ok(())
}

/// The files to read of those at these relative paths: what the set's `README.md` says, else data files, of one kind, and of
/// one split where names tell splits.
///
/// # Errors
/// If there are none, or several kinds, or not the split, or some of its shards are not there.
pub(super) fn choose<'p>(
    place: &Path,
    paths: impl Iterator<Item = &'p str>,
    readme: &str,
    selection: &Selection<'_>,
) -> Result<Vec<&'p str>, DataError> {
    let paths: Vec<&str> = paths.collect();
    let chosen = match Configurations::of(&place.join(README), readme)? {
        Some(configurations) => configurations.choose(place, &paths, selection)?,
        None => by_names(place, &paths, selection)?,
    };
    check_shards(place, &chosen)?;
    Ok(chosen)
}

/// Fails where names say that there are more shards than there are.
fn check_shards(place: &Path, paths: &[&str]) -> Result<(), DataError> {
    let mut sets: BTreeMap<(String, usize), usize> = BTreeMap::new();
    for path in paths {
        if let Some(set) = shard_of(path) {
            *sets.entry(set).or_default() += 1;
        }
    }
    let mut sets = sets.into_iter();
    match sets.find(|((_, expected), found)| found < expected) {
        Some(((name, expected), found)) => Err(DataError::MissingShards { place: place.into(), name, expected, found }),
        None => Ok(()),
    }
}

/// The set that a shard is of, as `data/train-*-of-00002`, and how many belong to it.
fn shard_of(path: &str) -> Option<(String, usize)> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (before, after) = name.split_once("-of-")?;
    let (stem, number) = before.rsplit_once('-')?;
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let count = after[..end].parse().ok().filter(|_| is_number)?;
    let slash = if folder.is_empty() { "" } else { "/" };
    Some((format!("{folder}{slash}{stem}-*-of-{}", &after[..end]), count))
}

/// Of data files at these paths, those to read.
fn by_names<'p>(place: &Path, paths: &[&'p str], selection: &Selection<'_>) -> Result<Vec<&'p str>, DataError> {
    let mut splits: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
    let mut others = Vec::new();
    for path in paths.iter().copied() {
        match (kind(path), split(path, selection.split)) {
            (None, _) => others.push(path.to_owned()),
            (Some(kind), split) => splits.entry(split).or_default().push((path, kind)),
        }
    }
    if splits.is_empty() {
        return Err(DataError::NoDataFiles { folder: place.into(), found: others });
    }
    // Files whose names tell no split are read where there are no others, which they describe else.
    let named: Vec<&str> = splits.keys().map(String::as_str).filter(|name| !name.is_empty()).collect();
    let chosen = match named[..] {
        [] if selection.split.is_none() => String::new(),
        _ => selection.choose(place, named.iter().copied())?,
    };
    let files = splits.remove(&chosen).unwrap_or_default();
    let kinds: BTreeSet<&str> = files.iter().map(|(_, kind)| *kind).collect();
    if kinds.len() > 1 {
        return Err(DataError::SeveralKinds {
            folder: place.into(),
            kinds: kinds.into_iter().map(str::to_owned).collect(),
        });
    }
    let mut paths: Vec<&str> = files.into_iter().map(|(path, _)| path).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// What kind of data file a name says; none for others.
pub(super) fn kind(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next()?.to_ascii_lowercase();
    if DESCRIPTIONS.contains(&name.as_str()) {
        return None;
    }
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match name.rsplit_once('.')?.1 {
        "json" | "jsonl" | "ndjson" => Some("JSON"),
        "parquet" => Some("Parquet"),
        "csv" => Some("CSV"),
        "tsv" => Some("TSV"),
        _ => None,
    }
}

/// The split that a path names, empty where it names none: the one that is `wanted`, if a folder or the file is called so; one
/// that shards are called by, as in `data/train_prefs-00000-of-00002.parquet` or `sw/train_prefs/0000.parquet`; else one of
/// those that `datasets` knows, by a word of the name of a folder, or of the file.
pub(super) fn split(path: &str, wanted: Option<&str>) -> String {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folders: Vec<&str> = folders.rsplit('/').filter(|folder| *folder != "data").collect();
    let stem = file.split('.').next().unwrap_or_default();
    let called = without_number(stem);
    if let Some(wanted) = wanted
        && (folders.contains(&wanted) || [stem, called].contains(&wanted))
    {
        return wanted.into();
    }
    let is_numbered = called != stem || stem.bytes().all(|byte| byte.is_ascii_digit());
    let mut numbered = folders.iter().copied().chain([called]);
    if let Some(name) = numbered.find(|name| is_numbered && splits::begins(name)) {
        return name.into();
    }
    let words = file.rsplit_once('.').map_or(file, |(words, _)| words);
    let mut named = folders.iter().chain([&words]);
    let split = named.find_map(|name| splits::within(name));
    split.unwrap_or_default().to_owned()
}

/// A name up to the number of the shard: `train` of `train-00000-of-00002` and of `train-01`.
fn without_number(name: &str) -> &str {
    let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    match name.find('-') {
        Some(dash) if is_number(&name[dash + 1..]) => &name[..dash],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[&str], split: Option<&str>) -> String {
        let selection = Selection { split, is_row: &|_| true };
        match choose(Path::new("d"), paths.iter().copied(), "", &selection) {
            Ok(paths) => paths.join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn shards_of_one_split_are_taken_in_order() {
        let hub = [
            "README.md",
            "dataset_infos.json",
            "data/train-00001-of-00002-0a1b.parquet",
            "data/train-00000-of-00002-0a1b.parquet",
            "data/test-00000-of-00001.parquet",
        ];
        let train = "data/train-00000-of-00002-0a1b.parquet data/train-00001-of-00002-0a1b.parquet";
        assert_eq!(chosen(&hub, None), train);
        assert_eq!(chosen(&hub, Some("test")), hub[4]);
        assert_eq!(chosen(&hub, Some("dev")), "d: expected a split `dev`, got `test`, `train`");
        let converted = ["en/train/0000.parquet", "sw/train/0000.parquet", "sw/test/0000.parquet"];
        assert_eq!(chosen(&converted, None), converted[..2].join(" "));
        let prefs = ["data/train_prefs-00000-of-00001.parquet", "data/train_sft-00000-of-00001.parquet"];
        assert_eq!(chosen(&prefs, Some("train_prefs")), prefs[0]);
        assert!(chosen(&prefs, None).ends_with("got `train_prefs`, `train_sft`"));
        // The words of names tell splits as they do for Python's `datasets`.
        for (paths, split, expected) in [
            (["rows_train.jsonl", "rows_test.jsonl"], None, "rows_train.jsonl"),
            (["rows_train.jsonl", "rows_test.jsonl"], Some("eval"), "rows_test.jsonl"),
            (["my.training.v1.jsonl", "my.dev.v1.jsonl"], None, "my.training.v1.jsonl"),
            (["training.csv", "evaluation.csv"], None, "training.csv"),
            (["training.csv", "evaluation.csv"], Some("evaluation"), "evaluation.csv"),
            (["my train/a.jsonl", "my test/a.jsonl"], None, "my train/a.jsonl"),
            (["train/test_of_strength.csv", "test/a.csv"], None, "train/test_of_strength.csv"),
            (["train_prefs.jsonl", "test_prefs.jsonl"], Some("test_prefs"), "test_prefs.jsonl"),
        ] {
            assert_eq!(chosen(&paths, split), expected, "{paths:?}");
        }
        let by_folder = ["harmless/train.jsonl.gz", "helpful/train.jsonl.gz", "helpful/test.jsonl.gz"];
        assert_eq!(chosen(&by_folder, None), by_folder[..2].join(" "));
    }

    #[test]
    fn files_without_splits_are_all_taken() {
        assert_eq!(chosen(&["b.csv", "a.csv", "notes.txt"], None), "a.csv b.csv");
        assert_eq!(chosen(&["a.csv", "b.jsonl"], None), "d: expected data files of one kind, got CSV and JSON");
        assert_eq!(
            chosen(&["notes.txt"], None),
            "d: expected data files (JSON, JSONL, CSV, TSV or Parquet), got notes.txt"
        );
    }

    #[test]
    fn shards_that_are_not_there_are_missed() {
        let missing = ["data/train-00000-of-00003.parquet", "data/train-00002-of-00003.parquet"];
        assert_eq!(chosen(&missing, None), "d: expected 3 shards named `data/train-*-of-00003`, got 2");
        let whole = ["train-1-of-2.jsonl", "train-2-of-2.jsonl", "test-00000-of-00009.jsonl"];
        assert_eq!(chosen(&whole, None), whole[..2].join(" "));
        let no_shards = ["best-of-3.jsonl", "made-of-x.jsonl"];
        assert_eq!(chosen(&no_shards, None), no_shards.join(" "));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_read_once_though_links_lead_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("v1");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("rows.jsonl"), "{}").unwrap();
        for (target, link) in [("v1", "latest"), (".", "self"), ("v1/rows.jsonl", "rows.jsonl")] {
            std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
        }
        let selection = Selection { split: None, is_row: &|_| true };
        let found = in_folder(dir.path(), &selection).unwrap();
        assert_eq!(found, [dir.path().join("rows.jsonl")]);
    }

    #[test]
    fn a_readme_names_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let head = "---\nconfigs:\n- config_name: default\n  data_files: a.jsonl\n---\n";
        for (name, text) in [("README.md", head), ("a.jsonl", "{}"), ("b.jsonl", "{}")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let selection = Selection { split: None, is_row: &|_| true };
        let found = in_folder(dir.path(), &selection).unwrap();
        assert_eq!(found, [dir.path().join("a.jsonl")]);
    }

    #[test]
    fn what_datasets_saved_to_disk_is_called_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let selection = Selection { split: None, is_row: &|_| true };
        for (name, expected) in [("state.json", "Dataset.save_to_disk"), ("dataset_dict.json", "DatasetDict")] {
            fs::write(dir.path().join(name), "{}").unwrap();
            fs::write(dir.path().join("data-00000-of-00001.arrow"), "").unwrap();
            let error = in_folder(dir.path(), &selection).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.hint().unwrap().contains("load_from_disk"));
        }
    }

    #[test]
    fn a_folder_is_read_to_its_depths() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c/d");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("rows.jsonl"), "{}").unwrap();
        let selection = Selection { split: None, is_row: &|_| true };
        for pattern in ["", "**", "a/**", "**/*.jsonl"] {
            let head = format!("---\nconfigs:\n- config_name: x\n  data_files: \"{pattern}\"\n---\n");
            let head = if pattern.is_empty() { String::new() } else { head };
            fs::write(dir.path().join("README.md"), head).unwrap();
            let found = in_folder(dir.path(), &selection).unwrap();
            assert_eq!(found, [deep.join("rows.jsonl")], "{pattern}");
        }
    }

    #[test]
    fn a_folder_is_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let selection = Selection { split: None, is_row: &|_| true };
        let model = dir.path().join("model");
        fs::create_dir_all(dir.path().join("data")).unwrap();
        fs::create_dir_all(&model).unwrap();
        for file in ["data/train-0.jsonl", "data/.train-1.jsonl", "model/config.json", "model/tokenizer.json"] {
            fs::write(dir.path().join(file), "{}").unwrap();
        }
        let found = in_folder(dir.path(), &selection).unwrap();
        assert_eq!(found, [dir.path().join("data/train-0.jsonl")]);
        let error = in_folder(&model, &selection).unwrap_err();
        assert!(error.to_string().contains("of a model"), "{error}");
    }
}
