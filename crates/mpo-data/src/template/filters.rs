//! Jinja2's filters and functions that the engine lacks, or has with other arguments or other texts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, filters};

use super::generator;
use super::methods;
use super::percent::percent;
use super::python::{MAX_WIDTH, error, text_of, tojson};
use super::scan::{ITEMS, PERCENT};

/// Adds them to an engine.
pub(super) fn add(environment: &mut Environment<'static>) {
    generator::add(environment);
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |value: &Value| text_of(value));
    environment.add_filter("join", join);
    environment.add_filter(PERCENT, percent);
    environment.add_filter("trim", |state: &mut State<'_, '_>, value: &Value, args: Rest<Value>| {
        let text = Value::from(text_of(value)?);
        methods::call(state, &text, "strip", &args)
    });
    environment.add_filter(
        "center",
        |state: &mut State<'_, '_>, value: &Value, width: Option<Value>, given: Kwargs| {
            let width = width.or(given.get("width")?).unwrap_or(80.into());
            given.assert_all_used()?;
            methods::call(state, &text_of(value)?.into(), "center", &[width])
        },
    );
    environment.add_filter("wordcount", |value: &Value| text_of(value).map(|text| text.split_whitespace().count()));
    environment.add_filter(ITEMS, items);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    by_place(environment, "indent", vec!["width", "first", "blank"], indent);
    environment.add_filter("urlencode", urlencode);
    let (any_case, attribute) = ("case_sensitive", "attribute");
    by_place(environment, "sort", vec!["reverse", any_case, attribute], |state, value, given| {
        filters::sort(state, value, given)
    });
    by_place(environment, "unique", vec![any_case, attribute], |state, value, given| {
        filters::unique(state, value, given)
    });
    by_place(environment, "min", vec![any_case, attribute], |state, value, given| filters::min(state, value, given));
    by_place(environment, "max", vec![any_case, attribute], |state, value, given| filters::max(state, value, given));
    by_place(environment, "dictsort", vec![any_case, "by", "reverse"], |_, value, given| {
        filters::dictsort(&value, given)
    });
    let parameters = vec!["length", "killwords", "end", "leeway"];
    by_place(environment, "truncate", parameters, |state, value, given| {
        minijinja_contrib::filters::truncate(state, &value, given)
    });
    environment.add_function("cycler", cycler);
    environment.add_function("dict", dict);
    // What these write is not what Jinja2 writes.
    for name in ["pprint", "attr"] {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
}

/// A filter of the engine that takes by name alone what Jinja2 takes by its place too.
fn by_place(
    environment: &mut Environment<'static>,
    name: &'static str,
    parameters: Vec<&'static str>,
    filter: fn(&mut State<'_, '_>, Value, Kwargs) -> Result<Value, Error>,
) {
    environment.add_filter(name, move |state: &mut State<'_, '_>, value: Value, args: Rest<ValueOrKwargs>| {
        let mut places = args.into_values();
        let given = places.pop_if(|last| last.is_kwargs());
        let given = given.map(Kwargs::try_from).transpose()?;
        if places.len() > parameters.len() {
            return Err(error(format!(
                "{name}: expected at most {} arguments, got {}",
                parameters.len(),
                places.len()
            )));
        }
        let mut named: Vec<(&str, Value)> = parameters.iter().copied().zip(places).collect();
        for name in given.iter().flat_map(Kwargs::args) {
            let value = given.as_ref().map(|given| given.get(name)).transpose()?;
            named.extend(value.map(|value| (name, value)));
        }
        filter(state, value, named.into_iter().collect())
    });
}

/// What a loop goes over.
fn items(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::None => Err(error("expected a list to loop over, got none")),
        ValueKind::String => Ok(value.try_iter()?.collect()),
        _ => Ok(value),
    }
}

fn default(value: Value, other: Option<Value>, also_false: Option<Value>, given: Kwargs) -> Result<Value, Error> {
    let other = other.or(given.get("default_value")?);
    let also_false = also_false.or(given.get("boolean")?);
    given.assert_all_used()?;
    let is_missing =
        value.is_undefined() || !value.is_true() && also_false.is_some_and(|also_false| also_false.is_true());
    Ok(if is_missing { other.unwrap_or_else(|| "".into()) } else { value })
}

/// A text as Python's `int` and `float` read one: without the white space around it, and with `_` between digits.
fn digits(text: &str) -> Option<String> {
    let text = text.trim();
    let is_apart = text.contains("__") || text.starts_with('_') || text.ends_with('_');
    (!is_apart).then(|| text.replace('_', "").to_ascii_lowercase())
}

fn number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::String => digits(value.as_str()?)?.parse().ok(),
        _ => None,
    }
}

fn int(value: &Value, default: Option<Value>, base: Option<u32>, given: Kwargs) -> Result<Value, Error> {
    let default = default.or(given.get("default")?);
    let base = base.or(given.get("base")?).unwrap_or(10);
    given.assert_all_used()?;
    if !(2..=36).contains(&base) {
        return Err(error(format!("int: expected a base from 2 to 36, got {base}")));
    }
    let whole = match value.as_str() {
        Some(text) => digits(text).and_then(|text| {
            let (sign, size) = match text.strip_prefix('-') {
                Some(size) => ("-", size),
                None => ("", text.strip_prefix('+').unwrap_or(&text)),
            };
            let prefix = match base {
                16 => "0x",
                8 => "0o",
                2 => "0b",
                _ => "",
            };
            let size = size.strip_prefix(prefix).unwrap_or(size);
            i128::from_str_radix(&format!("{sign}{size}"), base).ok()
        }),
        None if value.is_integer() => return Ok(value.clone()),
        None => None,
    };
    let whole = whole.or_else(|| {
        let number = number(value).filter(|number| number.is_finite())?;
        Some(number.trunc() as i128)
    });
    Ok(whole.map_or_else(|| default.unwrap_or(0.into()), Value::from))
}

fn float(value: &Value, default: Option<Value>, given: Kwargs) -> Result<Value, Error> {
    let default = default.or(given.get("default")?);
    given.assert_all_used()?;
    Ok(number(value).map_or_else(|| default.unwrap_or(0.0.into()), Value::from))
}

fn indent(state: &mut State<'_, '_>, value: Value, given: Kwargs) -> Result<Value, Error> {
    let width = given.get::<Option<Value>>("width")?.unwrap_or(4.into());
    let is_asked = |name| -> Result<bool, Error> {
        let asked: Option<Value> = given.get(name)?;
        Ok(asked.is_some_and(|asked| asked.is_true()))
    };
    let (first, blank) = (is_asked("first")?, is_asked("blank")?);
    given.assert_all_used()?;
    let before = match width.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let spaces = i64::try_from(width)?.max(0) as usize;
            if spaces > MAX_WIDTH {
                return Err(error(format!("indent: expected a width of at most {MAX_WIDTH}, got {spaces}")));
            }
            " ".repeat(spaces)
        }
    };
    let text = text_of(&value)? + "\n";
    let mut out = String::new();
    for (number, line) in methods::lines(&text, false).enumerate() {
        state.consume_fuel(1 + (before.len() + line.len()) as u64 / 64)?;
        if number > 0 {
            out.push('\n');
        }
        if first && number == 0 || number > 0 && (blank || !line.is_empty()) {
            out.push_str(&before);
        }
        out.push_str(line);
    }
    Ok(out.into())
}

/// A text for an address; a map or pairs for what stands behind its question mark.
fn urlencode(value: &Value) -> Result<String, Error> {
    let quoted = |value: &Value, in_query: bool| -> Result<String, Error> {
        let mut out = String::new();
        for byte in text_of(value)?.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(byte.into()),
                b'/' if !in_query => out.push('/'),
                b' ' if in_query => out.push('+'),
                byte => out.push_str(&format!("%{byte:02X}")),
            }
        }
        Ok(out)
    };
    let pair = |key: &Value, value: &Value| Ok(format!("{}={}", quoted(key, true)?, quoted(value, true)?));
    let pairs: Result<Vec<String>, Error> = match value.kind() {
        ValueKind::Map => value.try_iter()?.map(|key| pair(&key, &value.get_item(&key)?)).collect(),
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|item| pair(&item.get_item_by_index(0)?, &item.get_item_by_index(1)?)).collect()
        }
        _ => return quoted(value, false),
    };
    Ok(pairs?.join("&"))
}

/// `dict(map or pairs, name=value, …)`.
fn dict(from: Option<Value>, given: Kwargs) -> Result<Value, Error> {
    let mut pairs: Vec<(Value, Value)> = vec![];
    if let Some(from) = from {
        for item in from.try_iter()? {
            pairs.push(match from.kind() {
                ValueKind::Map => (item.clone(), from.get_item(&item)?),
                _ => (item.get_item_by_index(0)?, item.get_item_by_index(1)?),
            });
        }
    }
    for name in given.args() {
        pairs.push((name.into(), given.get(name)?));
    }
    given.assert_all_used()?;
    Ok(Value::from_pairs(pairs))
}

/// Items in turn.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str()? == "current").then(|| self.items[self.at.load(Ordering::Relaxed)].clone())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, _: &[Value]) -> Result<Value, Error> {
        let at = self.at.load(Ordering::Relaxed);
        match method {
            "next" => {
                self.at.store((at + 1) % self.items.len(), Ordering::Relaxed);
                Ok(self.items[at].clone())
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(minijinja::ErrorKind::UnknownMethod.into()),
        }
    }
}

fn cycler(items: Rest<Value>) -> Result<Value, Error> {
    if items.is_empty() {
        Err(error("cycler: expected at least one item, got none"))
    } else {
        Ok(Value::from_object(Cycler { items: items.0, at: AtomicUsize::new(0) }))
    }
}

fn join(
    state: &State<'_, '_>,
    values: &Value,
    separator: Option<Value>,
    attribute: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let separator = separator.or(options.get("d")?);
    let separator = separator.as_ref().map_or(Ok(String::new()), text_of)?;
    let attribute = attribute.or(options.get("attribute")?);
    options.assert_all_used()?;
    let mut joined = String::new();
    for (index, value) in values.try_iter()?.checked().enumerate() {
        let value = match (value?, &attribute) {
            (value, Some(attribute)) if !attribute.is_none() => value.get_item(attribute)?,
            (value, _) => value,
        };
        if index > 0 {
            joined.push_str(&separator);
        }
        let text = text_of(&value)?;
        state.consume_fuel(1 + (text.len() + separator.len()) as u64 / 64)?;
        joined.push_str(&text);
    }
    Ok(joined)
}
