//! One row's bytes, and what they say.

use super::object::Object;
use super::repair::repair;
use crate::error::DataError;
use crate::pair::{Origin, Position};
use crate::records::Record;

/// The bytes of one row, not yet known to be text.
pub(super) struct RawRow {
    pub(super) origin: Origin,
    pub(super) bytes: Vec<u8>,
    /// Of its first byte, from the start of the file.
    pub(super) offset: u64,
}

impl RawRow {
    pub(super) fn text(&self) -> Result<&str, DataError> {
        str::from_utf8(&self.bytes).map_err(|error| DataError::InvalidUtf8 {
            origin: self.origin.clone(),
            offset: self.offset.saturating_add(error.valid_up_to() as u64),
        })
    }

    /// The row's fields. What Python writes and JSON has not is read only where the strict parser has failed.
    pub(super) fn record(self) -> Result<Record, DataError> {
        let text = self.text()?;
        let (Object(fields), surrogates) = match serde_json::from_str(text) {
            Ok(object) => (object, 0),
            Err(error) => {
                let repaired = repair(text).ok_or_else(|| self.malformed(&error))?;
                let object = serde_json::from_str(&repaired.text);
                let object = object.map_err(|error| self.malformed(&error))?;
                (object, repaired.surrogates)
            }
        };
        Ok(Record { origin: self.origin, fields, surrogates })
    }

    /// The parser counts lines from the start of the row, which would be taken for those of the file.
    fn malformed(&self, error: &serde_json::Error) -> DataError {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let place = match error.line() {
            0 => String::new(),
            1 => format!(" (column {})", error.column()),
            line => format!(" (line {line} of the row, column {})", error.column()),
        };
        let advice = match self.origin.position {
            Position::Line(_) if error.is_eof() => {
                "; the line is cut short, or a row is over several lines: `jq -c . FILE` writes each in one"
            }
            Position::Line(_) if message == "trailing characters" => {
                "; the line has more after the row: `jq -c . FILE` writes each value in a line of its own"
            }
            Position::Line(_) if self.bytes.starts_with(b"\x1e") => {
                "; the line begins with a record separator (RFC 7464): `tr -d '\\036' < FILE` takes them out"
            }
            _ => "",
        };
        DataError::row(&self.origin, format!("{message}{place}{advice}"))
    }
}
