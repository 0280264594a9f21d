//! What runs have measured, each measure with all runs beside each other.

use std::collections::BTreeMap;

use serde::Serialize;

use super::found::Number;
use super::run::RunReport;
use crate::approach::Goal;

/// Something measured by language, of every run.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Measure {
    pub(super) title: String,
    /// How it was measured, where that is so in every run.
    pub(super) note: String,
    /// What rows are: languages, mostly.
    pub(super) of: &'static str,
    pub(super) percent: bool,
    /// Rows of the table, in the order they came.
    pub(super) labels: Vec<String>,
    /// Columns: runs, mostly.
    pub(super) series: Vec<Series>,
    pub(super) chart: String,
    /// The dominant language, and what the others are to come up to, if that is so in every run.
    pub(super) dominant: Option<String>,
    pub(super) goal: Option<Goal>,
}

impl Measure {
    /// Whether a row is that of the dominant language.
    pub(super) fn is_dominant(&self, label: &str) -> bool {
        self.dominant.as_deref() == Some(label)
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Series {
    pub(super) name: String,
    /// How this run was judged, and what to beware of.
    note: String,
    /// One for each label.
    pub(super) values: Vec<Option<Number>>,
}

impl Series {
    /// Of which nothing is to be said beside.
    pub(super) fn new(name: String, values: Vec<Option<Number>>) -> Self {
        Self { name, note: String::new(), values }
    }
}

/// Everything that any run has measured, each under one title.
pub(super) fn measures(runs: &[RunReport]) -> Vec<Measure> {
    let mut measures: Vec<Measure> = vec![];
    for run in runs {
        for found in run.measures() {
            let known = measures.iter().position(|measure| measure.title == found.title);
            let at = known.unwrap_or_else(|| {
                measures.push(Measure {
                    title: found.title,
                    note: found.note,
                    of: "language",
                    percent: found.percent,
                    dominant: found.dominant.clone(),
                    goal: found.goal.clone(),
                    ..Measure::default()
                });
                measures.len() - 1
            });
            let measure = &mut measures[at];
            if measure.dominant != found.dominant || measure.goal != found.goal {
                (measure.dominant, measure.goal) = (None, None);
            }
            for (label, _) in &found.values {
                if !measure.labels.contains(label) {
                    measure.labels.push(label.clone());
                    measure.series.iter_mut().for_each(|series| series.values.push(None));
                }
            }
            let mut values: BTreeMap<String, Number> = found.values.into_iter().collect();
            measure.series.push(Series {
                name: found.series,
                note: found.judged,
                values: measure.labels.iter().map(|label| values.remove(label)).collect(),
            });
        }
    }
    measures
}
