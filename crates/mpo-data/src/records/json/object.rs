//! A JSON object in which no name stands twice: which of two prompts is meant cannot be known.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::records::Fields;

pub(super) struct Object(pub(super) Fields);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut fields = Fields::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            fields.insert(name, map.next_value()?);
        }
        Ok(Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once() {
        let read = |text: &str| serde_json::from_str::<Object>(text).map(|object| object.0.len());
        assert_eq!(read(r#"{"a":{"b":1,"c":2},"b":3}"#).unwrap(), 2);
        let twice = read(r#"{"a":1,"a":1}"#).unwrap_err().to_string();
        assert!(twice.starts_with("duplicate field `a`"), "{twice}");
        let list = read("[1]").unwrap_err().to_string();
        assert!(list.contains("expected an object"), "{list}");
    }
}
