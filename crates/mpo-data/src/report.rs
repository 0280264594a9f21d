//! What became of the rows of a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::language::Language;
use crate::pair::Origin;
use crate::text::visible;

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

/// A row that was dropped.
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
    /// Half a surrogate pair, of a text cut within a character, was replaced by U+FFFD.
    LoneSurrogate,
    /// The row has no prompt; the words that both answers begin with were taken for it.
    SharedBeginning,
    /// This column, which is not read, may say which answer is the better one, and --columns says another thing.
    Decides {
        /// The column.
        column: String,
    },
    /// A text has this mark of a chat format, and the chat template writes its own around it.
    ChatFormat {
        /// The mark.
        marker: &'static str,
    },
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
            Self::LoneSurrogate => write!(f, "half a surrogate pair replaced by U+FFFD"),
            Self::SharedBeginning => {
                write!(f, "no prompt: the words that both answers begin with taken for it")
            }
            Self::Decides { column } => {
                write!(f, "column `{column}`, which may say which answer is better, not read: --columns decides")
            }
            Self::ChatFormat { marker } => write!(
                f,
                "`{marker}` in a text, which the chat template writes as words within a turn of its own; give the turns as messages"
            ),
            Self::PromptLanguage { expected, found } => {
                write!(f, "dominant prompt in {found}, not {expected}")
            }
            Self::ChosenLanguage { side, expected, found } => {
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
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// Rows in the file, up to the limit that was set.
    pub read: usize,
    /// Rows in the data set.
    pub kept: usize,
    /// Rows dropped, each with its reason: the first 1,000 of them. In all, `read` less `kept` are.
    pub dropped: Vec<Dropped>,
    /// Rows kept of each target language.
    pub languages: BTreeMap<Language, usize>,
    /// The dominant language of most rows, where rows have one.
    pub dominant: Option<Language>,
    /// What is odd about rows that were kept.
    pub warnings: Vec<Warning>,
    /// Columns that were not read, and in how many rows they say something.
    pub unread: BTreeMap<String, usize>,
}

/// Dropped rows that are remembered: an archive of a few bytes may hold millions.
const MOST_DROPPED: usize = 1000;

/// Columns that are remembered as not read: every row may have names of its own.
const MOST_UNREAD: usize = 100;

impl ReadReport {
    /// Takes in what became of the rows of another source.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.read += other.read;
        self.kept += other.kept;
        let room = MOST_DROPPED.saturating_sub(self.dropped.len());
        self.dropped.extend(other.dropped.into_iter().take(room));
        for (language, rows) in other.languages {
            *self.languages.entry(language).or_default() += rows;
        }
        self.dominant = self.dominant.or(other.dominant);
        self.warnings.extend(other.warnings);
        for (column, rows) in other.unread {
            *self.unread.entry(column).or_default() += rows;
        }
    }

    pub(crate) fn drop_row(&mut self, origin: Origin, reason: impl Into<String>) {
        if self.dropped.len() < MOST_DROPPED {
            self.dropped.push(Dropped { origin, reason: reason.into() });
        }
    }

    pub(crate) fn leave_unread(&mut self, columns: impl Iterator<Item = String>) {
        for column in columns {
            if self.unread.len() < MOST_UNREAD || self.unread.contains_key(&column) {
                *self.unread.entry(column).or_default() += 1;
            }
        }
    }
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [first, .., last] = &self.files[..] {
            let (number, first, last) = (self.files.len(), first.display(), last.display());
            writeln!(f, "{:<10} {number}, from {first} to {last}", "files")?;
        }
        writeln!(f, "{:<10} {}", "read", self.read)?;
        writeln!(f, "{:<10} {}", "kept", self.kept)?;
        if let Some(dominant) = self.dominant {
            writeln!(f, "{:<10} {dominant} ({})", "dominant", dominant.name())?;
        }
        for (language, rows) in &self.languages {
            writeln!(f, "{:<10} {rows} ({})", language, language.name())?;
        }
        let dropped = self.read.saturating_sub(self.kept);
        if dropped > 0 {
            writeln!(f, "{:<10} {dropped}", "dropped")?;
        }
        for Dropped { origin, reason } in &self.dropped {
            writeln!(f, "  {origin}: {}", visible(reason))?;
        }
        if dropped > MOST_DROPPED {
            writeln!(f, "  and {} more", dropped - MOST_DROPPED)?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "{:<10} {}", "warnings", self.warnings.len())?;
        }
        // One line per kind: a file of six hundred rows may have a hundred of the same.
        let mut kinds: BTreeMap<&WarningKind, (usize, &Origin)> = BTreeMap::new();
        for Warning { origin, kind } in &self.warnings {
            kinds.entry(kind).or_insert((0, origin)).0 += 1;
        }
        for (kind, (rows, first)) in kinds {
            writeln!(f, "  {kind}: {rows}, first at {first}")?;
        }
        if !self.unread.is_empty() {
            let names: Vec<String> = self.unread.keys().map(|name| visible(name)).collect();
            writeln!(f, "{:<10} columns {}", "not read", names.join(", "))?;
        }
        Ok(())
    }
}
