//! Which files hold the rows: one file, a folder of shards, the sets of a `dataset_info.json`, or a data set on the hub.

mod configurations;
mod hub;
mod info;
mod shards;

use std::fs;
use std::path::{Path, PathBuf};

use crate::columns::Columns;
use crate::error::DataError;
use crate::formats::Tags;
use crate::records::Selection;

/// A file of rows, and what is known of its columns beforehand.
#[derive(Debug, Default)]
pub(crate) struct DataFile {
    pub(crate) path: PathBuf,
    pub(crate) columns: Columns,
    pub(crate) tags: Tags,
    /// Read so many rows and no more.
    pub(crate) most_rows: Option<usize>,
}

/// The split that a file is if it does not hold several lists: what its name says, the `wanted` one where the name allows
/// it, else the one to train on.
pub(crate) fn split_of(path: &Path, wanted: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match shards::split(&name, Some(wanted)) {
        none if none.is_empty() => "train".into(),
        split => split,
    }
}

/// The files of `path`, which may be a file, a folder, or `owner/name` on the hub.
pub(crate) fn find(path: &Path, selection: &Selection<'_>) -> Result<Vec<DataFile>, DataError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return match hub::repository(path) {
                Some(repository) => of_paths(hub::fetch(&repository, selection)?),
                None => Err(DataError::Io { path: path.into(), source: error }),
            };
        }
    };
    let is_info = path.file_name().is_some_and(|name| name == info::NAME);
    match path.parent() {
        _ if metadata.is_dir() => match info::sets(path)? {
            Some(sets) => sets.choose(selection),
            None => of_paths(shards::in_folder(path, selection)?),
        },
        Some(folder) if is_info => match info::sets(folder)? {
            Some(sets) => sets.choose(selection),
            None => of_paths(vec![path.into()]),
        },
        Some(folder) => match info::sets(folder)?.and_then(|sets| sets.of_file(path)) {
            Some(file) => Ok(vec![file]),
            None => of_paths(vec![path.into()]),
        },
        None => of_paths(vec![path.into()]),
    }
}

fn of_paths(paths: Vec<PathBuf>) -> Result<Vec<DataFile>, DataError> {
    let files = paths.into_iter().map(|path| DataFile { path, ..DataFile::default() });
    Ok(files.collect())
}
