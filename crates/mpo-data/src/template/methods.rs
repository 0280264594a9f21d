//! Methods of Python's texts and maps that templates call, beside those that the engine's collection has.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::characters::{is_decimal, is_digit, is_numeric, is_printable, titled};
use super::python::{MAX_WIDTH, Method, error, text_of};
use super::scan::{ATTRIBUTE, SET_ATTRIBUTE};

/// Calls a method that the engine itself lacks.
pub(super) fn call(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let ours = match value.kind() {
        _ if method == SET_ATTRIBUTE => {
            let message = format!("cannot set an attribute of a {}, only of a namespace", value.kind());
            return Err(error(message));
        }
        // A field that has the name of a method is not what Python finds there.
        ValueKind::Map if method == ATTRIBUTE => {
            let (name,): (&str,) = from_args(args)?;
            Some(Value::from_object(Method(name.into())))
        }
        _ if method == ATTRIBUTE => {
            let (name,): (&Value,) = from_args(args)?;
            Some(value.get_item(name)?)
        }
        ValueKind::String => of_text(state, value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Map if method == "copy" => Some(value.clone()),
        ValueKind::Seq if method == "copy" => Some(value.clone()),
        ValueKind::Seq if method == "index" => {
            let (what,): (Value,) = from_args(args)?;
            let at = value.try_iter()?.position(|item| item == what);
            Some(at.map(Value::from).ok_or_else(|| error("index: the value is not in the list"))?)
        }
        _ => None,
    };
    match ours {
        Some(result) => Ok(result),
        None => unknown_method_callback(state, value, method, args),
    }
}

/// None for a method that is not one of these.
fn of_text(state: &mut State<'_, '_>, text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let is_stripped = |c: char| match chars {
                Some(chars) => chars.contains(c),
                None => is_space(c),
            };
            let mut rest = text;
            if method != "rstrip" {
                rest = rest.trim_start_matches(is_stripped);
            }
            if method != "lstrip" {
                rest = rest.trim_end_matches(is_stripped);
            }
            rest.into()
        }
        "split" | "rsplit" => {
            let (separator, most, given): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(given.get("sep")?);
            let most = most.or(given.get("maxsplit")?);
            given.assert_all_used()?;
            let separator = separator.filter(|separator| !separator.is_none());
            let separator = separator.as_ref().map(text_of).transpose()?;
            let most = most.and_then(|most| usize::try_from(most).ok());
            let parts = split(text, separator.as_deref(), most, method == "rsplit")?;
            state.consume_fuel(parts.len() as u64)?;
            parts.into_iter().map(Value::from).collect()
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(error(format!("{method}: expected a separator, got an empty text")));
            }
            let parts = match method {
                "partition" => {
                    text.split_once(separator).map_or([text, "", ""], |(before, after)| [before, separator, after])
                }
                _ => text.rsplit_once(separator).map_or(["", "", text], |(before, after)| [before, separator, after]),
            };
            Tuple::from(parts.map(Value::from)).into()
        }
        "center" | "ljust" | "rjust" | "zfill" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            if width > MAX_WIDTH {
                return Err(too_wide(method, width));
            }
            let fill = if method == "zfill" { "0" } else { fill.unwrap_or(" ") };
            let missing = width.saturating_sub(text.chars().count());
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) if method == "zfill" => text.split_at(text.len() - digits.len()),
                _ => ("", text),
            };
            let left = match method {
                "ljust" => 0,
                // As Python does it where the sides cannot be equal.
                "center" => missing / 2 + (missing & width & 1),
                _ => missing,
            };
            let (before, after) = (fill.repeat(left), fill.repeat(missing - left));
            format!("{sign}{before}{digits}{after}").into()
        }
        "splitlines" => {
            let (keep_ends, given): (Option<bool>, Kwargs) = from_args(args)?;
            let keep_ends = keep_ends.or(given.get("keepends")?);
            given.assert_all_used()?;
            lines(text, keep_ends.unwrap_or(false)).map(Value::from).collect()
        }
        // From one character to another.
        "find" | "rfind" | "count" | "startswith" | "endswith" if args.len() > 1 => {
            let (what, start, end): (Value, i64, Option<i64>) = from_args(args)?;
            let length = text.chars().count() as i64;
            let at = |place: i64| if place < 0 { place + length } else { place };
            let start = at(start).clamp(0, length) as usize;
            let end = at(end.unwrap_or(length)).clamp(0, length) as usize;
            let part: String = text.chars().skip(start).take(end.saturating_sub(start)).collect();
            let found = Value::from(part).call_method(state, method, &[what])?;
            match found.as_i64() {
                Some(place) if place >= 0 && method.ends_with("find") => (place + start as i64).into(),
                _ => found,
            }
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let at = match method {
                "index" => text.find(what),
                _ => text.rfind(what),
            };
            let at = at.ok_or_else(|| error(format!("{method}: `{what}` is not in the text")))?;
            text[..at].chars().count().into()
        }
        "title" => {
            let mut after_letter = false;
            let mut title = String::with_capacity(text.len());
            for c in text.chars() {
                if after_letter {
                    title.extend(c.to_lowercase())
                } else {
                    title.extend(titled(c))
                }
                after_letter = c.is_alphabetic();
            }
            title.into()
        }
        "capitalize" => {
            let mut rest = text.chars();
            let first = rest.next().map(titled);
            let rest = rest.as_str().to_lowercase();
            let first: String = first.into_iter().flatten().collect();
            (first + &rest).into()
        }
        "casefold" => text.to_lowercase().replace('ß', "ss").replace('ς', "σ").into(),
        "swapcase" => text
            .chars()
            .flat_map(
                |c| if c.is_uppercase() { c.to_lowercase().collect::<Vec<_>>() } else { c.to_uppercase().collect() },
            )
            .collect::<String>()
            .into(),
        "isdecimal" => is_all(text, is_decimal),
        "isdigit" => is_all(text, is_digit),
        "isnumeric" => is_all(text, is_numeric),
        "isprintable" => text.chars().all(is_printable).into(),
        "isidentifier" => {
            let is_letter = |c: char| c == '_' || c.is_alphabetic();
            let is_name = text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || is_decimal(c));
            is_name.into()
        }
        "istitle" => is_title(text).into(),
        "expandtabs" => {
            let (width, given): (Option<i64>, Kwargs) = from_args(args)?;
            let width = width.or(given.get("tabsize")?).unwrap_or(8);
            given.assert_all_used()?;
            let width = usize::try_from(width).unwrap_or(0);
            if width > MAX_WIDTH {
                return Err(too_wide(method, width));
            }
            let expanded = expanded(text, width);
            state.consume_fuel(expanded.len() as u64 / 64)?;
            expanded.into()
        }
        "format" => {
            check_format(text, args)?;
            return Ok(None);
        }
        _ => return Ok(None),
    }))
}

fn is_all(text: &str, is: impl Fn(char) -> bool) -> Value {
    (!text.is_empty() && text.chars().all(is)).into()
}

/// Whether capitals begin words, and only they do.
fn is_title(text: &str) -> bool {
    let (mut after_letter, mut any) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() && after_letter || c.is_lowercase() && !after_letter {
            return false;
        }
        after_letter = c.is_uppercase() || c.is_lowercase();
        any |= after_letter;
    }
    any
}

/// A text with spaces up to the next column that is a multiple of `width` for each tab.
fn expanded(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0_usize;
    for c in text.chars() {
        match c {
            '\t' => {
                let spaces = column.checked_rem(width).map_or(0, |rest| width - rest);
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    out
}

fn too_wide(what: &str, width: usize) -> Error {
    error(format!("{what}: expected a width of at most {MAX_WIDTH}, got {width}"))
}

/// The engine makes whatever width a format asks for.
fn check_format(format: &str, args: &[Value]) -> Result<(), Error> {
    let digits = format.split(|c: char| !c.is_ascii_digit());
    let written = digits.filter(|digits| !digits.is_empty()).map(|digits| digits.parse().unwrap_or(usize::MAX));
    // A width may also be an argument: `{:{}}`, `%*d`.
    let nested = format.contains(":{") || format.contains("*") || format.contains(".{");
    let numbers = args.iter().filter(|_| nested).filter_map(Value::as_usize);
    match written.chain(numbers).find(|&width| width > MAX_WIDTH) {
        Some(width) if format.contains(['{', '%']) => Err(too_wide("format", width)),
        _ => Ok(()),
    }
}

/// What Python counts as white space: Unicode's, and four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn split(text: &str, separator: Option<&str>, most: Option<usize>, from_the_end: bool) -> Result<Vec<String>, Error> {
    let owned = |part: &str| part.to_owned();
    let limit = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let Some(separator) = separator else {
        return Ok(words(text, most, from_the_end).into_iter().map(owned).collect());
    };
    if separator.is_empty() {
        return Err(error("split: expected a separator, got an empty text"));
    }
    Ok(if from_the_end {
        let mut parts: Vec<String> = text.rsplitn(limit, separator).map(owned).collect();
        parts.reverse();
        parts
    } else {
        text.splitn(limit, separator).map(owned).collect()
    })
}

/// The lines of a text, by all that Python takes for the end of one.
pub(super) fn lines(text: &str, keep_ends: bool) -> impl Iterator<Item = &str> {
    let is_end = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, end) = match rest.find(is_end) {
            None => (rest.len(), rest.len()),
            Some(at) if rest[at..].starts_with("\r\n") => (at, at + 2),
            Some(at) => (at, at + first_length(&rest[at..])),
        };
        let (whole, after) = rest.split_at(end);
        rest = after;
        Some(if keep_ends { whole } else { &whole[..line] })
    })
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// The words between white space; after `most` splits the rest stays whole.
fn words(text: &str, most: Option<usize>, from_the_end: bool) -> Vec<&str> {
    let mut parts = vec![];
    let mut rest = text;
    loop {
        rest = if from_the_end { rest.trim_end_matches(is_space) } else { rest.trim_start_matches(is_space) };
        if rest.is_empty() {
            break;
        }
        let whole = most.is_some_and(|most| parts.len() >= most);
        let cut = match from_the_end {
            _ if whole => None,
            false => rest.find(is_space),
            true => rest.char_indices().rfind(|(_, c)| is_space(*c)).map(|(at, c)| at + c.len_utf8()),
        };
        let (part, left) = match (cut, from_the_end) {
            (None, false) => (rest, ""),
            (None, true) => ("", rest),
            (Some(cut), _) => rest.split_at(cut),
        };
        if from_the_end {
            parts.push(left);
            rest = part;
        } else {
            parts.push(part);
            rest = left;
        }
    }
    if from_the_end {
        parts.reverse();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_python_splits_them() {
        for (text, most, from_the_end, expected) in [
            (" a  b c ", None, false, &["a", "b", "c"][..]),
            (" a  b c ", Some(1), false, &["a", "b c "]),
            (" a  b c ", Some(1), true, &[" a  b", "c"]),
            ("a", Some(0), false, &["a"]),
            ("", None, false, &[]),
            ("\u{1c}a\u{a0}b", None, false, &["a", "b"]),
        ] {
            assert_eq!(words(text, most, from_the_end), expected, "{text:?}");
        }
    }
}
