//! The files of a folder: what each is, and what the list calls it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path};

use blake3::{Hash, Hasher};

use super::{CHECKSUMS_FILE, ChecksumError};

/// Bytes of a file that are hashed at once.
const BLOCK: u64 = 1 << 24;

/// Hashes a file on every core. It is read and not mapped: what is mapped counts as the process's memory, and the files of a
/// checkpoint are as large as what is being trained.
pub(super) fn hash(path: &Path) -> io::Result<Hash> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("expected a file"));
    }
    let (file, mut hasher, mut block) = (File::open(path)?, Hasher::new(), vec![]);
    while (&file).take(BLOCK).read_to_end(&mut block)? > 0 {
        hasher.update_rayon(&block);
        block.clear();
    }
    Ok(hasher.finalize())
}

/// Calls `visit` for everything in `dir` and below that is not a folder, except the list. Links are not followed.
pub(super) fn each_file(
    dir: &Path,
    visit: &mut impl FnMut(&Path) -> Result<(), ChecksumError>,
) -> Result<(), ChecksumError> {
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(ChecksumError::io(&folder))? {
            let entry = entry.map_err(ChecksumError::io(&folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(ChecksumError::io(&path))?;
            if kind.is_dir() {
                folders.push(path);
            } else if path != dir.join(CHECKSUMS_FILE) {
                visit(&path)?;
            }
        }
    }
    Ok(())
}

/// The name that a file below `dir` has in the list.
pub(super) fn listed_name(dir: &Path, path: &Path) -> Option<String> {
    let parts = path.strip_prefix(dir).ok()?.components();
    let parts: Option<Vec<&str>> = parts.map(|part| part.as_os_str().to_str()).collect();
    parts.map(|parts| parts.join("/")).filter(|name| !name.contains(['\n', '\r']) && stays_inside(name))
}

/// Names nothing outside the folder.
pub(super) fn stays_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}
