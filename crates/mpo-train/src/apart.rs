//! What a command writes lies apart from what it reads.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// An option after its article.
pub(crate) type Named = (&'static str, &'static str);
pub(crate) const OUTPUT: Named = ("an", "--output");
pub(crate) const CACHE: Named = ("a", "--reference-cache");

/// Refuses to write into a folder that is read, or below it: results would be taken for a part of it. Both come with the
/// option that names them.
pub(crate) fn check_apart(
    ((article, option), written): (Named, &Path),
    (of_read, read): (&str, &Path),
) -> Result<(), Failure> {
    match read.is_dir() && lies_in(written, read) {
        true => Err(Failure::new(
            format!(
                "{}: expected {article} {option} apart from {of_read}, got a folder in {}",
                written.display(),
                read.display()
            ),
            format!("name another {option}; nothing was written"),
        )),
        false => Ok(()),
    }
}

/// Refuses a folder for the reference's numbers in the run's own folder, but where a run keeps them anyway.
pub(crate) fn check_cache(cache: &Path, output: &Path) -> Result<(), Failure> {
    let is_usual = real(cache) == real(&output.join("reference"));
    match lies_in(cache, output) && !is_usual {
        true => Err(Failure::new(
            format!(
                "{}: expected a --reference-cache apart from --output, got a folder in {}",
                cache.display(),
                output.display()
            ),
            "name a folder that runs can share, or leave it out for one in the run's own; nothing was written",
        )),
        false => Ok(()),
    }
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
