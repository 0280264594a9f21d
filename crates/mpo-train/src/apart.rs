//! What a command writes lies apart from what it reads.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Refuses to write into a folder that is read, or below it: results would be taken for a part of it.
pub(crate) fn check_apart(output: &Path, option: &str, read: &Path) -> Result<(), Failure> {
    if !read.is_dir() {
        return Ok(());
    }
    match (real(output), fs::canonicalize(read)) {
        (Some(within), Ok(read)) if within.starts_with(&read) => Err(Failure::new(
            format!(
                "{}: expected an --output apart from {option}, got a folder in {}",
                output.display(),
                read.display()
            ),
            "name another --output; nothing was written",
        )),
        _ => Ok(()),
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
            check_apart(&dir.path().join(output), "--model", &read)
        };
        for inside in ["model", "model/runs/first", "model/./x"] {
            let said = check(inside, "model").unwrap_err().to_string();
            assert!(
                said.contains("expected an --output apart from --model"),
                "{said}"
            );
        }
        for (apart, read) in [
            ("model-2", "model"),
            ("runs/x", "model"),
            ("rows-run", "rows"),
            ("x", "none"),
        ] {
            assert!(check(apart, read).is_ok(), "{apart}");
        }
    }
}
