//! Python's `format % values`.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use super::python::{MAX_WIDTH, error, repr_of, text_of};

/// `format % values` of a text, and what `%` is of numbers.
pub(super) fn percent(state: &State<'_, '_>, left: &Value, right: &Value) -> Result<Value, Error> {
    let Some(format) = left.as_str() else {
        return remainder(left, right);
    };
    let text = write(format, right)?;
    state.consume_fuel(text.len() as u64 / 16)?;
    Ok(text.into())
}

/// The remainder, of the divisor's sign.
fn remainder(left: &Value, right: &Value) -> Result<Value, Error> {
    let whole = |value: &Value| {
        let is_whole = value.is_integer() || value.kind() == ValueKind::Bool;
        i64::try_from(value.clone()).ok().filter(|_| is_whole)
    };
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        let rest = left.checked_rem(right).ok_or_else(|| error("the remainder of a division by 0"))?;
        return Ok(if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }.into());
    }
    match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
        (Ok(_), Ok(0.0)) => Err(error("the remainder of a division by 0")),
        (Ok(left), Ok(right)) => Ok((left - right * (left / right).floor()).into()),
        _ => Err(error(format!("expected a text or numbers around %, got {} and {}", left.kind(), right.kind()))),
    }
}

/// What is between `%` and its letter.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// The values that a format has yet to write.
struct Values<'v> {
    all: &'v Value,
    /// Those of a tuple; else the one.
    list: std::vec::IntoIter<Value>,
}

impl Values<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        self.list.next().ok_or_else(|| error("%: expected a value for every place of the format, got fewer"))
    }

    fn number(&mut self) -> Result<i64, Error> {
        let value = self.next()?;
        i64::try_from(value).map_err(|_| error("%: expected a whole number for `*`"))
    }
}

fn write(format: &str, values: &Value) -> Result<String, Error> {
    let list = if values.is_tuple() { values.try_iter()?.collect() } else { vec![values.clone()] };
    let mut values = Values { all: values, list: list.into_iter() };
    let mut out = String::new();
    let mut rest = format.chars().peekable();
    let mut by_name = false;
    while let Some(next) = rest.next() {
        match next {
            '%' => by_name |= place(&mut out, &mut rest, &mut values)?,
            next => out.push(next),
        }
    }
    // As in Python, a map or a list may be left over.
    let may_stay = by_name || matches!(values.all.kind(), ValueKind::Map | ValueKind::Seq) && !values.all.is_tuple();
    match values.list.next() {
        Some(_) if !may_stay => Err(error("%: expected a place for every value, got more values")),
        _ => Ok(out),
    }
}

/// Writes what stands at one `%`. True if it named its value.
fn place(out: &mut String, rest: &mut Peekable<Chars<'_>>, values: &mut Values<'_>) -> Result<bool, Error> {
    let mut named = None;
    if rest.next_if_eq(&'(').is_some() {
        let mut name = String::new();
        let mut open = 1;
        for next in rest.by_ref() {
            open += i32::from(next == '(') - i32::from(next == ')');
            if open == 0 {
                break;
            }
            name.push(next);
        }
        if values.all.kind() != ValueKind::Map {
            return Err(error("%: expected a map for a format with names"));
        }
        let value = values.all.get_item(&Value::from(name.as_str()))?;
        if value.is_undefined() {
            return Err(error(format!("%: expected a value named `{name}`, got none")));
        }
        named = Some(value);
    }
    let mut spec = Spec::default();
    while let Some(flag) = rest.next_if(|next| "-0+ #".contains(*next)) {
        match flag {
            '-' => spec.left = true,
            '0' => spec.zero = true,
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            _ => spec.alternate = true,
        }
    }
    if rest.next_if_eq(&'*').is_some() {
        let width = values.number()?;
        spec.left |= width < 0;
        spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    } else {
        spec.width = digits(rest);
    }
    if rest.next_if_eq(&'.').is_some() {
        spec.precision = Some(match rest.next_if_eq(&'*') {
            Some(_) => usize::try_from(values.number()?).unwrap_or(0),
            None => digits(rest),
        });
    }
    let longest = spec.width.max(spec.precision.unwrap_or(0));
    if longest > MAX_WIDTH {
        return Err(error(format!("%: expected a width of at most {MAX_WIDTH}, got {longest}")));
    }
    while rest.next_if(|next| "hlL".contains(*next)).is_some() {}
    let kind = rest.next().ok_or_else(|| error("%: the format ends within a place"))?;
    if kind == '%' {
        out.push('%');
        return Ok(named.is_some());
    }
    let is_named = named.is_some();
    let value = match named {
        Some(value) => value,
        None => values.next()?,
    };
    pad(out, &spec, &written(kind, &spec, &value)?);
    Ok(is_named)
}

fn digits(rest: &mut Peekable<Chars<'_>>) -> usize {
    let mut number = 0_usize;
    while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
        number = number.saturating_mul(10).saturating_add(digit as usize);
        rest.next();
    }
    number
}

/// A value as written, its sign apart; no sign for what is no number.
struct Written {
    sign: Option<String>,
    text: String,
}

fn pad(out: &mut String, spec: &Spec, written: &Written) {
    let sign = written.sign.as_deref().unwrap_or_default();
    let length = sign.chars().count() + written.text.chars().count();
    let missing = spec.width.saturating_sub(length);
    let (before, zeros, behind) = match (spec.left, spec.zero && written.sign.is_some()) {
        (true, _) => (0, 0, missing),
        (false, true) => (0, missing, 0),
        (false, false) => (missing, 0, 0),
    };
    out.extend(std::iter::repeat_n(' ', before));
    out.push_str(sign);
    out.extend(std::iter::repeat_n('0', zeros));
    out.push_str(&written.text);
    out.extend(std::iter::repeat_n(' ', behind));
}

fn written(kind: char, spec: &Spec, value: &Value) -> Result<Written, Error> {
    let cut = |text: String| {
        let text = match spec.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        Ok(Written { sign: None, text })
    };
    match kind {
        's' => cut(text_of(value)?),
        'r' => cut(repr_of(value)?),
        'a' => cut(ascii(&repr_of(value)?)),
        'c' => match (value.as_str(), u32::try_from(value.clone()).ok().and_then(char::from_u32)) {
            (Some(text), _) if text.chars().count() == 1 => cut(text.into()),
            (None, Some(c)) => cut(c.into()),
            _ => Err(error("%c: expected a character or its number")),
        },
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => whole(kind, spec, value),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => real(kind, spec, value),
        kind => Err(error(format!("expected a known place of a format, got `%{kind}`"))),
    }
}

fn sign(spec: &Spec, negative: bool) -> String {
    match negative {
        true => "-",
        false if spec.plus => "+",
        false if spec.space => " ",
        false => "",
    }
    .into()
}

fn whole(kind: char, spec: &Spec, value: &Value) -> Result<Written, Error> {
    let is_whole = value.is_integer() || value.kind() == ValueKind::Bool;
    let number = match (is_whole, value.is_number()) {
        (true, _) => i128::try_from(value.clone())?,
        (false, true) if matches!(kind, 'd' | 'i' | 'u') => f64::try_from(value.clone())? as i128,
        _ => {
            return Err(error(format!("%{kind}: expected a number, got {}", value.kind())));
        }
    };
    let size = number.unsigned_abs();
    let (prefix, text) = match kind {
        'x' => ("0x", format!("{size:x}")),
        'X' => ("0X", format!("{size:X}")),
        'o' => ("0o", format!("{size:o}")),
        _ => ("", size.to_string()),
    };
    let mut sign = sign(spec, number < 0);
    if spec.alternate {
        sign += prefix;
    }
    let least = spec.precision.unwrap_or(0);
    Ok(Written { sign: Some(sign), text: format!("{text:0>least$}") })
}

fn real(kind: char, spec: &Spec, value: &Value) -> Result<Written, Error> {
    let number = match value.kind() {
        ValueKind::Number => f64::try_from(value.clone())?,
        ValueKind::Bool => f64::from(u8::from(value.is_true())),
        other => return Err(error(format!("%{kind}: expected a number, got {other}"))),
    };
    let (size, precision) = (number.abs(), spec.precision.unwrap_or(6));
    let text = match kind.to_ascii_lowercase() {
        _ if size.is_nan() => "nan".into(),
        _ if size.is_infinite() => "inf".into(),
        'f' => format!("{size:.precision$}"),
        'e' => scientific(size, precision),
        _ => {
            let digits = precision.max(1);
            let text = scientific(size, digits - 1);
            let exponent: i64 = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
            match usize::try_from(digits as i64 - 1 - exponent) {
                Ok(decimals) if exponent >= -4 => shortened(&format!("{size:.decimals$}"), spec),
                _ => {
                    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
                    format!("{}e{exponent}", shortened(digits, spec))
                }
            }
        }
    };
    Ok(Written {
        sign: Some(sign(spec, number.is_sign_negative() && !number.is_nan())),
        text: if kind.is_ascii_uppercase() { text.to_uppercase() } else { text },
    })
}

/// Digits, and an exponent of a sign and two digits at least.
fn scientific(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

/// Digits without zeros at the end of their fraction.
fn shortened(digits: &str, spec: &Spec) -> String {
    if digits.contains('.') && !spec.alternate {
        digits.trim_end_matches('0').trim_end_matches('.').into()
    } else {
        digits.into()
    }
}

fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for next in text.chars() {
        _ = match u32::from(next) {
            0..0x80 => out.write_char(next),
            code @ ..0x100 => write!(out, "\\x{code:02x}"),
            code @ ..0x1_0000 => write!(out, "\\u{code:04x}"),
            code => write!(out, "\\U{code:08x}"),
        };
    }
    out
}
