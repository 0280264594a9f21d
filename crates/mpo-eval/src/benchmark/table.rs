//! The tables that benchmarks are published as.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use mpo_data::Language;

use super::{Expected, Item};
use crate::error::EvalError;

/// The text of a file, without a byte-order mark.
pub(super) fn text(path: &Path) -> Result<String, EvalError> {
    let mut text = String::new();
    let file = File::open(path).map_err(EvalError::io(path))?;
    BufReader::new(file)
        .read_to_string(&mut text)
        .map_err(EvalError::io(path))?;
    Ok(text
        .strip_prefix('\u{FEFF}')
        .map_or(text.clone(), str::to_owned))
}

/// A table with a header, by column name.
pub(super) struct Table {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a CSV file that has at least these columns.
    pub(super) fn read(path: &Path, columns: &[&str]) -> Result<Self, EvalError> {
        let text = text(path)?;
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let broken = |error: csv::Error| EvalError::broken(path, error.to_string());
        let header: Vec<String> = reader
            .headers()
            .map_err(broken)?
            .iter()
            .map(|name| name.trim().to_owned())
            .collect();
        if let Some(missing) = columns
            .iter()
            .find(|&&name| !header.iter().any(|h| h == name))
        {
            let problem = format!("expected a column {missing}, got {}", header.join(", "));
            return Err(EvalError::broken(path, problem));
        }
        let rows = reader
            .records()
            .map(|row| Ok(row.map_err(broken)?.iter().map(str::to_owned).collect()))
            .collect::<Result<_, EvalError>>()?;
        Ok(Self { header, rows })
    }

    /// The columns named by a language's code, with their numbers. Indonesian's is also what a column of row numbers is
    /// called.
    pub(super) fn languages(&self) -> Vec<(usize, Language)> {
        let numbers = |column: usize| {
            self.rows
                .iter()
                .all(|row| row[column].trim().parse::<u64>().is_ok())
        };
        let columns = self.header.iter().enumerate();
        columns
            .filter(|(column, name)| *name != "id" || !numbers(*column))
            .filter_map(|(number, name)| Some((number, name.parse().ok()?)))
            .collect()
    }

    /// A column's number; [`read`](Self::read) has made sure that it is there.
    pub(super) fn column(&self, name: &str) -> usize {
        self.header
            .iter()
            .position(|h| h == name)
            .unwrap_or_default()
    }
}

/// Harmful requests: the columns named by a language's code, language by language.
pub(super) fn harmful(table: &Table, id: Option<usize>) -> Vec<Item> {
    let of = |(column, language): (usize, Language)| {
        let rows = table.rows.iter().enumerate();
        rows.filter(move |(_, row)| !row[column].trim().is_empty())
            .map(move |(number, row)| Item {
                id: id.map_or_else(|| number.to_string(), |id| row[id].clone()),
                language: Some(language),
                group: None,
                turns: vec![row[column].clone()],
                expected: Expected::Safe,
            })
    };
    table.languages().into_iter().flat_map(of).collect()
}
