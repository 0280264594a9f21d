//! Which preference rows are read, and how.

use clap::Args;
use mpo_data::{Columns, Language, ReadOptions};

use super::positive;

/// How preference rows are read.
#[derive(Debug, Args)]
pub(crate) struct RowArguments {
    /// Use at most this many preference rows, evenly over languages
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) rows: Option<usize>,
    /// Dominant language: a code or an English name [default: most frequent on the source side]
    #[arg(long, value_name = "LANG")]
    pub(crate) dominant: Option<Language>,
    /// Language of the rows that name none [default: detected row by row]
    #[arg(long, value_name = "LANG")]
    pub(crate) language: Option<Language>,
    /// Columns of the rows by other names, such as prompt=question,chosen=good
    #[arg(long, value_name = "OURS=THEIRS,…")]
    pub(crate) columns: Option<Columns>,
    /// Split of a folder, of a data set on the hub, or of a file with several lists; of a data set with configurations,
    /// CONFIGURATION/SPLIT [default: train]
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,
    /// Drop rows that cannot be read, and report them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad_rows: bool,
}

impl RowArguments {
    pub(crate) fn options(&self) -> ReadOptions {
        ReadOptions {
            dominant: self.dominant,
            language: self.language,
            columns: self.columns.clone().unwrap_or_default(),
            split: self.split.clone(),
            skip_bad_rows: self.skip_bad_rows,
            ..ReadOptions::default()
        }
    }
}
