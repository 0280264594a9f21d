//! The rows of a data set, of one kind each, and what can be done with them whatever their kind.

mod each;
mod evenly;
mod held_out;
mod pivot;
mod row;
mod trl;
mod write;

use std::collections::HashSet;
use std::path::Path;

use crate::error::DataError;
use crate::language::Language;
use crate::pair::{BilingualPair, Message, MonolingualPair, Origin, UnpairedAnswer};
use crate::parallel::ParallelPrompts;
pub(crate) use each::each;
pub(crate) use evenly::evenly;
use pivot::pivot;
pub use row::Row;
pub use trl::TrlRows;
pub use write::{RowWriter, row_line};

/// What the kinds of rows are called, for people.
pub(crate) const BILINGUAL: &str = "pairs in two languages";
pub(crate) const MONOLINGUAL: &str = "pairs in one language";
pub(crate) const UNPAIRED: &str = "single answers";
pub(crate) const PARALLEL: &str = "prompts in several languages";

/// Rows of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Every row has a dominant and a target side.
    Bilingual(Vec<BilingualPair>),
    /// Every row has one side.
    Monolingual(Vec<MonolingualPair>),
    /// Every row has one answer.
    Unpaired(Vec<UnpairedAnswer>),
    /// Every row has one prompt in several languages.
    Parallel(Vec<ParallelPrompts>),
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        each!(self, rows => rows.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The languages that each row is there in: of rows with a dominant language, the others.
    pub fn languages(&self) -> Box<dyn Iterator<Item = Language> + '_> {
        each!(self, rows => Box::new(rows.iter().flat_map(Row::targets)))
    }

    /// What kind of rows they are, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bilingual(_) => BILINGUAL,
            Self::Monolingual(_) => MONOLINGUAL,
            Self::Unpaired(_) => UNPAIRED,
            Self::Parallel(_) => PARALLEL,
        }
    }

    /// These rows, and `more` behind them.
    ///
    /// # Errors
    /// The kinds of both, if they differ.
    pub fn joined(mut self, more: Self) -> Result<Self, [&'static str; 2]> {
        let kinds = [self.kind(), more.kind()];
        match (&mut self, more) {
            (Self::Bilingual(rows), Self::Bilingual(more)) => rows.extend(more),
            (Self::Monolingual(rows), Self::Monolingual(more)) => rows.extend(more),
            (Self::Unpaired(rows), Self::Unpaired(more)) => rows.extend(more),
            (Self::Parallel(rows), Self::Parallel(more)) => rows.extend(more),
            _ => return Err(kinds),
        }
        Ok(self)
    }

    /// At most `limit` rows: those that are taken first when languages take turns, in the order they came.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        each!(self, rows, of_kind => of_kind(evenly(rows, limit, Row::language)))
    }

    /// The rows that came from these places, in the order they came.
    #[must_use]
    pub fn at(self, origins: &HashSet<&Origin>) -> Self {
        each!(self, mut rows, of_kind => {
            rows.retain(|row| origins.contains(row.origin()));
            of_kind(rows)
        })
    }

    /// The rows to train on, and those held out: every row of a `share` of the source prompts, from 0 to 1 and rounded down, so that
    /// no translation of a prompt that is held out is trained on. The source prompt of a row in two languages is that of its dominant side.
    /// The same rows and seed are split alike. Of one or two prompts none is held out, of more at least one.
    #[must_use]
    pub fn hold_out(self, share: f64, seed: u64) -> (Self, Self) {
        each!(self, rows, of_kind => {
            let (rest, out) = held_out::hold_out(rows, share, seed);
            (of_kind(rest), of_kind(out))
        })
    }

    /// The rows of which no prompt is one of `others`, in whatever language.
    #[must_use]
    pub fn apart_from(self, others: &Self) -> Self {
        let asked = others.prompts();
        each!(self, mut rows, of_kind => {
            rows.retain(|row| row.prompts().all(|prompt| !asked.contains(prompt)));
            of_kind(rows)
        })
    }

    /// The rows with `language` as the dominant one: in every row its translation stands for the dominant side, which
    /// becomes the target of the row that the translation came from. Rows whose prompt is not translated to `language`
    /// are left out, and so are all rows of one language.
    #[must_use]
    pub fn pivot(self, language: Language) -> Self {
        match self {
            Self::Bilingual(rows) => Self::Bilingual(pivot(rows, language)),
            Self::Parallel(rows) => Self::Parallel(rows.into_iter().filter_map(|row| row.led_by(language)).collect()),
            Self::Monolingual(_) | Self::Unpaired(_) => Self::Bilingual(vec![]),
        }
    }

    /// Writes a file of JSON Lines that [`read`](crate::read()) reads the same rows from. It is there whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written; then what was there before is untouched.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        each!(self, rows => write::write(path, rows))
    }

    /// Every prompt, of both sides where there are two.
    fn prompts(&self) -> HashSet<&[Message]> {
        each!(self, rows => rows.iter().flat_map(Row::prompts).collect())
    }
}
