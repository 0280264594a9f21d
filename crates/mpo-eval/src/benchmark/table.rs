//! The tables that benchmarks are published as.

use std::fs;
use std::path::{Path, PathBuf};

use mpo_data::Language;

use super::{Expected, Item};
use crate::error::EvalError;

/// The text of a file, without a byte-order mark.
pub(super) fn text(path: &Path) -> Result<String, EvalError> {
    let mut text = fs::read_to_string(path).map_err(EvalError::io(path))?;
    if text.starts_with('\u{FEFF}') {
        text.remove(0);
    }
    Ok(text)
}

/// What a folder holds, by name; only the files with an extension, if one is named: `.DS_Store` and the like are none of
/// the benchmark's.
pub(super) fn sorted(folder: &Path, extension: Option<&str>) -> Result<Vec<PathBuf>, EvalError> {
    let entries = fs::read_dir(folder).map_err(EvalError::io(folder))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(EvalError::io(folder))?;
    paths.retain(|path| {
        extension.is_none_or(|wanted| path.extension().is_some_and(|of| of == wanted))
    });
    paths.sort();
    Ok(paths)
}

/// Names that are languages' codes (Indonesian, Norwegian, South Ndebele) and what a column of numbers is called.
const NUMBERING: [&str; 3] = ["id", "no", "nr"];

/// A table with a header, by column name.
pub(super) struct Table {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a CSV file.
    pub(super) fn read(path: &Path) -> Result<Self, EvalError> {
        let text = text(path)?;
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let broken = |error: csv::Error| EvalError::broken(path, error.to_string());
        let header: Vec<String> = reader
            .headers()
            .map_err(broken)?
            .iter()
            .map(|name| name.trim().to_owned())
            .collect();
        let rows = reader
            .records()
            .map(|row| Ok(row.map_err(broken)?.iter().map(str::to_owned).collect()))
            .collect::<Result<_, EvalError>>()?;
        Ok(Self {
            path: path.to_owned(),
            header,
            rows,
        })
    }

    /// A column's number.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(super) fn column(&self, name: &str) -> Result<usize, EvalError> {
        let found = self.header.iter().position(|header| header == name);
        found.ok_or_else(|| {
            let problem = format!("expected a column {name}, got {}", self.header.join(", "));
            EvalError::broken(&self.path, problem)
        })
    }

    /// The rows with something in a column, and their numbers.
    pub(super) fn filled(&self, column: usize) -> impl Iterator<Item = (usize, &Vec<String>)> {
        let rows = self.rows.iter().enumerate();
        rows.filter(move |(_, row)| !row[column].trim().is_empty())
    }

    /// The columns named by a language's code, with their numbers.
    ///
    /// # Errors
    /// If two are of one language, and neither or both are named by the code alone.
    fn languages(&self) -> Result<Vec<(usize, Language)>, EvalError> {
        let columns = self.header.iter().enumerate();
        let named: Vec<(usize, Language)> = columns
            .filter(|(column, name)| !self.is_numbering(*column, name))
            .filter_map(|(column, name)| Some((column, language(name)?)))
            .collect();
        let is_code = |column: usize, language: Language| self.header[column] == language.code();
        let mut chosen: Vec<(usize, Language)> = vec![];
        for &(column, language) in &named {
            // Beside `zh`, `zh-TW` is another text.
            let mut same = named.iter().filter(|other| other.1 == language);
            if !is_code(column, language) && same.any(|other| is_code(other.0, language)) {
                continue;
            }
            if let Some((earlier, _)) = chosen.iter().find(|of| of.1 == language) {
                let problem = format!(
                    "expected one column of {}, got {} and {}",
                    language.name(),
                    self.header[*earlier],
                    self.header[column]
                );
                return Err(EvalError::broken(&self.path, problem));
            }
            chosen.push((column, language));
        }
        Ok(chosen)
    }

    /// Whether a column has the name of one that numbers the rows, and does: it is the first, or most of its cells are a
    /// single word.
    fn is_numbering(&self, column: usize, name: &str) -> bool {
        let sentences = self.rows.iter().map(|row| row[column].trim());
        let sentences = sentences.filter(|cell| cell.contains(char::is_whitespace));
        NUMBERING.contains(&name.to_ascii_lowercase().as_str())
            && (column == 0 || 2 * sentences.count() <= self.rows.len())
    }
}

/// The language of a column's name, such as `sw`, `EN`, `zh-CN`, `pt_BR`, `es-419` or `zh-Hans`.
fn language(name: &str) -> Option<Language> {
    let (code, region) = name.split_at(name.find(['-', '_']).unwrap_or(name.len()));
    let language: Language = code.to_ascii_lowercase().parse().ok()?;
    (region.is_empty() || is_region(region)).then_some(language)
}

/// Whether it is written as a region or a script is. `_safe` of `is_safe` is not, which is no Icelandic either.
fn is_region(suffix: &str) -> bool {
    match suffix.as_bytes() {
        [b'-', letters @ ..] if letters.len() == 2 => letters.iter().all(u8::is_ascii_alphabetic),
        [_, letters @ ..] if letters.len() == 2 => letters.iter().all(u8::is_ascii_uppercase),
        [_, digits @ ..] if digits.len() == 3 => digits.iter().all(u8::is_ascii_digit),
        [_, first, rest @ ..] if rest.len() == 3 => {
            first.is_ascii_uppercase() && rest.iter().all(u8::is_ascii_lowercase)
        }
        _ => false,
    }
}

/// Harmful requests: the columns named by a language's code, language by language.
///
/// # Errors
/// If two columns are of one language.
pub(super) fn harmful(table: &Table, id: Option<usize>) -> Result<Vec<Item>, EvalError> {
    let of = |(column, language): (usize, Language)| {
        table.filled(column).map(move |(number, row)| Item {
            id: id.map_or_else(|| number.to_string(), |id| row[id].clone()),
            language: Some(language),
            group: None,
            turns: vec![row[column].clone()],
            expected: Expected::Safe,
        })
    };
    Ok(table.languages()?.into_iter().flat_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_by_codes_of_any_case_and_region() {
        for (name, code) in [
            ("sw", "sw"),
            ("EN", "en"),
            ("zh-CN", "zh"),
            ("zh-cn", "zh"),
            ("pt_BR", "pt"),
            ("es-419", "es"),
            ("zh_Hans", "zh"),
        ] {
            assert_eq!(language(name), code.parse().ok(), "{name}");
        }
        for name in ["is_safe", "is_ok", "no_", "to-do-list", "goal", "xx-XX", ""] {
            assert_eq!(language(name), None, "{name}");
        }
    }
}
