//! The folder of the reference's numbers: in a run folder, or one that several processes share.

use std::path::Path;

use mpo_progress::Progress;

use super::RunFolder;
use super::files::{remove_partial, set_aside};
use super::found::{Found, is_marked, make};
use super::marker::{Identity, Kind, MARKER, Marker};
use crate::error::TrainError;

impl RunFolder {
    /// Makes the reference's folder usable again if its marker was damaged, and tells `progress`: every number in it is checked by
    /// itself, and the folder around it is ours.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn mend_reference(&self, progress: &dyn Progress) -> Result<(), TrainError> {
        let dir = self.reference_dir();
        let Err(damaged @ TrainError::Broken { .. }) = Marker::read(&dir) else {
            return Ok(());
        };
        set_aside(&dir.join(MARKER))?;
        progress.note(&format_args!("{damaged}; it is made again"));
        Marker::new(Kind::Reference, Identity::default()).put(&dir)
    }
}

/// Marks a folder in which several processes keep what they share, and removes what killed ones left in it.
///
/// # Errors
/// If it is not ours, or cannot be written.
pub fn share(path: &Path, kind: Kind) -> Result<(), TrainError> {
    if let Found::Ours(_) = Found::at(path, kind)? {
        return remove_partial(path);
    }
    make(path)?;
    let put = Marker::new(kind, Identity::default()).put(path);
    // Another process may have been faster.
    put.or_else(|error| if is_marked(path, kind) { Ok(()) } else { Err(error) })
}
