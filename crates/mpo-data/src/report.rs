//! What became of the rows of a file.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::language::Language;
use crate::pair::Origin;

/// A side of a bilingual row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The language that is aligned already.
    Dominant,
    /// The language to align; the only side of a file of single pairs.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dominant => "dominant",
            Self::Target => "target",
        })
    }
}

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Where it is.
    pub origin: Origin,
    /// Why.
    pub reason: String,
}

/// Something odd about a row that was kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum WarningKind {
    /// HTML entities such as `&#39;` were replaced by what they stand for.
    EntitiesCleaned,
    /// The dominant prompt looks like another language than the file's.
    PromptLanguage {
        /// The dominant language of the file.
        expected: Language,
        /// What the prompt looks like.
        found: Language,
    },
    /// The chosen answer is not in the language of its prompt.
    ChosenLanguage {
        /// The side it is on.
        side: Side,
        /// The language of the prompt.
        expected: Language,
        /// What the answer looks like.
        found: Language,
    },
}

impl fmt::Display for WarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntitiesCleaned => write!(f, "HTML entities unescaped"),
            Self::PromptLanguage { expected, found } => {
                write!(f, "dominant prompt in {found}, not {expected}")
            }
            Self::ChosenLanguage {
                side,
                expected,
                found,
            } => {
                write!(f, "{side} chosen answer in {found}, prompt in {expected}")
            }
        }
    }
}

/// A warning and the row it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Where the row is.
    pub origin: Origin,
    /// What is odd about it.
    #[serde(flatten)]
    pub kind: WarningKind,
}

/// How many rows were read and kept, and why the others were not. Displays as a table for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReadReport {
    /// Rows in the file, up to the limit that was set.
    pub read: usize,
    /// Rows in the data set.
    pub kept: usize,
    /// Rows left out, each with its reason.
    pub dropped: Vec<Dropped>,
    /// Rows kept of each target language.
    pub languages: BTreeMap<Language, usize>,
    /// The dominant language of most rows, where rows have one.
    pub dominant: Option<Language>,
    /// What is odd about rows that were kept.
    pub warnings: Vec<Warning>,
}

impl ReadReport {
    pub(crate) fn drop_row(&mut self, origin: Origin, reason: impl Into<String>) {
        self.dropped.push(Dropped {
            origin,
            reason: reason.into(),
        });
    }
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10} {}", "read", self.read)?;
        writeln!(f, "{:<10} {}", "kept", self.kept)?;
        if let Some(dominant) = self.dominant {
            writeln!(f, "{:<10} {dominant} ({})", "dominant", dominant.name())?;
        }
        for (language, rows) in &self.languages {
            writeln!(f, "{:<10} {rows} ({})", language, language.name())?;
        }
        if !self.dropped.is_empty() {
            writeln!(f, "{:<10} {}", "dropped", self.dropped.len())?;
        }
        for Dropped { origin, reason } in &self.dropped {
            writeln!(f, "  {origin}: {reason}")?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "{:<10} {}", "warnings", self.warnings.len())?;
        }
        // One line a kind: a file of six hundred rows may have a hundred of the same.
        let mut kinds: BTreeMap<&WarningKind, (usize, &Origin)> = BTreeMap::new();
        for Warning { origin, kind } in &self.warnings {
            kinds.entry(kind).or_insert((0, origin)).0 += 1;
        }
        for (kind, (rows, first)) in kinds {
            writeln!(f, "  {kind}: {rows}, first at {first}")?;
        }
        Ok(())
    }
}
