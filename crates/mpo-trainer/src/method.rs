//! Objectives as people name them: a method and its hyper-parameters, in a file and as flags.

use std::fmt;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use mpo_objectives::{Definition, OBJECTIVES, Settings};
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

    /// Reads a name on the command line.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Self> {
        let names = OBJECTIVES.iter().map(|one| PossibleValue::new(one.name).help(one.source));
        PossibleValuesParser::new(names).try_map(|name| name.parse::<Self>())
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
        parameter_names().any(|name| name == key)
    }

    /// The first key that no objective has.
    pub(crate) fn unknown(&self) -> Option<&str> {
        let mut keys = self.0.keys().map(String::as_str);
        keys.find(|key| !Self::is_known(key))
    }
}

/// A value as it is typed: a number, true or false, or a word.
pub fn typed_value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::from(text),
    }
}

/// Names of all hyper-parameters; one that several objectives have comes several times.
fn parameter_names() -> impl Iterator<Item = &'static str> {
    let all = OBJECTIVES.iter().flat_map(Definition::parameters);
    all.map(|parameter| parameter.name)
}

impl Args for HyperParameters {
    fn augment_args(mut command: Command) -> Command {
        let mut seen: Vec<&str> = vec![];
        for name in parameter_names() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let flag = Arg::new(name)
                .long(name.replace('_', "-"))
                .value_name("X")
                .allow_negative_numbers(true)
                .help(help(name))
                .help_heading("Objective");
            command = command.arg(flag);
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// What a hyper-parameter does in each objective that has it, and its default there.
fn help(name: &str) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = vec![];
    for objective in OBJECTIVES {
        let Some(parameter) = objective.parameters().find(|one| one.name == name) else {
            continue;
        };
        let defaults = objective.resolve(&Settings::new()).unwrap_or_default();
        let default = match defaults.get(name) {
            Some(Value::String(word)) => word.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let line = format!("{} [default: {default}]", parameter.help);
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, objectives)) => objectives.push(objective.name),
            None => lines.push((line, vec![objective.name])),
        }
    }
    let lines: Vec<String> =
        lines.into_iter().map(|(line, objectives)| format!("{}: {line}", objectives.join(", "))).collect();
    lines.join("; ")
}

impl FromArgMatches for HyperParameters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for name in parameter_names() {
            if let Some(text) = matches.get_one::<String>(name) {
                self.0.insert(name.into(), typed_value(text));
            }
        }
        Ok(())
    }
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
    fn help_names_the_objectives_that_share_a_line() {
        let text = help("beta");
        assert!(text.contains("dpo, rdpo, kto, r-dpo: how close"), "{text}");
        assert!(text.contains("mpo: factor on the target reward gap [default: 1.0]"), "{text}");
    }
}
