//! Which runs a comparison is made of: methods, settings to try, seeds.

use std::str::FromStr;

use mpo_data::Language;
use mpo_objectives::{Definition, OBJECTIVES, OTHER_LANGUAGE, Variant};
use mpo_trainer::{Decides, HyperParameters, Method, SETTINGS, TrainError, TrainOptions, typed_value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::request::Request;
use crate::error::EvalError;

/// A method or an ablation of one, and the settings to try it with.
#[derive(Debug, Clone, PartialEq)]
pub struct Entrant {
    /// Such as `mpo-no-retain`.
    pub name: String,
    /// The method that it is, or is an ablation of.
    pub method: Method,
    /// At least one.
    pub points: Vec<Point>,
}

impl Entrant {
    /// Whether its method has a hyper-parameter of this name.
    pub fn has(&self, key: &str) -> bool {
        let mut parameters = self.method.definition().parameters();
        parameters.any(|one| one.name == key)
    }
}

/// One choice of settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What is tried in a grid, such as `beta=0.1,lr=1e-6`; empty without one.
    pub label: String,
    /// The settings that make the method what it is, and those of the grid.
    pub options: TrainOptions,
}

/// A setting and the values to try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// Its key.
    pub key: String,
    /// The values, as they are typed.
    pub values: Vec<String>,
}

impl FromStr for Dimension {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or_else(|| format!("expected KEY=X,X, got {text}"))?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if key.is_empty() || values.iter().any(String::is_empty) {
            return Err(format!("expected KEY=X,X, got {text}"));
        }
        Ok(Self { key: key.trim().replace('-', "_"), values })
    }
}

/// A grid is of settings that decide how a run is trained: runs that differ in others have nothing to be compared by.
fn check_grid(grid: &[Dimension]) -> Result<(), TrainError> {
    let training = || SETTINGS.iter().filter(|setting| setting.decides == Decides::Training).map(|setting| setting.key);
    let tried = |key: &str| HyperParameters::is_known(key) || training().any(|known| known == key);
    match grid.iter().find(|dimension| !tried(&dimension.key)) {
        None => Ok(()),
        Some(Dimension { key, .. }) => {
            let expected = format!(
                "a hyper-parameter of one of the methods, or one of {}",
                training().collect::<Vec<_>>().join(", ")
            );
            Err(TrainError::setting("grid", expected, &**key))
        }
    }
}

/// The entrants that were asked for; `other` stands where an ablation needs another language.
///
/// # Errors
/// If a method or a key of the grid is unknown, or none of the methods has it.
pub fn entrants(asked: &Request, other: Language) -> Result<Vec<Entrant>, EvalError> {
    check_grid(&asked.grid)?;
    let known = || {
        OBJECTIVES.iter().flat_map(|definition| {
            let variants = definition.variants.iter().map(Some);
            std::iter::once(None).chain(variants).map(move |variant| (definition, variant))
        })
    };
    let name = |(definition, variant): (&Definition, Option<&Variant>)| match variant {
        None => definition.name.to_owned(),
        Some(variant) => format!("{}-{}", definition.name, variant.name),
    };
    let default = ["mpo".to_owned(), "dpo".to_owned()];
    let names: Vec<String> = match (asked.all, &asked.methods[..]) {
        (true, _) => {
            // The methods themselves come first, their ablations after them.
            let mut all: Vec<_> = known().collect();
            all.sort_by_key(|(_, variant)| variant.is_some());
            all.into_iter().map(name).collect()
        }
        (false, []) => default.to_vec(),
        (false, methods) => methods.to_vec(),
    };
    let mut entrants: Vec<Entrant> = vec![];
    for wanted in names {
        let found = known().find(|&one| name(one) == wanted).ok_or_else(|| {
            let names: Vec<String> = known().map(name).collect();
            TrainError::setting("methods", format!("some of {}", names.join(", ")), &*wanted)
        })?;
        if entrants.iter().all(|entrant| entrant.name != wanted) {
            entrants.push(entrant(wanted, found, asked, other)?);
        }
    }
    let used = |key: &str| {
        let mut points = entrants.iter().flat_map(|entrant| &entrant.points);
        points.any(|point| point.label.split(',').any(|one| one.starts_with(&format!("{key}="))))
    };
    match asked.grid.iter().find(|dimension| !used(&dimension.key)) {
        None => Ok(entrants),
        Some(Dimension { key, .. }) => {
            let expected = "a hyper-parameter of one of the methods compared";
            Err(TrainError::setting("grid", expected, &**key).into())
        }
    }
}

fn entrant(
    name: String,
    (definition, variant): (&Definition, Option<&Variant>),
    asked: &Request,
    other: Language,
) -> Result<Entrant, EvalError> {
    let mut own = Map::from_iter([("method".to_owned(), Value::from(definition.name))]);
    for (key, value) in variant.map_or(&[][..], |variant| variant.settings) {
        let value = if *value == OTHER_LANGUAGE { other.code() } else { value };
        own.insert((*key).to_owned(), typed_value(value));
    }
    let mut dimensions: Vec<(String, Vec<Value>)> = vec![];
    for Dimension { key, values } in &asked.grid {
        // What makes an ablation is not searched, and a hyper-parameter only where the method has it.
        let foreign = HyperParameters::is_known(key) && definition.parameters().all(|one| one.name != key);
        if !own.contains_key(key) && !foreign {
            dimensions.push((key.clone(), values.iter().map(|value| typed_value(value)).collect()));
        }
    }
    if asked.search {
        for parameter in definition.parameters() {
            let searched = !parameter.search.is_empty()
                && !own.contains_key(parameter.name)
                && dimensions.iter().all(|(key, _)| key != parameter.name);
            if searched {
                let values = parameter.search.iter().map(|&value| value.into());
                dimensions.push((parameter.name.to_owned(), values.collect()));
            }
        }
    }
    let mut choices: Vec<(Vec<String>, Map<String, Value>)> = vec![(vec![], own)];
    for (key, values) in dimensions {
        choices = choices
            .iter()
            .flat_map(|(labels, settings)| {
                values.iter().map(|value| {
                    let (mut labels, mut settings) = (labels.clone(), settings.clone());
                    labels.push(format!("{key}={}", text(value)));
                    settings.insert(key.clone(), value.clone());
                    (labels, settings)
                })
            })
            .collect();
    }
    let points = choices.into_iter().map(|(labels, settings)| {
        Ok(Point { label: labels.join(","), options: TrainOptions::from_settings(settings)? })
    });
    let method = definition.name.parse().unwrap_or_default();
    Ok(Entrant { name, method, points: points.collect::<Result<_, EvalError>>()? })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(methods: &[&str], grid: &[&str], search: bool) -> Result<Vec<Entrant>, EvalError> {
        let methods: Vec<String> = methods.iter().map(|&name| name.into()).collect();
        let grid: Vec<Dimension> = grid.iter().map(|one| one.parse().unwrap()).collect();
        let asked = Request { all: methods.is_empty(), methods, grid, search, ..Request::default() };
        entrants(&asked, "zh".parse().unwrap())
    }

    fn labels(entrant: &Entrant) -> Vec<&str> {
        entrant.points.iter().map(|point| &*point.label).collect()
    }

    #[test]
    fn all_are_every_method_and_then_every_ablation() {
        let all = plan(&[], &[], false).unwrap();
        let names: Vec<&str> = all.iter().map(|entrant| &*entrant.name).collect();
        let methods = OBJECTIVES.iter().map(|one| one.name.to_owned());
        let ablations = OBJECTIVES.iter().flat_map(|one| {
            let variants = one.variants.iter();
            variants.map(|variant| format!("{}-{}", one.name, variant.name))
        });
        assert_eq!(names, methods.chain(ablations).collect::<Vec<String>>());
        assert!(names.contains(&"mpo-no-retain"));
        for entrant in &all {
            let options = TrainOptions {
                model: Some("m".into()),
                data: Some("d".into()),
                output: Some("o".into()),
                ..entrant.points[0].options.clone()
            };
            options.resolve().unwrap();
        }
    }

    #[test]
    fn a_grid_is_of_what_a_method_has() {
        let plan = plan(&["dpo", "sft"], &["beta=0.1,0.5", "lr=1e-4,1e-3"], false).unwrap();
        assert_eq!(
            labels(&plan[0]),
            ["beta=0.1,lr=0.0001", "beta=0.1,lr=0.001", "beta=0.5,lr=0.0001", "beta=0.5,lr=0.001"]
        );
        assert_eq!(labels(&plan[1]), ["lr=0.0001", "lr=0.001"]);
        assert_eq!(plan[0].points[3].options.lr, Some(1e-3));
    }

    #[test]
    fn the_papers_search_space() {
        let plan = plan(&["simpo", "mpo-kl"], &["gamma=3"], true).unwrap();
        assert_eq!(labels(&plan[0]), ["gamma=3,beta=2.0", "gamma=3,beta=2.5"]);
        assert_eq!(labels(&plan[1]), ["beta=1.0", "beta=1.5", "beta=2.0"]);
    }

    #[test]
    fn what_cannot_be_planned_is_named() {
        for (methods, grid, expected) in [
            (&["dop"][..], &[][..], "methods: expected some of mpo,"),
            (&["sft"], &["beta=1"], "grid: expected"),
            (&["sft"], &["learning_rate=1"], "learning_rate"),
            // These are the whole comparison's: a table of them would show runs that are the same.
            (&["dpo"], &["data=a.json,b.json"], "grid: expected"),
            (&["dpo"], &["rows=10,100"], "got rows"),
            (&["dpo"], &["template=qwen,gemma"], "got template"),
            (&["dpo"], &["seed=1,2"], "got seed"),
        ] {
            let error = plan(methods, grid, false).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
