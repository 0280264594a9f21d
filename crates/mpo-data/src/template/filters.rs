//! Jinja2's filters that the engine lacks, or has with other texts of values that are none.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, State};

use super::methods;
use super::python::{text_of, tojson};
use super::scan::PERCENT;

/// Adds them to an engine.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |value: &Value| text_of(value));
    environment.add_filter("join", join);
    environment.add_filter(PERCENT, percent);
    for name in ["trim", "center"] {
        let method = if name == "trim" { "strip" } else { name };
        environment.add_filter(
            name,
            move |state: &mut State<'_, '_>, value: &Value, args: Rest<Value>| {
                let text = Value::from(text_of(value)?);
                methods::call(state, &text, method, &args)
            },
        );
    }
    environment.add_filter("wordcount", |value: &Value| {
        text_of(value).map(|text| text.split_whitespace().count())
    });
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

/// `'text' % values`.
fn percent(format: &str, values: Rest<Value>) -> Result<String, Error> {
    methods::check_format(format, &values)?;
    let texts: Vec<Value> = values
        .iter()
        .map(
            |value| match value.is_number() || value.as_str().is_some() {
                true => Ok(value.clone()),
                false => text_of(value).map(Value::from),
            },
        )
        .collect::<Result<_, _>>()?;
    minijinja::formatting::format(minijinja::formatting::FormatStyle::Printf, format, &texts)
}
