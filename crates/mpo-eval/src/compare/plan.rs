//! Which runs a comparison is made of: methods, settings to try, seeds.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
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
    /// Such as `mpo-no-retain`, or `mpo@lidr` where rows of several files are tried.
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

    /// The same on the rows of a file, which is called `name`.
    fn on(&self, name: &str, path: &Path) -> Self {
        let points = self.points.iter().map(|point| Point {
            options: TrainOptions { data: Some(path.to_owned().into()), ..point.options.clone() },
            ..point.clone()
        });
        Self { name: format!("{}@{name}", self.name), points: points.collect(), ..self.clone() }
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

/// Rows to train on: those of several files stand beside each other in a comparison, and none is chosen.
const DATA: &str = "data";

impl Request {
    /// The files of rows that are tried, with a name for each.
    pub fn data_sets(&self) -> Vec<(String, &Path)> {
        let values = self.grid.iter().filter(|dimension| dimension.key == DATA).flat_map(|dimension| &dimension.values);
        let paths: Vec<&Path> = values.map(Path::new).collect();
        let part = |path: Option<&Path>, of: fn(&Path) -> Option<&OsStr>| {
            path.and_then(of).map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        };
        // A file's own name, or its folder's, as `prepare` calls every file of rows the same.
        let namings: [&dyn Fn(&Path) -> String; 3] = [
            &|path: &Path| part(Some(path), Path::file_stem),
            &|path: &Path| part(path.parent(), Path::file_name),
            &|path: &Path| path.to_string_lossy().replace(['/', '\\'], "-"),
        ];
        let names = namings.iter().map(|naming| paths.iter().map(|path| naming(path)).collect::<Vec<String>>());
        let tells_apart = |names: &Vec<String>| {
            let distinct: BTreeSet<&String> = names.iter().filter(|name| !name.is_empty()).collect();
            distinct.len() == names.len()
        };
        names
            .clone()
            .find(tells_apart)
            .or_else(|| names.clone().next_back())
            .unwrap_or_default()
            .into_iter()
            .zip(paths)
            .collect()
    }
}

/// A grid is of settings that decide how a run is trained: runs that differ in others have nothing to be compared by.
fn check_grid(grid: &[Dimension]) -> Result<(), TrainError> {
    let training = || SETTINGS.iter().filter(|setting| setting.decides == Decides::Training).map(|setting| setting.key);
    let tried = |key: &str| key == DATA || HyperParameters::is_known(key) || training().any(|known| known == key);
    match grid.iter().find(|dimension| !tried(&dimension.key)) {
        None => Ok(()),
        Some(Dimension { key, .. }) => {
            let expected = format!(
                "a hyper-parameter of one of the methods, {DATA}, or one of {}",
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
    let sets = asked.data_sets();
    if !sets.is_empty() {
        let on =
            |entrant: &Entrant| -> Vec<Entrant> { sets.iter().map(|(name, path)| entrant.on(name, path)).collect() };
        entrants = entrants.iter().flat_map(on).collect();
    }
    let used = |key: &str| {
        if key == DATA {
            return true;
        }
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
        if !own.contains_key(key) && !foreign && key != DATA {
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
    fn methods_on_the_rows_of_several_files_stand_beside_each_other() {
        let grid = ["data=runs/mapo/rows.jsonl,runs/lidr/rows.jsonl", "beta=0.1,0.5"];
        let plan = plan(&["dpo", "dpo-nll"], &grid, false).unwrap();
        let names: Vec<&str> = plan.iter().map(|entrant| &*entrant.name).collect();
        assert_eq!(names, ["dpo@mapo", "dpo@lidr", "dpo-nll@mapo", "dpo-nll@lidr"]);
        assert_eq!(labels(&plan[1]), ["beta=0.1", "beta=0.5"]);
        assert_eq!(plan[1].points[0].options.data, Some("runs/lidr/rows.jsonl".into()));
        assert_eq!(plan[3].points[0].options.hyper_parameters.0["sft_weight"], 1);
    }

    #[test]
    fn files_of_rows_are_called_by_what_tells_them_apart() {
        let names = |values: &str| {
            let request = Request { grid: vec![format!("data={values}").parse().unwrap()], ..Request::default() };
            request.data_sets().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("a/mapo.jsonl,b/lidr.json"), ["mapo", "lidr"]);
        assert_eq!(names("a/rows.jsonl,b/rows.jsonl"), ["a", "b"]);
        assert_eq!(names("x/a/rows.jsonl,y/a/rows.jsonl"), ["x-a-rows.jsonl", "y-a-rows.jsonl"]);
        assert!(Request::default().data_sets().is_empty());
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
            (&["dpo"], &["rows=10,100"], "got rows"),
            (&["dpo"], &["template=qwen,gemma"], "got template"),
            (&["dpo"], &["seed=1,2"], "got seed"),
        ] {
            let error = plan(methods, grid, false).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
