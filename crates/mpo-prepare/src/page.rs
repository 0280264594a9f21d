//! The report as one HTML file, which opens without a network.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use crate::dropped::Reason;
use crate::error::PrepareError;
use crate::making::{Kind, Made};
use crate::prepared::Prepared;

/// A language's line of the table.
#[derive(Serialize)]
struct Line<'a> {
    language: &'a str,
    is_benign: bool,
    prompts: usize,
    kept: usize,
    dropped: Vec<usize>,
    chosen_from: String,
    is_detected: bool,
}

/// A row that was made.
#[derive(Serialize)]
struct Row<'a> {
    language: String,
    prompt: &'a str,
    dominant_chosen: Option<&'a str>,
    chosen: &'a str,
    rejected: Option<&'a str>,
    chosen_from: &'a str,
    is_benign: bool,
    is_refusal: bool,
}

/// A row that was not made.
#[derive(Serialize)]
struct Example<'a> {
    language: &'a str,
    is_benign: bool,
    reason: &'a str,
    part: &'a str,
    detail: &'a str,
    source: &'a str,
    text: Option<&'a str>,
    origin: String,
}

/// The page.
pub(crate) fn render(prepared: &Prepared, kept: &[Made]) -> Result<String, PrepareError> {
    let reasons: Vec<Reason> = prepared.reasons().collect();
    let lines = prepared.lines().map(|(of, is_benign)| Line {
        language: of.language.name(),
        is_benign,
        prompts: of.prompts,
        kept: of.kept,
        dropped: reasons.iter().map(|reason| of.dropped.get(reason).copied().unwrap_or(0)).collect(),
        chosen_from: of.chosen_from.iter().map(|(from, rows)| format!("{from} {rows}")).collect::<Vec<_>>().join(", "),
        is_detected: of.is_detected,
    });
    let rows = kept.iter().map(|made| Row {
        language: made.language.name().to_owned(),
        prompt: &made.prompt,
        dominant_chosen: made.dominant.as_deref(),
        chosen: &made.chosen,
        rejected: made.rejected.as_deref(),
        chosen_from: made.chosen_from,
        is_benign: made.kind == Kind::Benign,
        is_refusal: made.kind == Kind::Unsafe,
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let examples = prepared.examples.iter().map(|one| Example {
        language: one.language.name(),
        is_benign: one.benign,
        reason: one.reason.words(),
        part: one.part.name(),
        detail: &one.detail,
        source: &one.source,
        text: one.text.as_deref(),
        origin: one.origin.to_string(),
    });
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let page = environment.render_str(
        include_str!("page.html.jinja"),
        context! {
            prepared => Serde(prepared),
            dominant => prepared.dominant.name(),
            kept => prepared.kept(),
            reasons => reasons.iter().map(|reason| reason.words()).collect::<Vec<_>>(),
            lines => Serde(lines.collect::<Vec<_>>()),
            rows => Serde(rows),
            examples => Serde(examples.collect::<Vec<_>>()),
            version => env!("CARGO_PKG_VERSION"),
        },
    );
    page.map_err(|error| PrepareError::Page(format!("{error:#}")))
}
