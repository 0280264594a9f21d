//! The page of a comparison: its methods beside each other.

use std::collections::BTreeMap;
use std::path::Path;

use mpo_data::Language;
use mpo_trainer::{CONFIG_FILE, RESULTS_FILE, read_checked, read_file};

use super::charts;
use super::found::Number;
use super::measures::{Measure, Series};
use super::page::{Page, SEEDS};
use crate::compare::{Comparison, Marks, mean};
use crate::error::EvalError;

/// What the mean over all languages but the dominant one is called.
const TARGETS: &str = "target languages";
/// Bars for so many methods can be told apart.
const FEW: usize = 9;

type Of = fn(&Marks) -> Option<f64>;

/// What is compared: its title, how it was measured, and whether it is a share.
const COMPARED: [(&str, &str, bool, Of); 6] = [
    ("Reward gap", "held-out rows, nats per token; MPO draws target languages to the dominant one's", false, |of| {
        Some(of.reward_gap)
    }),
    ("Unsafe prompts refused", "held-out prompts; more is better", true, |of| of.refusal_rate),
    ("Unsafe prompts refused in another language", "less is better", true, |of| of.refused_in_another),
    ("Benign prompts answered", "held-out prompts; more is better", true, |of| of.benign_answer_rate),
    ("Unsafe prompts: language kept", "of the answers whose language can be told; more is better", true, |of| {
        Some(of.unsafe_kept.as_ref()?.estimate?.value)
    }),
    ("Benign prompts: language kept", "of the answers whose language can be told; more is better", true, |of| {
        Some(of.benign_kept.as_ref()?.estimate?.value)
    }),
];

/// The page of the comparison in a folder, by what is written there.
///
/// # Errors
/// If it has no results yet, a file is broken, or a chart cannot be drawn.
pub fn render_comparison(folder: &Path) -> Result<String, EvalError> {
    let whole = folder.canonicalize().map_err(EvalError::io(folder))?;
    let results = folder.join(RESULTS_FILE);
    let bytes = read_checked(&results)?.ok_or_else(|| EvalError::NothingToShow { path: folder.to_owned() })?;
    let comparison = serde_json::from_slice(&bytes).map_err(|error| EvalError::broken(&results, error.to_string()))?;
    let config = read_file(&folder.join(CONFIG_FILE))?.unwrap_or_default();
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    page(&name, &String::from_utf8_lossy(&config), &comparison)
}

/// The page of a comparison that is called `name` and was asked for by `config`.
fn page(name: &str, config: &str, comparison: &Comparison) -> Result<String, EvalError> {
    let rows = rows(comparison);
    let measures = COMPARED.into_iter().filter_map(|(title, note, percent, of)| {
        let measure = measure(comparison, &rows, of)?;
        Some(Measure { title: title.into(), note: note.into(), percent, ..measure })
    });
    let mut measures: Vec<Measure> = measures.collect();
    for measure in measures.iter_mut().filter(|measure| (2..=FEW).contains(&measure.labels.len())) {
        // All languages would be a comb.
        let ends = measure.series.iter().filter(|series| series.name == TARGETS || measure.is_dominant(&series.name));
        let few = Measure { series: ends.cloned().collect(), dominant: None, ..measure.clone() };
        measure.chart = charts::bars(&few)?;
    }
    let asked = BTreeMap::from([("name", name.to_owned()), ("config", config.to_owned())]);
    Page { title: name.into(), intervals: SEEDS, measures, runs: vec![asked], ..Page::default() }.render()
}

/// A method with its best settings, and the marks of each of its runs.
struct Compared<'a> {
    name: String,
    runs: Vec<&'a [Marks]>,
}

fn rows(comparison: &Comparison) -> Vec<Compared<'_>> {
    let before = Compared { name: "before".into(), runs: vec![&comparison.before] };
    let methods = comparison.methods.iter().filter_map(|method| {
        let best = &method.tried[method.best?];
        let name = match best.settings.as_str() {
            "" => method.name.clone(),
            settings => format!("{} ({settings})", method.name),
        };
        Some(Compared { name, runs: best.runs.iter().map(|run| &*run.result.test).collect() })
    });
    [before].into_iter().chain(methods).collect()
}

/// A row for each method, and a column for the mean over target languages and for each language.
fn measure(comparison: &Comparison, rows: &[Compared<'_>], of: Of) -> Option<Measure> {
    let is_target = |marks: &&Marks| Some(marks.language) != comparison.dominant;
    let over_targets = |run: &[Marks]| {
        let values: Vec<f64> = run.iter().filter(is_target).filter_map(of).collect();
        (!values.is_empty()).then(|| mean(&values))
    };
    let in_language =
        |run: &[Marks], language: Language| run.iter().find(|marks| marks.language == language).and_then(of);
    let column = |name: &str, value: &dyn Fn(&[Marks]) -> Option<f64>| {
        let number = |row: &Compared<'_>| over_seeds(&row.runs.iter().filter_map(|run| value(run)).collect::<Vec<_>>());
        Series::new(name.into(), rows.iter().map(number).collect())
    };
    let targets = column(TARGETS, &over_targets);
    let languages = comparison.before.iter().map(|marks| marks.language);
    let languages = languages.map(|language| column(language.name(), &|run| in_language(run, language)));
    let series: Vec<Series> = [targets].into_iter().chain(languages).collect();
    let is_measured = series.iter().any(|series| series.values.iter().any(Option::is_some));
    is_measured.then(|| Measure {
        of: "method",
        labels: rows.iter().map(|row| row.name.clone()).collect(),
        series,
        dominant: comparison.dominant.map(|language| language.name().to_owned()),
        ..Measure::default()
    })
}

/// The mean over seeds, from the lowest to the highest of several.
fn over_seeds(values: &[f64]) -> Option<Number> {
    let [low, high] = [f64::min, f64::max].map(|end| values.iter().copied().reduce(end));
    let ends = low.zip(high).filter(|_| values.len() > 1);
    (!values.is_empty()).then(|| Number {
        value: mean(values),
        low: ends.map(|(low, _)| low),
        high: ends.map(|(_, high)| high),
        count: Some(values.len()),
        ..Number::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{RunResult, Tried};

    fn marks(language: &str, gap: f64, refused: Option<f64>) -> Marks {
        Marks {
            language: language.parse().unwrap(),
            reward_gap: gap,
            reward_accuracy: 0.5,
            refusal_rate: refused,
            refused_in_another: None,
            benign_answer_rate: None,
            unsafe_kept: None,
            benign_kept: None,
        }
    }

    fn comparison() -> Comparison {
        let run = |gap: f64| RunResult {
            exam: String::new(),
            steps: 1,
            seconds: 1.0,
            failure: None,
            test: vec![marks("en", 2.0, Some(1.0)), marks("bn", gap, Some(0.5)), marks("sw", 1.0, None)],
            validation: vec![],
        };
        let tried = Tried::new("lr=0.1".into(), &[1, 2], vec![run(1.0), run(3.0)]);
        let before = vec![marks("en", 2.0, Some(1.0)), marks("bn", 0.0, Some(0.0)), marks("sw", -1.0, None)];
        Comparison::new("en".parse().ok(), &[1, 2], before, vec![("mpo".into(), vec![tried])])
    }

    #[test]
    fn methods_are_rows_and_the_mean_over_targets_comes_first() {
        let comparison = comparison();
        let rows = rows(&comparison);
        let measure = measure(&comparison, &rows, |of| Some(of.reward_gap)).unwrap();
        assert_eq!(measure.labels, ["before", "mpo (lr=0.1)"]);
        let names: Vec<&str> = measure.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["target languages", "English", "Bengali", "Swahili"]);
        let number =
            |value, low, high, count| Some(Number { value, low, high, count: Some(count), ..Number::default() });
        assert_eq!(measure.series[0].values, [number(-0.5, None, None, 1), number(1.5, Some(1.0), Some(2.0), 2)]);
        assert_eq!(measure.series[2].values, [number(0.0, None, None, 1), number(2.0, Some(1.0), Some(3.0), 2)]);
    }

    #[test]
    fn what_no_run_has_is_left_out() {
        let page = page("three <seeds>", "methods: mpo\n", &comparison()).unwrap();
        for part in
            ["three &lt;seeds&gt;", "mpo (lr=0.1)", "Unsafe prompts refused", "<svg", "methods: mpo", "over seeds"]
        {
            assert!(page.contains(part), "no {part} in the page");
        }
        assert!(!page.contains("Benign prompts answered") && !page.contains("in another language"), "{page}");
    }
}
