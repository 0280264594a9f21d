//! Objectives as people name them: a method and its hyper-parameters.

use std::fmt;
use std::str::FromStr;

use mpo_objectives::{Definition, OBJECTIVES, Settings, Values};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An objective of the list.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Method(&'static Definition);

impl Method {
    /// Every method there is.
    pub fn all() -> impl Iterator<Item = Self> {
        OBJECTIVES.iter().map(Self)
    }

    /// What it is.
    pub fn definition(&self) -> &'static Definition {
        self.0
    }
}

impl Default for Method {
    /// The paper's.
    fn default() -> Self {
        Self(&OBJECTIVES[0])
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Method {}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = OBJECTIVES.iter().find(|one| one.name == name);
        found.map(Self).ok_or_else(|| {
            let names: Vec<&str> = OBJECTIVES.iter().map(|one| one.name).collect();
            format!("method: expected one of {}, got {name}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Method {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.0.name.into()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name)
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// Hyper-parameters of objectives by name, as given. Each is a key of a configuration file, and a flag; which there are
/// follows from the list of objectives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HyperParameters(pub Settings);

impl HyperParameters {
    /// Whether an objective has a hyper-parameter of this name.
    pub fn is_known(key: &str) -> bool {
        OBJECTIVES.iter().flat_map(Definition::parameters).any(|parameter| parameter.name == key)
    }
}

/// A value as it is typed: a number, true or false, or a word.
pub fn typed_value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::from(text),
    }
}

/// A hyper-parameter as the objectives have it that share its meaning and default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperParameter {
    /// The names of these objectives.
    pub objectives: Vec<&'static str>,
    /// What it does.
    pub help: &'static str,
    /// What it may be, in words.
    pub range: String,
    /// Whether that is true or false.
    pub is_switch: bool,
    /// What it is when it is not given.
    pub default: String,
}

/// Every hyper-parameter of an objective by its key, once; one that does different things in some objectives has several
/// entries.
pub fn hyper_parameters() -> Vec<(&'static str, Vec<HyperParameter>)> {
    let mut all: Vec<(&str, Vec<HyperParameter>)> = vec![];
    for objective in OBJECTIVES {
        let defaults = objective.resolve(&Settings::new()).unwrap_or_default();
        for parameter in objective.parameters() {
            let default = match defaults.get(parameter.name) {
                Some(Value::String(word)) => word.clone(),
                Some(Value::Number(number)) => number.as_f64().map_or_else(String::new, |number| number.to_string()),
                Some(value) => value.to_string(),
                None => String::new(),
            };
            let position = all.iter().position(|(name, _)| *name == parameter.name);
            let position = position.unwrap_or_else(|| {
                all.push((parameter.name, vec![]));
                all.len() - 1
            });
            let uses = &mut all[position].1;
            let range = parameter.values.to_string();
            match uses.iter_mut().find(|one| (one.help, &one.default, &one.range) == (parameter.help, &default, &range))
            {
                Some(one) => one.objectives.push(objective.name),
                None => {
                    uses.push(HyperParameter {
                        objectives: vec![objective.name],
                        help: parameter.help,
                        range,
                        is_switch: parameter.values == Values::Switch,
                        default,
                    });
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_typed_as_they_look() {
        assert_eq!(typed_value("0.1"), Value::from(0.1));
        assert_eq!(typed_value("8"), Value::from(8));
        assert_eq!(typed_value("true"), Value::from(true));
        for word in ["last-token", "nan", "sw", "\"x\"", "null"] {
            assert_eq!(typed_value(word), Value::from(word));
        }
    }

    #[test]
    fn objectives_that_share_a_meaning_share_an_entry() {
        let all = hyper_parameters();
        let (_, beta) = all.iter().find(|(name, _)| *name == "beta").unwrap();
        assert!(
            beta.iter()
                .any(|one| one.objectives == ["dpo", "rdpo", "kto", "r-dpo", "clo", "crpo"] && one.default == "0.1")
        );
        assert!(beta.iter().any(|one| one.objectives == ["mpo"] && one.default == "1"));
        let mut names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let repeated = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(repeated, None);
    }
}
