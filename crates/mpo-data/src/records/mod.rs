//! Records of a file, whatever holds them: JSON lines, a JSON array, rows under a key, CSV, TSV or Parquet, plain or
//! compressed. What a file is, its content says and not its name.

mod content;
mod json;
mod parquet;
mod quotes;
mod table;

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::DataError;
use crate::pair::Origin;
use crate::splits;
use content::Content;
use json::RowReader;
use parquet::ParquetReader;
use table::TableReader;

pub use json::MAX_LINE_BYTES;

/// The fields of a row by name, in the order of the file. The cells of a table are texts.
pub type Fields = Map<String, Value>;

/// One row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it is.
    pub origin: Origin,
    /// What it holds.
    pub fields: Fields,
    /// Halves of surrogate pairs that became U+FFFD.
    pub surrogates: usize,
}

/// Which rows of a file that has several lists of them.
pub(crate) struct Selection<'a> {
    /// The split that was asked for.
    pub(crate) split: Option<&'a str>,
    /// Whether an object is a row, and not, say, a message of one.
    pub(crate) is_row: &'a dyn Fn(&Fields) -> bool,
}

impl Selection<'_> {
    /// The split to read, of those by these names.
    pub(crate) fn choose<'n>(&self, place: &Path, names: impl Iterator<Item = &'n str>) -> Result<String, DataError> {
        let names: Vec<&str> = names.collect();
        let wanted = self.split.unwrap_or("train");
        match names[..] {
            _ if names.contains(&wanted) => Ok(wanted.into()),
            // `eval` is another name of `test`.
            _ if let Some(split) = splits::of_word(wanted)
                && names.contains(&split) =>
            {
                Ok(split.into())
            }
            // A list that is the only one and named for no split, such as `data`, is what there is to read.
            [only] if self.split.is_none() && !splits::begins(only) => Ok(only.into()),
            _ => Err(DataError::NoSplit {
                place: place.into(),
                wanted: wanted.into(),
                found: names.into_iter().map(str::to_owned).collect(),
            }),
        }
    }
}

/// The records of a file. After an error of one row the next can be read; any other is the last item.
pub struct Records<'a>(Source<'a>);

enum Source<'a> {
    Json(RowReader<'a>),
    Table(TableReader<'a>),
    Parquet(ParquetReader),
}

impl Records<'static> {
    /// Opens a file. `is_row` tells a row from other objects, should rows lie under a key of one that is the whole file.
    ///
    /// # Errors
    /// If it cannot be read or is nothing that holds rows.
    pub fn open(path: &Path, is_row: impl Fn(&Fields) -> bool) -> Result<Self, DataError> {
        let selection = Selection { split: None, is_row: &is_row };
        Self::select(path, &selection)
    }

    pub(crate) fn select(path: &Path, selection: &Selection<'_>) -> Result<Self, DataError> {
        Self::of(path, content::open(path)?, selection)
    }
}

impl<'a> Records<'a> {
    /// Whether these are the rows of one of several lists in the file.
    pub(crate) fn are_of_a_list(&self) -> bool {
        matches!(&self.0, Source::Json(rows) if rows.are_under_a_key())
    }

    fn of(path: &Path, content: Content<'a>, selection: &Selection<'_>) -> Result<Self, DataError> {
        Ok(Self(match content {
            Content::Json(source) => Source::Json(RowReader::new(path, source, selection)?),
            Content::Table { source, delimiter } => Source::Table(TableReader::new(path, source, delimiter)?),
            Content::Parquet(file) => Source::Parquet(ParquetReader::new(path, file)?),
            Content::Text(_) => return Err(content::without_rows(path)),
        }))
    }

    /// Reads what is in memory, as if it were a file of this name.
    #[cfg(test)]
    pub(crate) fn of_bytes(path: &Path, bytes: &'a [u8], selection: &Selection<'_>) -> Result<Self, DataError> {
        Self::of(path, content::recognize(path, Box::new(bytes))?, selection)
    }
}

/// The text of a file, unpacked and decoded, whatever it is about; at most `limit` bytes.
///
/// # Errors
/// If it cannot be read, is longer, or is something else by its content.
pub fn read_text(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let source = match content::open(path)? {
        Content::Json(source) | Content::Table { source, .. } | Content::Text(source) => source,
        Content::Parquet(_) => {
            return Err(DataError::NotRows {
                path: path.into(),
                what: "Parquet",
                hint: "write it as CSV or JSONL: DataFrame.to_csv in Python",
            });
        }
    };
    let io_error = |source| DataError::Io { path: path.into(), source };
    let mut bytes = Vec::new();
    let read = source.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(io_error)?;
    if bytes.len() as u64 > limit {
        Err(DataError::NotRows {
            path: path.into(),
            what: "more text than such a file has",
            hint: "check that it is the right file",
        })
    } else {
        Ok(bytes)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Json(rows) => rows.next_record(),
            Source::Table(table) => table.next_record(),
            Source::Parquet(file) => file.next_record(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_rows_under_a_key_are_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("questions");
        let rows = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let records = Records::open(&path, |fields| fields.contains_key("question")).unwrap();
            let fields = records.map(|record| Value::from(record.unwrap().fields).to_string());
            fields.collect::<Vec<_>>().join(" ")
        };
        let expected = r#"{"id":"1","question":"Why?"} {"id":"2","question":"How?"}"#;
        assert_eq!(rows(b"id,question\n1,Why?\n2,How?\n"), expected);
        let keyed =
            br#"{"notes": [{"id": "0"}], "data": [{"id":"1","question":"Why?"}, {"id":"2","question":"How?"}]}"#;
        assert_eq!(rows(keyed), expected);
        assert!(Records::open(dir.path(), |_| true).is_err());
    }
}
