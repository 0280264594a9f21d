//! What a command writes lies apart from what it reads.

use std::fs;
use std::path::{Path, PathBuf};

use mpo_trainer::TrainConfig;

use crate::failure::Failure;

/// An option after its article.
pub(crate) type Named = (&'static str, &'static str);
pub(crate) const OUTPUT: Named = ("an", "--output");
const CACHE: Named = ("a", "--reference-cache");

/// Refuses a run that writes into what it reads.
pub(crate) fn check_run(config: &TrainConfig) -> Result<(), Failure> {
    let cache = config.reference_cache.as_deref().map(|cache| (CACHE, cache));
    for written in [(OUTPUT, config.output.as_path())].into_iter().chain(cache) {
        config.data.paths().iter().try_for_each(|path| check_apart(written, ("--data", path)))?;
        check_apart(written, ("--model", Path::new(&config.model)))?;
    }
    Ok(())
}

/// Refuses to write into a folder that is read, or below it: results would be taken for a part of it. Both come with the
/// option that names them.
pub(crate) fn check_apart(written: (Named, &Path), read: (&str, &Path)) -> Result<(), Failure> {
    let ((_, option), _) = written;
    if read.1.is_dir() { check_outside(written, read, &format!("name another {option}")) } else { Ok(()) }
}

/// Refuses a folder for the reference's numbers in the run's own folder, but where a run keeps them anyway.
pub(crate) fn check_cache(cache: &Path, output: &Path) -> Result<(), Failure> {
    if real(cache) == real(&output.join("reference")) {
        return Ok(());
    }
    let remedy = "name a folder that runs can share, or leave it out for one in the run's own";
    check_outside((CACHE, cache), ("--output", output), remedy)
}

/// Refuses a folder that lies in another, or is it.
fn check_outside(
    ((article, option), written): (Named, &Path),
    (of_other, other): (&str, &Path),
    remedy: &str,
) -> Result<(), Failure> {
    if !lies_in(written, other) {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "{}: expected {article} {option} apart from {of_other}, got a folder in {}",
            written.display(),
            other.display()
        ),
        format!("{remedy}; nothing was written"),
    ))
}

/// Whether a path is that of a folder, or of something below it.
fn lies_in(path: &Path, folder: &Path) -> bool {
    match (real(path), real(folder)) {
        (Some(path), Some(folder)) => path.starts_with(folder),
        _ => false,
    }
}

/// A path without links, of which the end may be yet to be made.
fn real(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(fs::canonicalize(there).ok()?.join(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_read_is_not_written_in() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        fs::create_dir(&model).unwrap();
        fs::write(dir.path().join("rows"), "").unwrap();
        let check = |output: &str, read: &str| {
            let read = dir.path().join(read);
            check_apart((OUTPUT, &dir.path().join(output)), ("--model", &read))
        };
        for inside in ["model", "model/runs/first", "model/./x"] {
            let said = check(inside, "model").unwrap_err().to_string();
            assert!(said.contains("expected an --output apart from --model"), "{said}");
        }
        for (apart, read) in [("model-2", "model"), ("runs/x", "model"), ("rows-run", "rows"), ("x", "none")] {
            assert!(check(apart, read).is_ok(), "{apart}");
        }
    }

    #[test]
    fn the_reference_has_one_place_in_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let check = |cache: &str| check_cache(&dir.path().join(cache), &dir.path().join("run"));
        for inside in ["run", "run/model", "run/reference/more"] {
            assert!(check(inside).is_err(), "{inside}");
        }
        for apart in ["run/reference", "run-2", "shared"] {
            assert!(check(apart).is_ok(), "{apart}");
        }
    }
}
