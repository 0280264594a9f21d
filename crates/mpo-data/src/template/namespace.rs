//! Jinja's `namespace()`: what a loop sets and the template reads after it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::value::{Kwargs, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind, State};

use super::scan::{ATTRIBUTE, SET_ATTRIBUTE};

/// Attributes by name. It is opaque as in Jinja2, neither a map nor iterable, so that one which holds itself is printed in
/// one step.
#[derive(Default)]
struct Namespace {
    attributes: Mutex<BTreeMap<String, Value>>,
}

impl Namespace {
    fn attributes(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        // A map is whole at every moment.
        self.attributes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Namespace>")
    }
}

impl Object for Namespace {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.attributes().get(key.as_str()?).cloned()
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match (method, args) {
            (ATTRIBUTE, [name]) => Ok(self.get_value(name).unwrap_or_default()),
            (SET_ATTRIBUTE, [name, value]) => {
                let name = name.as_str().unwrap_or_default().to_owned();
                self.attributes().insert(name, value.clone());
                Ok(Value::from(()))
            }
            _ => Err(ErrorKind::UnknownMethod.into()),
        }
    }
}

/// `namespace(name=value, …)`, or of a map.
pub(super) fn namespace(map: Option<Value>, given: Kwargs) -> Result<Value, Error> {
    let namespace = Namespace::default();
    {
        let mut attributes = namespace.attributes();
        if let Some(map) = map {
            for key in map.try_iter()? {
                attributes.insert(key.to_string(), map.get_item(&key)?);
            }
        }
        for name in given.args() {
            attributes.insert(name.to_owned(), given.get(name)?);
        }
        given.assert_all_used()?;
    }
    Ok(Value::from_object(namespace))
}
