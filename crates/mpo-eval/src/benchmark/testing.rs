//! What the tests of benchmarks share: files, and what is read from them.

use std::fs;
use std::path::PathBuf;

use super::{Item, benchmark};

/// A folder with files of these names and texts.
pub(super) fn files(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let path = dir.path().to_owned();
    (dir, path)
}

/// What a benchmark reads from a file, a line each.
pub(super) fn read(name: &str, file: &str, text: &str) -> Result<Vec<String>, String> {
    let (_dir, path) = files(&[(file, text)]);
    let items = benchmark(name).unwrap().items(&path.join(file), &[], None);
    items.map(|items| items.iter().map(line).collect()).map_err(|error| error.to_string())
}

pub(super) fn line(item: &Item) -> String {
    let language = item.language.map_or("mixed".into(), |language| language.to_string());
    format!("{} {language} {:?} {:?}", item.id, item.turns, item.expected)
}
