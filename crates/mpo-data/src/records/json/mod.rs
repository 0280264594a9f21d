//! The rows of a JSON file, one at a time, never the whole file: the lines of JSONL, or the objects of an array, be it
//! the file itself or under a key.

mod keyed;
mod nesting;
mod object;
mod raw;
mod repair;
mod shape;

use std::io::{BufRead, Cursor, Read};
use std::path::{Path, PathBuf};

use super::{Record, Selection};
use crate::error::DataError;
use crate::pair::{Origin, Position};
use keyed::{is_one_object_of_rows, keys_with_rows};
use nesting::Nesting;
use raw::RawRow;

/// The longest row that is read: 16 MiB.
pub const MAX_LINE_BYTES: usize = 16 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Lines,
    /// Objects one after another, each over several lines.
    Objects,
    /// An array that is the file.
    Array,
    /// An array under a key, with other keys after it.
    Keyed,
    Finished,
}

/// Reads rows from `source`. After an error of one row the next can be read; any other ends the file.
pub(crate) struct RowReader<'a> {
    file: PathBuf,
    source: Box<dyn BufRead + 'a>,
    layout: Layout,
    /// Lines passed, or rows of the array passed.
    count: usize,
    offset: u64,
    /// Within a row that was too long, whose rest is yet to be skipped.
    within: Option<Nesting>,
}

impl<'a> RowReader<'a> {
    /// Looks at the first bytes: `[` opens an array, `{` an object that is the file and holds the rows under a key, or is
    /// the first line of JSONL, as is anything else.
    pub(crate) fn new(
        file: &Path,
        source: Box<dyn BufRead + 'a>,
        selection: &Selection<'_>,
    ) -> Result<Self, DataError> {
        let mut reader = Self { file: file.into(), source, layout: Layout::Lines, count: 0, offset: 0, within: None };
        let lines = reader.skip_whitespace()?;
        match reader.peek()? {
            None => return Err(DataError::Empty(reader.file)),
            Some(b'[') => {
                reader.consume(1);
                reader.layout = Layout::Array;
            }
            Some(b'{') => match reader.rows_under_a_key(selection)? {
                Some(start) => {
                    reader.consume_from_start(start)?;
                    reader.layout = Layout::Keyed;
                }
                None if reader.is_spread_over_lines()? => reader.layout = Layout::Objects,
                None => reader.count = lines,
            },
            Some(_) => reader.count = lines,
        }
        Ok(reader)
    }

    /// Whether these rows lie under a key of the object that is the file.
    pub(crate) fn are_under_a_key(&self) -> bool {
        self.layout == Layout::Keyed
    }

    /// Looks into the object that the file begins with, as far as one row may reach, for a key with rows under it; the
    /// offset after its `[`.
    fn rows_under_a_key(&mut self, selection: &Selection<'_>) -> Result<Option<usize>, DataError> {
        let mut head = Vec::new();
        let source = &mut self.source;
        let mut start = source.by_ref().take(MAX_LINE_BYTES as u64);
        start.read_to_end(&mut head).map_err(|source| io_error(&self.file, source))?;
        let keys = if is_one_object_of_rows(&head, selection) { keys_with_rows(&head, selection) } else { vec![] };
        if keys.is_empty()
            && head.len() < MAX_LINE_BYTES
            && let Some((what, hint)) = shape::of_no_rows(&head)
        {
            return Err(DataError::NotRows { path: self.file.clone(), what, hint });
        }
        let rest = std::mem::replace(&mut self.source, Box::new(std::io::empty()));
        self.source = Box::new(Cursor::new(head).chain(rest));
        if keys.is_empty() {
            return Ok(None);
        }
        let names = keys.iter().map(|(key, _)| key.as_str());
        let key = selection.choose(&self.file, names)?;
        Ok(keys.into_iter().find(|(of, _)| *of == key).map(|(_, at)| at))
    }

    /// Whether the first line is a bracket alone, as where JSON is indented.
    fn is_spread_over_lines(&mut self) -> Result<bool, DataError> {
        let buffer = self.buffer()?;
        let line = buffer.split(|byte| *byte == b'\n').next();
        Ok(line.is_some_and(|line| line.trim_ascii() == b"{") && buffer.contains(&b'\n'))
    }

    /// The next row, parsed.
    pub(crate) fn next_record(&mut self) -> Option<Result<Record, DataError>> {
        match self.next_row() {
            Ok(row) => row.map(RawRow::record),
            Err(error) => Some(Err(error)),
        }
    }

    fn next_row(&mut self) -> Result<Option<RawRow>, DataError> {
        let row = match self.layout {
            Layout::Lines => self.next_line(),
            Layout::Objects => self.next_object(),
            Layout::Array | Layout::Keyed => self.next_element(),
            Layout::Finished => Ok(None),
        };
        if row.as_ref().is_err_and(|error| !error.is_of_row()) {
            self.layout = Layout::Finished;
        }
        row
    }

    fn next_line(&mut self) -> Result<Option<RawRow>, DataError> {
        if self.within.take().is_some() {
            self.skip_line()?;
        }
        let mut blank = 0;
        loop {
            let mut bytes = Vec::new();
            let offset = self.offset;
            // One byte for the line break and one to tell a line of the greatest length from a longer one.
            let mut line = self.source.by_ref().take(MAX_LINE_BYTES as u64 + 2);
            let read = line.read_until(b'\n', &mut bytes).map_err(|source| io_error(&self.file, source))?;
            if read == 0 {
                return Ok(None);
            }
            self.offset += read as u64;
            self.count += 1;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            } else if bytes.len() > MAX_LINE_BYTES {
                self.within = Some(Nesting::default());
            }
            if bytes.len() > MAX_LINE_BYTES {
                return Err(self.too_long());
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(RawRow { origin: self.origin(), bytes, offset }));
            }
            blank += read;
            self.check_blank(blank)?;
        }
    }

    fn skip_line(&mut self) -> Result<(), DataError> {
        loop {
            let buffer = self.buffer()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.consume(used);
            if end.is_some() || used == 0 {
                return Ok(());
            }
        }
    }

    fn next_object(&mut self) -> Result<Option<RawRow>, DataError> {
        if let Some(nesting) = self.within.take() {
            self.take_object(nesting, false)?;
        }
        self.skip_whitespace()?;
        let next = self.peek()?;
        self.count += usize::from(next.is_some());
        match next {
            None => Ok(None),
            Some(b'{') => self.take_object(Nesting::default(), true),
            Some(_) => Err(self.broken("expected an object")),
        }
    }

    fn next_element(&mut self) -> Result<Option<RawRow>, DataError> {
        if let Some(nesting) = self.within.take() {
            self.take_object(nesting, false)?;
        }
        self.skip_whitespace()?;
        let first = self.count == 0;
        match self.peek()? {
            Some(b']') => {
                self.consume(1);
                let is_file = self.layout == Layout::Array;
                self.layout = Layout::Finished;
                self.skip_whitespace()?;
                return match self.peek()? {
                    Some(_) if is_file => Err(self.broken("expected the end of the file after `]`, got more text")),
                    _ => Ok(None),
                };
            }
            Some(b',') if !first => {
                self.consume(1);
                self.skip_whitespace()?;
            }
            Some(_) if first => {}
            Some(_) => return Err(self.broken("expected `,` or `]` after the row")),
            None => {
                return Err(self.broken("expected `]` at the end of the array, got the end of the file"));
            }
        }
        self.count += 1;
        match self.peek()? {
            Some(b'{') => return self.take_object(Nesting::default(), true),
            Some(b']') => {
                return Err(self.broken("expected a row after the last `,`, got `]`: take that comma out"));
            }
            Some(b'[' | b'"') => self.within = Some(Nesting::default()),
            _ => self.skip_scalar()?,
        }
        Err(DataError::row(&self.origin(), "expected an object"))
    }

    /// Skips a number or a word.
    fn skip_scalar(&mut self) -> Result<(), DataError> {
        while let Some(byte) = self.peek()?
            && !matches!(byte, b',' | b']' | b'{' | b'[' | b'"')
        {
            self.consume(1);
        }
        Ok(())
    }

    /// Takes from `{` to its match. Only brackets and strings are looked at; the JSON parser judges the rest.
    fn take_object(&mut self, mut nesting: Nesting, keep: bool) -> Result<Option<RawRow>, DataError> {
        let offset = self.offset;
        let mut bytes = Vec::new();
        loop {
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                return Err(self.broken("expected the end of the row, got the end of the file"));
            }
            let end = buffer.iter().position(|byte| nesting.ends_with(*byte));
            let used = end.map_or(buffer.len(), |end| end + 1);
            if keep {
                bytes.extend_from_slice(&buffer[..used]);
            }
            self.consume(used);
            if bytes.len() > MAX_LINE_BYTES {
                self.within = end.is_none().then_some(nesting);
                return Err(self.too_long());
            }
            if end.is_some() {
                return Ok(Some(RawRow { origin: self.origin(), bytes, offset }));
            }
        }
    }

    /// Skips white space and returns how many line breaks are in it.
    fn skip_whitespace(&mut self) -> Result<usize, DataError> {
        let (mut lines, mut blank) = (0, 0);
        while let Some(byte) = self.peek()?.filter(u8::is_ascii_whitespace) {
            lines += usize::from(byte == b'\n');
            self.consume(1);
            blank += 1;
            self.check_blank(blank)?;
        }
        Ok(lines)
    }

    /// A compressed file of a few kilobytes may hold gigabytes of blank lines.
    fn check_blank(&mut self, blank: usize) -> Result<(), DataError> {
        if blank > MAX_LINE_BYTES {
            Err(self.broken("expected a row, got more blank space than a row may take"))
        } else {
            Ok(())
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        Ok(self.buffer()?.first().copied())
    }

    fn buffer(&mut self) -> Result<&[u8], DataError> {
        self.source.fill_buf().map_err(|source| io_error(&self.file, source))
    }

    fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.offset += bytes as u64;
    }

    /// Consumes bytes that were looked at before.
    fn consume_from_start(&mut self, bytes: usize) -> Result<(), DataError> {
        let mut left = bytes;
        while left > 0 {
            let step = self.buffer()?.len().min(left);
            self.consume(step);
            left -= step;
        }
        Ok(())
    }

    /// The row or line that was read last.
    fn origin(&self) -> Origin {
        let position = match self.layout {
            Layout::Lines => Position::Line(self.count),
            Layout::Objects | Layout::Array | Layout::Keyed | Layout::Finished => Position::Row(self.count),
        };
        Origin { file: self.file.clone(), position }
    }

    /// A broken array or object: where the next row begins cannot be told.
    fn broken(&mut self, problem: &'static str) -> DataError {
        match self.count {
            0 => DataError::Empty(self.file.clone()),
            _ => DataError::Broken { origin: self.origin(), problem },
        }
    }

    fn too_long(&self) -> DataError {
        DataError::RowTooLong { origin: self.origin(), limit: MAX_LINE_BYTES }
    }
}

fn io_error(file: &Path, source: std::io::Error) -> DataError {
    DataError::Io { path: file.into(), source }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader};

    use super::*;

    /// Rows under a key are those with an `a`.
    fn reader<'a>(source: impl BufRead + 'a) -> Result<RowReader<'a>, DataError> {
        let selection = Selection { split: None, is_row: &|fields| fields.contains_key("a") };
        RowReader::new(Path::new("f"), Box::new(source), &selection)
    }

    fn rows(bytes: &[u8]) -> Result<Vec<(Position, String)>, DataError> {
        let mut reader = reader(bytes)?;
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
        let expected = vec![(Position::Line(2), "{\"a\":1}\r".into()), (Position::Line(4), "{}".into())];
        assert_eq!(rows(b"\n{\"a\":1}\r\n \n{}").unwrap(), expected);
    }

    #[test]
    fn array_elements_end_at_their_own_brace() {
        let nested = r#"{"a":[{"b":"}]\""}],"c":"\\"}"#;
        let file = format!(" [\n {nested} ,\n{{}}\n]\n");
        let expected = vec![(Position::Row(1), nested.into()), (Position::Row(2), "{}".into())];
        assert_eq!(rows(file.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn broken_files_are_named_with_the_row() {
        let cases: [(&[u8], &str); 10] = [
            (b"", "expected at least one preference row, got none in f"),
            (b" \n\t", "expected at least one preference row, got none in f"),
            (b"[", "expected at least one preference row, got none in f"),
            (b"[{}", "f, row 1: expected `]` at the end of the array, got the end of the file"),
            (b"[{} {}]", "f, row 1: expected `,` or `]` after the row"),
            (b"[{},]", "f, row 2: expected a row after the last `,`, got `]`: take that comma out"),
            (b"[3]", "f, row 1: expected an object"),
            (b"[{\"a\":\"}", "f, row 1: expected the end of the row, got the end of the file"),
            (b"[{}] x", "f, row 1: expected the end of the file after `]`, got more text"),
            (b"{}\n{\"a\":\"\xff\"}", "f, line 2: expected UTF-8 text, got an invalid byte at offset 9 of the file"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(error(bytes), expected);
        }
    }

    #[test]
    fn blank_space_without_end_is_refused() {
        for start in ["{}\n", "[{}", "{\"data\": [{\"a\":1}", "{\n}\n"] {
            let endless = start.as_bytes().chain(BufReader::new(io::repeat(b'\n')));
            let mut reader = reader(endless).unwrap();
            assert!(reader.next_row().unwrap().is_some());
            let error = reader.next_row().err().unwrap().to_string();
            assert!(error.contains("more blank space"), "{start}: {error}");
            assert!(reader.next_row().unwrap().is_none());
        }
    }

    #[test]
    fn what_stands_between_rows_is_named() {
        for (file, expected) in [
            ("{\"a\":1}{\"a\":2}", "`jq -c . FILE`"),
            ("\x1e{\"a\":1}\n", "record separator"),
            ("[{\"a\":1},]", "take that comma out"),
        ] {
            let found = all(file.as_bytes());
            assert!(found.last().unwrap().contains(expected), "{found:?}");
        }
    }

    #[test]
    fn a_row_over_several_lines_is_an_error_that_names_a_remedy() {
        let errors = all(b"{\"a\": 1,\n\"b\": 2}\n");
        assert!(errors[0].contains("`jq -c . FILE`"), "{errors:?}");
    }

    #[test]
    fn an_endless_row_is_refused_at_the_limit() {
        for start in ["{", "[{\""] {
            let endless = start.as_bytes().chain(BufReader::new(io::repeat(b'x')));
            let mut reader = reader(endless).unwrap();
            assert!(matches!(reader.next_row(), Err(DataError::RowTooLong { limit: MAX_LINE_BYTES, .. })), "{start}");
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_read() {
        let mut file = vec![b'x'; MAX_LINE_BYTES];
        file.extend(b"\n{}");
        assert_eq!(rows(&file).unwrap().len(), 2);
    }

    /// What a reader that goes on after bad rows finds: `a` of each row, or what is wrong.
    fn all(bytes: &[u8]) -> Vec<String> {
        let mut reader = reader(bytes).unwrap();
        let next = || reader.next_record();
        std::iter::from_fn(next)
            .map(|record| match record {
                Ok(record) => record.fields["a"].to_string(),
                Err(error) => error.to_string(),
            })
            .collect()
    }

    #[test]
    fn rows_lie_under_a_key() {
        for file in [
            r#"{"version": "1", "data": [{"a":1},{"a":2}], "n": 2}"#,
            "{\n  \"notes\": [\"x\", {\"a\": 0}],\n  \"rows\": [\n {\"a\": 1},\n {\"a\": 2}\n ]\n}\n",
            r#"{"test": [{"a":9}], "train": [{"a":1},{"a":2}]}"#,
            r#"{"s": NaN, "data": [{"a":1, "s": NaN},{"a":2}]}"#,
        ] {
            assert_eq!(all(file.as_bytes()), ["1", "2"], "{file}");
        }
        // The first row of JSONL has lists of objects too.
        let lines = "{\"a\":1,\"b\":[{\"c\":1}]}\n{\"a\":2}\n";
        assert_eq!(all(lines.as_bytes()), ["1", "2"]);
        // Lines that hold rows are no rows, and a row may hold others.
        for (file, expected) in [
            ("{\"a\":1,\"b\":[{\"a\":8}]}\n{\"a\":2,\"b\":[{\"a\":9}]}\n", &["1", "2"][..]),
            ("{\"a\":1,\"b\":[{\"a\":8}]}\n", &["1"]),
            ("{\n\"a\":1,\"b\":[{\"a\":8}]\n}\n{\"a\":2}", &["1", "2"]),
        ] {
            assert_eq!(all(file.as_bytes()), expected, "{file}");
        }
        let listed = "{\"b\":[{\"a\":1}]}\n{\"b\":[{\"a\":2}]}\n";
        assert_eq!(rows(listed.as_bytes()).unwrap().len(), 2);
        let error = error(br#"{"test": [{"a":9}], "dev": [{"a":1}]}"#);
        assert_eq!(error, "f: expected a split `train`, got `test`, `dev`");
    }

    #[test]
    fn objects_are_spread_over_lines() {
        let file = "{\n  \"a\": 1\n}\n{\n  \"a\": {\"b\": \"}\"}\n}\n{\n \"a\": }\n{\"a\": 3}\nx";
        let expected = [
            "1",
            "{\"b\":\"}\"}",
            "f, row 3: expected value (line 2 of the row, column 7)",
            "3",
            "f, row 5: expected an object",
        ];
        assert_eq!(all(file.as_bytes()), expected);
    }

    #[test]
    fn a_bad_row_costs_itself_alone() {
        let long = format!("{{\"a\":\"{}\"}}", "x[".repeat(MAX_LINE_BYTES / 2));
        for (open, between, close) in [("", "\n", "\n"), ("[", ",", "]"), ("{\"data\":[", ",", "]}")] {
            let rows = [
                r#"{"a":1}"#,
                &long,
                r#"{"a":2}"#,
                r#"{"a":}"#,
                r#"{"a":NaN}"#,
                "[[1],\"]\"]",
                "3",
                "\"a,b\"",
                r#"{"a":"\ud83d"}"#,
            ];
            let found = all(format!("{open}{}{close}", rows.join(between)).as_bytes());
            let shown: Vec<&str> = found
                .iter()
                .map(|found| match found {
                    error if error.starts_with("f, ") => "bad",
                    value => value,
                })
                .collect();
            let expected = ["1", "bad", "2", "bad", "null", "bad", "bad", "bad", "\"\u{FFFD}\""];
            assert_eq!(shown, expected, "{open}");
        }
    }
}
