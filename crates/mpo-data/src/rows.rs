//! The rows of a file, one at a time: the lines of JSONL or the objects of a JSON array, never the whole file.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::pair::{Origin, Position};

/// The longest row that is read: 16 MiB.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// The bytes of one row, not yet known to be text.
pub(crate) struct RawRow {
    pub(crate) origin: Origin,
    bytes: Vec<u8>,
    offset: u64,
}

impl RawRow {
    pub(crate) fn text(&self) -> Result<&str, DataError> {
        str::from_utf8(&self.bytes).map_err(|error| DataError::InvalidUtf8 {
            origin: self.origin.clone(),
            offset: self.offset.saturating_add(error.valid_up_to() as u64),
        })
    }
}

#[derive(Clone, Copy)]
enum Layout {
    Lines,
    Array,
    Finished,
}

/// Reads rows from `source`. An error from [`next_row`](Self::next_row) ends the file: what follows cannot be trusted.
pub(crate) struct RowReader<R> {
    file: PathBuf,
    source: R,
    layout: Layout,
    /// Lines passed, or rows of the array passed.
    count: usize,
    offset: u64,
}

impl<R: BufRead> RowReader<R> {
    /// Looks at the first bytes: `[` opens an array, anything else is JSONL. A byte order mark is passed over.
    pub(crate) fn new(file: &Path, source: R) -> Result<Self, DataError> {
        let mut reader = Self {
            file: file.into(),
            source,
            layout: Layout::Lines,
            count: 0,
            offset: 0,
        };
        if reader.buffer()?.starts_with(b"\xEF\xBB\xBF") {
            reader.consume(3);
        }
        let lines = reader.skip_whitespace()?;
        match reader.peek()? {
            None => Err(DataError::Empty(reader.file)),
            Some(b'[') => {
                reader.consume(1);
                reader.layout = Layout::Array;
                Ok(reader)
            }
            Some(_) => {
                reader.count = lines;
                Ok(reader)
            }
        }
    }

    pub(crate) fn next_row(&mut self) -> Result<Option<RawRow>, DataError> {
        match self.layout {
            Layout::Lines => self.next_line(),
            Layout::Array => self.next_element(),
            Layout::Finished => Ok(None),
        }
    }

    fn next_line(&mut self) -> Result<Option<RawRow>, DataError> {
        loop {
            let mut bytes = Vec::new();
            let offset = self.offset;
            // One byte for the line break and one to tell a line of the greatest length from a longer one.
            let mut line = self.source.by_ref().take(MAX_LINE_BYTES as u64 + 2);
            let read = line
                .read_until(b'\n', &mut bytes)
                .map_err(|source| io_error(&self.file, source))?;
            if read == 0 {
                return Ok(None);
            }
            self.offset += read as u64;
            self.count += 1;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            if bytes.len() > MAX_LINE_BYTES {
                return Err(self.too_long());
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(RawRow {
                    origin: self.origin(),
                    bytes,
                    offset,
                }));
            }
        }
    }

    fn next_element(&mut self) -> Result<Option<RawRow>, DataError> {
        self.skip_whitespace()?;
        let first = self.count == 0;
        match self.peek()? {
            Some(b']') => {
                self.consume(1);
                self.layout = Layout::Finished;
                self.skip_whitespace()?;
                return match self.peek()? {
                    None => Ok(None),
                    Some(_) => {
                        Err(self
                            .problem_after("expected the end of the file after `]`, got more text"))
                    }
                };
            }
            Some(b',') if !first => {
                self.consume(1);
                self.skip_whitespace()?;
            }
            Some(_) if first => {}
            Some(_) => return Err(self.problem_after("expected `,` or `]` after the row")),
            None => {
                return Err(self.problem_after(
                    "expected `]` at the end of the array, got the end of the file",
                ));
            }
        }
        self.count += 1;
        if self.peek()? != Some(b'{') {
            return Err(self.problem("expected an object"));
        }
        self.copy_object().map(Some)
    }

    /// Copies from `{` to its match. Only brackets and strings are looked at; the JSON parser judges the rest.
    fn copy_object(&mut self) -> Result<RawRow, DataError> {
        let offset = self.offset;
        let mut bytes = Vec::new();
        let mut depth = 0_usize;
        let mut in_string = false;
        let mut escaped = false;
        loop {
            let Some(byte) = self.peek()? else {
                return Err(self.problem("expected the end of the row, got the end of the file"));
            };
            self.consume(1);
            bytes.push(byte);
            if bytes.len() > MAX_LINE_BYTES {
                return Err(self.too_long());
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(RawRow {
                    origin: self.origin(),
                    bytes,
                    offset,
                });
            }
        }
    }

    /// Passes over whitespace and returns the line breaks in it.
    fn skip_whitespace(&mut self) -> Result<usize, DataError> {
        let mut lines = 0;
        while let Some(byte) = self.peek()?.filter(u8::is_ascii_whitespace) {
            lines += usize::from(byte == b'\n');
            self.consume(1);
        }
        Ok(lines)
    }

    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        Ok(self.buffer()?.first().copied())
    }

    fn buffer(&mut self) -> Result<&[u8], DataError> {
        self.source
            .fill_buf()
            .map_err(|source| io_error(&self.file, source))
    }

    fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.offset += bytes as u64;
    }

    /// The row or line that was read last.
    fn origin(&self) -> Origin {
        let position = match self.layout {
            Layout::Lines => Position::Line(self.count),
            Layout::Array | Layout::Finished => Position::Row(self.count),
        };
        Origin {
            file: self.file.clone(),
            position,
        }
    }

    fn problem(&self, problem: &str) -> DataError {
        DataError::Row {
            origin: self.origin(),
            problem: problem.into(),
        }
    }

    fn problem_after(&self, problem: &str) -> DataError {
        match self.count {
            0 => DataError::Empty(self.file.clone()),
            _ => self.problem(problem),
        }
    }

    fn too_long(&self) -> DataError {
        DataError::RowTooLong {
            origin: self.origin(),
            limit: MAX_LINE_BYTES,
        }
    }
}

fn io_error(file: &Path, source: std::io::Error) -> DataError {
    DataError::Io {
        path: file.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader};

    use super::*;

    fn rows(bytes: &[u8]) -> Result<Vec<(Position, String)>, DataError> {
        let mut reader = RowReader::new(Path::new("f"), bytes)?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row()? {
            rows.push((row.origin.position, row.text()?.to_owned()));
        }
        Ok(rows)
    }

    fn error(bytes: &[u8]) -> String {
        rows(bytes).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_numbered_as_an_editor_does() {
        let expected = vec![
            (Position::Line(2), "{\"a\":1}\r".into()),
            (Position::Line(4), "{}".into()),
        ];
        assert_eq!(rows(b"\xEF\xBB\xBF\n{\"a\":1}\r\n \n{}").unwrap(), expected);
    }

    #[test]
    fn array_elements_end_at_their_own_brace() {
        let nested = r#"{"a":[{"b":"}]\""}],"c":"\\"}"#;
        let file = format!(" [\n {nested} ,\n{{}}\n]\n");
        let expected = vec![
            (Position::Row(1), nested.into()),
            (Position::Row(2), "{}".into()),
        ];
        assert_eq!(rows(file.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn broken_files_are_named_with_the_row() {
        let cases: [(&[u8], &str); 10] = [
            (b"", "expected at least one preference row, got none in f"),
            (
                b" \n\t",
                "expected at least one preference row, got none in f",
            ),
            (b"[", "expected at least one preference row, got none in f"),
            (
                b"[{}",
                "f, row 1: expected `]` at the end of the array, got the end of the file",
            ),
            (b"[{} {}]", "f, row 1: expected `,` or `]` after the row"),
            (b"[{},]", "f, row 2: expected an object"),
            (b"[3]", "f, row 1: expected an object"),
            (
                b"[{\"a\":\"}",
                "f, row 1: expected the end of the row, got the end of the file",
            ),
            (
                b"[{}] x",
                "f, row 1: expected the end of the file after `]`, got more text",
            ),
            (
                b"{}\n{\"a\":\"\xff\"}",
                "f, line 2: expected UTF-8 text, got an invalid byte at offset 9 of the file",
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(error(bytes), expected);
        }
    }

    #[test]
    fn an_endless_row_is_refused_at_the_limit() {
        for start in ["{", "[{\""] {
            let endless = start.as_bytes().chain(BufReader::new(io::repeat(b'x')));
            let mut reader = RowReader::new(Path::new("f"), endless).unwrap();
            assert!(
                matches!(
                    reader.next_row(),
                    Err(DataError::RowTooLong {
                        limit: MAX_LINE_BYTES,
                        ..
                    })
                ),
                "{start}"
            );
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_read() {
        let mut file = vec![b'x'; MAX_LINE_BYTES];
        file.extend(b"\n{}");
        assert_eq!(rows(&file).unwrap().len(), 2);
    }
}
