//! A body of JSON, whose fields are read one by one, so that each is told of by its name.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::ApiError;

/// Fields of a request; one that is null is as if it were not there.
pub(crate) struct Fields(Map<String, Value>);

/// The object in a body.
pub(crate) fn object(body: &[u8]) -> Result<Fields, ApiError> {
    let refused = |got: String| {
        ApiError::new(StatusCode::BAD_REQUEST, format!("expected a body with an object in JSON, got {got}"))
    };
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut fields)) => {
            fields.retain(|_, value| !value.is_null());
            Ok(Fields(fields))
        }
        Ok(other) => Err(refused(kind(&other))),
        Err(error) => Err(refused(format!("no JSON: {error}"))),
    }
}

/// What a value is, and if it is short, which.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.len() <= 40 => format!("{text:?}"),
        Value::String(_) => "a string".into(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}

impl Fields {
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A field that `read` makes something of.
    fn read<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        read(&value).map(Some).ok_or_else(|| ApiError::field(name, expected, kind(&value)))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        self.read(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Result<bool, ApiError> {
        Ok(self.read(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, ApiError> {
        self.read(name, "a number", Value::as_f64)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn count(&mut self, name: &'static str, least: u64, most: u64) -> Result<Option<usize>, ApiError> {
        let expected = format!("a whole number from {least} to {most}");
        let within = |number: &u64| (least..=most).contains(number);
        self.read(name, &expected, |value| Some(value.as_u64().filter(within)? as usize))
    }

    /// A seed is any number of 64 bits.
    pub(super) fn seed(&mut self) -> Result<Option<u64>, ApiError> {
        let bits = |value: &Value| value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
        self.read("seed", "a whole number of 64 bits", bits)
    }

    /// Refuses a field that would change the answer and is not supported, unless it asks for what is done anyway.
    pub(super) fn refuse(&mut self, name: &'static str, is_idle: impl Fn(&Value) -> bool) -> Result<(), ApiError> {
        match self.take(name) {
            Some(value) if !is_idle(&value) => {
                let error = ApiError::field(name, "none, as this server does not support it", kind(&value));
                Err(error.with_code("unsupported_parameter"))
            }
            _ => Ok(()),
        }
    }
}
