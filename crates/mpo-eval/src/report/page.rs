//! What stands on a page, and how it becomes HTML.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use super::answers::SampleSection;
use super::measures::Measure;
use super::run::Glance;
use crate::error::EvalError;

/// What the small numbers of a run or an evaluation are.
pub(super) const INTERVALS: &str =
    "Small numbers are 95 % confidence intervals: Wilson’s for rates, the normal one for means of two or more.";
/// What they are in a comparison.
pub(super) const SEEDS: &str =
    "Numbers are means over seeds. Small ones are the lowest and the highest seed’s, and n how many there are.";

/// A picture with its title.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) title: String,
    pub(super) chart: String,
}

/// A page, section by section; what is empty is left out.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) glances: Vec<Glance>,
    pub(super) measures: Vec<Measure>,
    /// What the small numbers of the measures are.
    pub(super) intervals: &'static str,
    pub(super) curves: Vec<Figure>,
    /// More curves, folded.
    pub(super) details: Vec<Figure>,
    pub(super) warnings: Vec<String>,
    pub(super) projections: Vec<Figure>,
    /// How far apart languages lie, by layer.
    pub(super) layers: Vec<Figure>,
    pub(super) samples: Vec<SampleSection>,
    /// How each run came about.
    pub(super) runs: Vec<BTreeMap<&'static str, String>>,
}

impl Page {
    /// As HTML that needs nothing else.
    pub(super) fn render(&self) -> Result<String, EvalError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_filter("number", number);
        let broken = |error: minijinja::Error| EvalError::Report(format!("{error:#}"));
        let page = environment.render_str(
            include_str!("report.html.jinja"),
            context! {
                title => &self.title,
                glances => Serde(&self.glances),
                measures => Serde(&self.measures),
                intervals => self.intervals,
                curves => Serde(&self.curves),
                details => Serde(&self.details),
                warnings => &self.warnings,
                projections => Serde(&self.projections),
                layers => Serde(&self.layers),
                samples => Serde(&self.samples),
                runs => Serde(&self.runs),
                version => env!("CARGO_PKG_VERSION"),
            },
        );
        page.map_err(broken)
    }
}

/// A number as a table shows it.
pub(super) fn number(value: f64, percent: bool) -> String {
    if percent { format!("{:.1} %", value * 100.0) } else { format!("{value:.3}") }
}
