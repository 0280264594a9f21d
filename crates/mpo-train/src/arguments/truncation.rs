//! Where preference rows are cut.

use clap::Args;
use mpo_data::{DataError, Truncation};

/// Lengths in tokens.
#[derive(Debug, Args)]
pub(crate) struct TruncationArguments {
    /// Longest prompt and answer of a preference row together, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_tokens: usize,
    /// Longest answer of a preference row, in tokens, cut before prompt and answer are
    #[arg(long, value_name = "N")]
    pub(crate) max_response_tokens: Option<usize>,
}

impl TruncationArguments {
    pub(crate) fn limits(&self) -> Result<Truncation, DataError> {
        Truncation::new(self.max_tokens, self.max_response_tokens)
    }
}
