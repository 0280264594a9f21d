//! Values as Python writes them: `str()`, `repr()`, and Transformers' `tojson`.

use std::fmt::Write;
use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::characters::is_printable;
use super::generator::is_generator;

/// How deep lists in lists are written; Python's own limit is near a thousand.
const MAX_DEPTH: usize = 200;
/// Bytes of a value that is written: far more than any prompt, far less than memory.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Spaces of indentation, and of the width of a field.
pub(super) const MAX_WIDTH: usize = 10_000;

pub(super) fn error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// A method of a map that is named and not called. In Python it is there, is true, and is no field.
#[derive(Debug)]
pub(super) struct Method(pub(super) String);

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// What `repr(value)` is.
pub(super) fn repr_of(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    repr(&mut text, value, 0)?;
    Ok(text)
}

/// What `str(value)` is, and so what `{{ value }}` writes.
pub(super) fn text_of(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.into());
    }
    if value.is_undefined() {
        return Ok(String::new());
    }
    repr_of(value)
}

/// Writes `repr(value)`.
fn repr(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    check(out, depth)?;
    if is_generator(value) {
        return Err(error(
            "what map, select and the like give has no text of its own: expected `| list` or `| join` behind it",
        ));
    }
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => number(out, value),
        ValueKind::String => quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            let mut length = 0;
            for item in value.try_iter()? {
                if length > 0 {
                    out.push_str(", ");
                }
                repr(out, &item, depth + 1)?;
                length += 1;
            }
            if value.is_tuple() && length == 1 {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                repr(out, &key, depth + 1)?;
                out.push_str(": ");
                repr(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        kind => {
            // In Python an address would be written.
            return Err(match value.downcast_object_ref::<Method>() {
                Some(Method(name)) => error(format!(
                    "`.{name}` is a method of Python's maps and has no text of its own: expected `.{name}()`, or ['{name}'] for \
                     the field"
                )),
                None => error(format!("a value of type {kind} has no text of its own")),
            });
        }
    }
    Ok(())
}

fn check(out: &str, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(error(format!("cannot write a value of lists in lists more than {MAX_DEPTH} deep")));
    }
    if out.len() > MAX_BYTES {
        Err(error(format!("cannot write a value of more than {MAX_BYTES} bytes")))
    } else {
        Ok(())
    }
}

fn number(out: &mut String, value: &Value) {
    if value.is_integer() {
        _ = write!(out, "{value}");
        return;
    }
    let number = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    match number {
        nan if nan.is_nan() => out.push_str("nan"),
        infinite if infinite.is_infinite() => {
            out.push_str(if infinite > 0.0 { "inf" } else { "-inf" });
        }
        zero if zero == 0.0 => out.push_str(if zero.is_sign_negative() { "-0.0" } else { "0.0" }),
        // Python writes exponents of two digits at least, from 1e16 on and below 1e-4.
        number if !(1e-4..1e16).contains(&number.abs()) => {
            let text = format!("{number:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            _ = write!(out, "{digits}e{sign}{exponent:0>2}");
        }
        number => _ = write!(out, "{number:?}"),
    }
}

/// A text in the quotes that Python would choose.
fn quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for next in text.chars() {
        match next {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            next if next == quote => {
                out.push('\\');
                out.push(next);
            }
            next if is_printable(next) => out.push(next),
            next => {
                _ = match u32::from(next) {
                    code @ ..0x100 => write!(out, "\\x{code:02x}"),
                    code @ ..0x1_0000 => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Transformers' filter: `json.dumps(value, ensure_ascii, indent, separators, sort_keys)`.
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let ensure_ascii = ensure_ascii.or(options.get("ensure_ascii")?);
    let ensure_ascii = ensure_ascii.is_some_and(|value| value.is_true());
    let indent = match indent.or(options.get("indent")?) {
        None => None,
        Some(none) if none.is_none() => None,
        Some(text) if text.as_str().is_some() => Some(text_of(&text)?),
        Some(spaces) => {
            let spaces = i64::try_from(spaces)?.max(0) as usize;
            if spaces > MAX_WIDTH {
                return Err(error(format!("tojson: expected an indent of at most {MAX_WIDTH}, got {spaces}")));
            }
            Some(" ".repeat(spaces))
        }
    };
    let separators: Option<Value> = options.get("separators")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let (item, key) = match separators.filter(|separators| !separators.is_none()) {
        Some(separators) => {
            let part = |index| text_of(&separators.get_item_by_index(index)?);
            (part(0)?, part(1)?)
        }
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let json = Json { ensure_ascii, indent, item, key, sort_keys: sort_keys.unwrap_or(false) };
    let mut out = String::new();
    json.write(&mut out, value, 0)?;
    // A byte that is serialized costs more than one that is copied.
    state.consume_fuel(out.len() as u64 / 16)?;
    Ok(out)
}

struct Json {
    ensure_ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

impl Json {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        check(out, depth)?;
        if is_generator(value) {
            return Err(error("what map, select and the like give has no JSON: expected `| list` before `| tojson`"));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => {
                let mut text = String::new();
                number(&mut text, value);
                out.push_str(match &*text {
                    "nan" => "NaN",
                    "inf" => "Infinity",
                    "-inf" => "-Infinity",
                    text => text,
                });
            }
            ValueKind::String => self.text(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?;
                self.all(out, ('[', ']'), depth, items, |out, item| self.write(out, &item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.all(out, ('{', '}'), depth, keys.into_iter(), |out, key| {
                    match key.as_str() {
                        Some(key) => self.text(out, key),
                        None => {
                            let mut text = String::new();
                            self.write(&mut text, &key, depth + 1)?;
                            self.text(out, &text);
                        }
                    }
                    out.push_str(&self.key);
                    self.write(out, &value.get_item(&key)?, depth + 1)
                })?;
            }
            kind => return Err(error(format!("tojson: a value of type {kind} has no JSON"))),
        }
        Ok(())
    }

    fn all(
        &self,
        out: &mut String,
        (open, close): (char, char),
        depth: usize,
        items: impl Iterator<Item = Value>,
        mut write: impl FnMut(&mut String, Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        let mut empty = true;
        for item in items {
            if !empty {
                out.push_str(&self.item);
            }
            empty = false;
            self.line(out, depth + 1);
            write(out, item)?;
        }
        if !empty {
            self.line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push('"');
        for next in text.chars() {
            match next {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                next if next < ' ' => _ = write!(out, "\\u{:04x}", u32::from(next)),
                next if self.ensure_ascii && next > '~' => {
                    for unit in next.encode_utf16(&mut [0; 2]) {
                        _ = write!(out, "\\u{unit:04x}");
                    }
                }
                next => out.push(next),
            }
        }
        out.push('"');
    }
}
