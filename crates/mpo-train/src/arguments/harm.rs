//! Whether a model is told of harm in what it is asked.

use std::path::PathBuf;

use clap::Args;
use mpo_chat::{HarmGuard, ModelFolder};

use crate::failure::Failure;
use crate::session::Session;

/// Who looks for harm.
#[derive(Debug, Args)]
pub(crate) struct HarmArguments {
    /// Classifier that `mpo-train classifier` wrote for this model: where it finds harm in a prompt, its note stands before the
    /// answer (LASA) [default: none looks]
    #[arg(long, value_name = "FILE")]
    pub(crate) harm_classifier: Option<PathBuf>,
}

impl HarmArguments {
    /// The classifier beside its model, whose content hash may be known already; none where nobody looks.
    pub(crate) fn guard(
        &self,
        folder: &ModelFolder,
        hash: Option<&str>,
        session: &Session,
    ) -> Result<Option<HarmGuard>, Failure> {
        let Some(path) = &self.harm_classifier else { return Ok(None) };
        let hash = hash.map_or_else(|| folder.content_hash(session), |hash| Ok(hash.to_owned()))?;
        Ok(Some(HarmGuard::open(path, folder, &hash)?))
    }
}
