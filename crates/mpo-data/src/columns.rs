//! Columns by other names: which columns of a file stand for ours.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::DataError;
use crate::records::Fields;

/// The names that rows have in the formats that are known.
const OURS: [&str; 21] = [
    "prompt",
    "chosen",
    "rejected",
    "completion",
    "label",
    "language",
    "system",
    "tools",
    "messages",
    "conversations",
    "instruction",
    "input",
    "history",
    "output",
    "question",
    "kto_tag",
    "system_prompt",
    "query",
    "response",
    "rejected_response",
    "prompts",
];

/// For names of ours, the columns of a file that stand for them, written as `prompt=question,chosen=good`. A name of a
/// side of two, such as `target.prompt`, fills that side; a column within another is `outer.inner`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Columns(BTreeMap<String, String>);

impl Columns {
    /// These names, and those of `weaker` where these say nothing.
    pub(crate) fn or(&self, weaker: Self) -> Self {
        let mut columns = weaker.0;
        columns.extend(self.0.clone());
        Self(columns)
    }

    /// Whether these say which answer is the one to prefer.
    pub(crate) fn order_answers(&self) -> bool {
        let mut ours = self.0.keys();
        ours.any(|ours| {
            let name = side(ours).map_or(ours.as_str(), |(_, name)| name);
            matches!(name, "chosen" | "rejected")
        })
    }

    /// Gives a row's fields our names; a name of ours counts in letters of any case. A column that is not there is missed
    /// later, by our name for it.
    pub(crate) fn rename(&self, fields: &mut Fields) {
        let taken: Vec<(&str, Value)> =
            self.0.iter().filter_map(|(ours, theirs)| Some((ours.as_str(), lookup(fields, theirs)?.clone()))).collect();
        for theirs in self.0.values() {
            remove(fields, theirs);
        }
        for (ours, value) in taken {
            fields.insert(ours.into(), value);
        }
        lower(fields);
        nest(fields);
    }

    /// Those of these without which a row is no preference.
    pub(crate) fn needed(&self) -> Self {
        let is_needed =
            |ours: &str| matches!(ours, "instruction" | "conversations" | "output" | "chosen" | "rejected" | "kto_tag");
        let needed = self.0.iter().filter(|(ours, _)| is_needed(ours));
        Self(needed.map(|(ours, theirs)| (ours.clone(), theirs.clone())).collect())
    }

    /// The columns that are named here and that these fields lack.
    pub(crate) fn missing(&self, fields: &Fields) -> BTreeSet<String> {
        let theirs = self.0.values();
        let missing = theirs.filter(|theirs| lookup(fields, theirs).is_none());
        missing.cloned().collect()
    }
}

/// Writes names of ours in lower case, unless another field has that name already.
fn lower(fields: &mut Fields) {
    let is_other = |name: &&String| name.bytes().any(|byte| byte.is_ascii_uppercase());
    let others: Vec<String> = fields.keys().filter(is_other).cloned().collect();
    for other in others {
        let ours = other.to_ascii_lowercase();
        if OURS.contains(&ours.as_str())
            && !fields.contains_key(&ours)
            && let Some(value) = fields.remove(&other)
        {
            fields.insert(ours, value);
        }
    }
}

/// Moves fields such as `target.prompt`, as tables have them, to where they belong.
fn nest(fields: &mut Fields) {
    let names: Vec<String> = fields.keys().filter(|name| side(name).is_some()).cloned().collect();
    for name in names {
        let (Some((outer, inner)), Some(value)) = (side(&name), fields.remove(&name)) else {
            continue;
        };
        let side = fields.entry(outer).or_insert_with(|| Fields::new().into());
        if let Value::Object(side) = side {
            side.insert(inner.into(), value);
        }
    }
}

fn side(name: &str) -> Option<(&str, &str)> {
    name.split_once('.').filter(|(outer, _)| matches!(*outer, "dominant" | "target"))
}

fn lookup<'a>(fields: &'a Fields, path: &str) -> Option<&'a Value> {
    fields.get(path).or_else(|| {
        let (outer, inner) = path.split_once('.')?;
        lookup(fields.get(outer)?.as_object()?, inner)
    })
}

fn remove(fields: &mut Fields, path: &str) {
    if fields.remove(path).is_none()
        && let Some((outer, inner)) = path.split_once('.')
        && let Some(Value::Object(outer)) = fields.get_mut(outer)
    {
        remove(outer, inner);
    }
}

impl FromStr for Columns {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let pairs = text.split(',').map(|pair| {
            let (ours, theirs) = pair
                .split_once('=')
                .ok_or_else(|| DataError::Columns(format!("expected OURS=THEIRS, got `{pair}`")))?;
            Ok((ours.trim().to_owned(), theirs.trim().to_owned()))
        });
        let mut columns = BTreeMap::new();
        for pair in pairs {
            let (ours, theirs) = pair?;
            if let Some(other) = columns.insert(ours.clone(), theirs.clone()) {
                let problem = format!("expected `{ours}` once, got `{other}` and `{theirs}` for it");
                return Err(DataError::Columns(problem));
            }
        }
        columns.try_into()
    }
}

impl TryFrom<BTreeMap<String, String>> for Columns {
    type Error = DataError;

    fn try_from(columns: BTreeMap<String, String>) -> Result<Self, DataError> {
        for (ours, theirs) in &columns {
            let name = side(ours).map_or(ours.as_str(), |(_, name)| name);
            if !OURS.contains(&name) {
                let known = OURS.join(", ");
                return Err(DataError::Columns(format!(
                    "expected a name of ours ({known}), or one after `dominant.` or `target.`, got `{ours}`"
                )));
            }
            if theirs.is_empty() {
                let problem = format!("expected the name of a column for `{ours}`, got none");
                return Err(DataError::Columns(problem));
            }
        }
        Ok(Self(columns))
    }
}

impl From<Columns> for BTreeMap<String, String> {
    fn from(columns: Columns) -> Self {
        columns.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn renamed(columns: &str, row: Value) -> Value {
        let mut fields = row.as_object().unwrap().clone();
        columns.parse::<Columns>().unwrap().rename(&mut fields);
        fields.into()
    }

    #[test]
    fn columns_get_our_names() {
        for (columns, row, expected) in [
            (
                "prompt=question,chosen=good",
                json!({ "question": "q", "good": "g", "id": 1 }),
                json!({ "prompt": "q", "chosen": "g", "id": 1 }),
            ),
            // Names may change places, and one that is there already gives way.
            (
                "chosen=rejected,rejected=chosen",
                json!({ "chosen": "c", "rejected": "r" }),
                json!({ "chosen": "r", "rejected": "c" }),
            ),
            (
                "target.prompt=sw,dominant.prompt=en",
                json!({ "sw": "s", "en": "e" }),
                json!({ "dominant": { "prompt": "e" }, "target": { "prompt": "s" } }),
            ),
            ("prompt=data.q", json!({ "data": { "q": "x", "k": 1 } }), json!({ "data": { "k": 1 }, "prompt": "x" })),
            (
                "prompt=a.b",
                json!({ "a.b": "literal", "target.chosen": "c" }),
                json!({ "prompt": "literal", "target": { "chosen": "c" } }),
            ),
            (
                "chosen=good",
                json!({ "Prompt": "q", "good": "g", "CHOSEN": "x", "Id": 1 }),
                json!({ "prompt": "q", "chosen": "g", "CHOSEN": "x", "Id": 1 }),
            ),
            ("prompt=missing", json!({ "a": 1 }), json!({ "a": 1 })),
        ] {
            assert_eq!(renamed(columns, row), expected, "{columns}");
        }
    }

    #[test]
    fn what_is_no_name_of_ours_is_refused() {
        for (columns, expected) in [
            ("prompt", "expected OURS=THEIRS, got `prompt`"),
            ("promt=question", "got `promt`"),
            ("source.prompt=a", "got `source.prompt`"),
            ("prompt=", "column for `prompt`"),
            ("prompt=q,prompt=b", "expected `prompt` once, got `q` and `b` for it"),
        ] {
            let error = columns.parse::<Columns>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
