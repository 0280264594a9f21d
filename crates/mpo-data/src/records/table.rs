//! The rows of a table with a line of column names: CSV, or with another separator.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::quotes::{Fault, Quotes};
use super::{Fields, MAX_LINE_BYTES, Record};
use crate::error::DataError;
use crate::pair::{Origin, Position};

/// A source that gives no more bytes than are granted, and none from a quote on that is not closed where it should be: it
/// would swallow the rows after it.
struct Granted<R> {
    source: R,
    left: usize,
    quotes: Quotes,
    fault: Option<Fault>,
}

impl<R: Read> Read for Granted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fault.is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = buffer.len().min(self.left);
        let read = self.source.read(&mut buffer[..most])?;
        self.left -= read;
        if read == 0 {
            self.fault = self.quotes.end();
        } else if let Some((before, fault)) = self.quotes.follow(&buffer[..read]) {
            self.fault = Some(fault);
            if before > 0 {
                return Ok(before);
            }
        }
        match self.fault {
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Ok(read),
        }
    }
}

pub(super) struct TableReader<'a> {
    file: PathBuf,
    reader: csv::Reader<Granted<Box<dyn BufRead + 'a>>>,
    header: Vec<String>,
    record: ByteRecord,
    /// Rows passed, without the line of names.
    count: usize,
    finished: bool,
}

impl<'a> TableReader<'a> {
    pub(super) fn new(file: &Path, source: Box<dyn BufRead + 'a>, delimiter: u8) -> Result<Self, DataError> {
        let granted = Granted { source, left: MAX_LINE_BYTES, quotes: Quotes::new(delimiter), fault: None };
        let reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(granted);
        let mut table =
            Self { file: file.into(), reader, header: vec![], record: ByteRecord::new(), count: 0, finished: false };
        let origin = Origin { file: file.into(), position: Position::Line(1) };
        if !table.read(&origin)? {
            return Err(DataError::Empty(file.into()));
        }
        for name in &table.record {
            let name = str::from_utf8(name).map_err(|_| not_utf_8(&origin, "names"))?.trim();
            if !name.is_empty() && table.header.iter().any(|known| known == name) {
                let problem = format!("expected every column once, got two named {name}");
                return Err(DataError::row(&origin, problem));
            }
            table.header.push(name.into());
        }
        Ok(table)
    }

    /// The next row: its cells as texts, those of columns without a name left out.
    pub(super) fn next_record(&mut self) -> Option<Result<Record, DataError>> {
        if self.finished {
            return None;
        }
        self.count += 1;
        let origin = Origin { file: self.file.clone(), position: Position::Row(self.count) };
        match self.read(&origin) {
            Ok(false) => None,
            Ok(true) => Some(self.named(origin)),
            Err(error) => {
                self.finished = true;
                Some(Err(error))
            }
        }
    }

    /// Reads the next record, unless the file is at its end.
    fn read(&mut self, origin: &Origin) -> Result<bool, DataError> {
        self.reader.get_mut().left = MAX_LINE_BYTES;
        let read = self.reader.read_byte_record(&mut self.record);
        let Granted { fault, quotes, .. } = self.reader.get_ref();
        let unclosed = |line, problem: String| DataError::UnclosedQuote {
            origin: Origin { file: self.file.clone(), position: Position::Line(line) },
            problem,
        };
        read.map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(_) if let Some(Fault { line, problem }) = fault => {
                unclosed(*line, (*problem).to_owned())
            }
            csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => match quotes.open() {
                Some(line) => {
                    let limit = MAX_LINE_BYTES;
                    let problem = format!("expected a closing quote within {limit} bytes, got none");
                    unclosed(line, problem)
                }
                None => DataError::RowTooLong { origin: origin.clone(), limit: MAX_LINE_BYTES },
            },
            csv::ErrorKind::Io(source) => DataError::Io { path: self.file.clone(), source },
            other => DataError::row(origin, format!("{other:?}")),
        })
    }

    fn named(&self, origin: Origin) -> Result<Record, DataError> {
        if self.record.len() != self.header.len() {
            let problem =
                format!("expected {} cells as in the first line, got {}", self.header.len(), self.record.len());
            return Err(DataError::row(&origin, problem));
        }
        let mut fields = Fields::new();
        for (name, cell) in self.header.iter().zip(&self.record) {
            let cell = str::from_utf8(cell).map_err(|_| not_utf_8(&origin, name))?;
            if !name.is_empty() {
                fields.insert(name.clone(), Value::String(cell.into()));
            }
        }
        Ok(Record { origin, fields, surrogates: 0 })
    }
}

/// Where in the file a cell begins is not known: quotes are gone from it.
fn not_utf_8(origin: &Origin, column: &str) -> DataError {
    let problem = format!("{column}: expected UTF-8 text, got other bytes; save the file as UTF-8");
    DataError::row(origin, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Vec<String> {
        let table = TableReader::new(Path::new("f"), Box::new(text), b',');
        let mut table = match table {
            Ok(table) => table,
            Err(error) => return vec![error.to_string()],
        };
        std::iter::from_fn(|| table.next_record())
            .map(|row| match row {
                Ok(row) => format!("{}: {}", row.origin, Value::from(row.fields)),
                Err(error) => error.to_string(),
            })
            .collect()
    }

    #[test]
    fn cells_are_texts_by_their_columns_names() {
        let table = b" a ,b,\r\n1,\"x, \"\"y\"\"\nz\",0\r\n\r\n,2,1\n";
        let expected = [r#"f, row 1: {"a":"1","b":"x, \"y\"\nz"}"#, r#"f, row 2: {"a":"","b":"2"}"#];
        assert_eq!(rows(table), expected);
    }

    #[test]
    fn a_bad_row_costs_itself_alone() {
        let table = b"a,b\n1,2\n1,2,3\n\xFF,1\n3,4\n";
        let expected = [
            r#"f, row 1: {"a":"1","b":"2"}"#,
            "f, row 2: expected 2 cells as in the first line, got 3",
            "f, row 3: a: expected UTF-8 text, got other bytes; save the file as UTF-8",
            r#"f, row 4: {"a":"3","b":"4"}"#,
        ];
        assert_eq!(rows(table), expected);
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_swallow_the_file() {
        let mut table = b"a,b\n1,2\n1,\"".to_vec();
        table.resize(MAX_LINE_BYTES * 2, b'x');
        let found = rows(&table);
        assert_eq!(found.len(), 2);
        assert!(found[1].starts_with("f, line 3: "), "{}", found[1]);
        assert!(found[1].contains("closing quote"), "{}", found[1]);
        let blank = rows(&[b"a,b\n1,2\n", &b"\n".repeat(MAX_LINE_BYTES * 2)[..]].concat());
        assert!(blank[1].starts_with("f, row 2: expected a row of at most"), "{}", blank[1]);
        let joined = rows(b"a,b\n1,2\n3,\"x\n4,\"y\"\n5,6\n");
        assert_eq!(joined.len(), 2);
        assert!(joined[1].starts_with("f, line 3: expected a separator"), "{}", joined[1]);
        let open = rows(b"a,b\n1,2\n3,\"x\n4,5\n");
        let expected = "f, line 3: expected a closing quote of the cell that begins here, got the end of the file";
        assert_eq!(open[1..], [expected]);
        let twice = rows(b"a,b,a\n1,2,3\n");
        assert_eq!(twice, ["f, line 1: expected every column once, got two named a"]);
    }
}
