//! What `map`, `select` and the like give in Jinja2: items that can be had once. It is true even without any, and has no
//! length, no JSON and no text.

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::filters;
use minijinja::value::{Enumerator, Object, ObjectRepr, Rest, Value, ValueOrKwargs};
use minijinja::{Environment, State};

/// The items that nobody has had.
#[derive(Debug)]
pub(super) struct Generator(Mutex<Vec<Value>>);

impl Object for Generator {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Enumerator::Iter(Box::new(mem::take(&mut *items).into_iter()))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        None
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    /// In Python an address would be written.
    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

/// Whether a value is one.
pub(super) fn is_generator(value: &Value) -> bool {
    value.downcast_object_ref::<Generator>().is_some()
}

fn generator(items: Vec<Value>) -> Value {
    Value::from_object(Generator(Mutex::new(items)))
}

/// Adds the filters that give one to an engine.
pub(super) fn add(environment: &mut Environment<'static>) {
    type All = Rest<ValueOrKwargs>;
    environment.add_filter("map", |state: &mut State<'_, '_>, value: Value, args: All| {
        filters::map(state, value, args).map(generator)
    });
    type Name<'a> = Cow<'a, str>;
    environment.add_filter("select", |state: &mut State<'_, '_>, value: Value, test: Option<Name<'_>>, args: All| {
        filters::select(state, value, test, args).map(generator)
    });
    environment.add_filter("reject", |state: &mut State<'_, '_>, value: Value, test: Option<Name<'_>>, args: All| {
        filters::reject(state, value, test, args).map(generator)
    });
    environment.add_filter(
        "selectattr",
        |state: &mut State<'_, '_>, value: Value, attribute: Name<'_>, test: Option<Name<'_>>, args: All| {
            filters::selectattr(state, value, attribute, test, args).map(generator)
        },
    );
    environment.add_filter(
        "rejectattr",
        |state: &mut State<'_, '_>, value: Value, attribute: Name<'_>, test: Option<Name<'_>>, args: All| {
            filters::rejectattr(state, value, attribute, test, args).map(generator)
        },
    );
}
