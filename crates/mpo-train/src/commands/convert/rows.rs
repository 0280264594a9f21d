//! Rows of any shape that is read, in one of two.

use std::collections::BTreeMap;
use std::path::Path;

use mpo_data::{Dataset, Language, ReadReport, Rows, TrlRows};
use mpo_progress::{Counted, Progress as _};
use mpo_trainer::{DeviceChoice, read_rows};
use serde::Serialize;

use super::{Shape, check_new};
use crate::apart::{OUTPUT, check_apart};
use crate::arguments::RowArguments;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// What was written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    output: &'a Path,
    format: &'static str,
    kind: &'static str,
    rows: usize,
    /// Rows by language; those in several count for each beside the dominant one.
    languages: BTreeMap<Language, usize>,
    dominant: Option<Language>,
    data: ReadReport,
}

/// Writes the rows of `data` as JSON Lines in this shape.
pub(super) fn convert(
    data: &Path,
    shape: Shape,
    arguments: &RowArguments,
    output: &Path,
    (json, quiet): (bool, bool),
) -> Result<(), Failure> {
    check_name(output)?;
    check_new(output)?;
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    check_apart((OUTPUT, folder.unwrap_or(Path::new("."))), ("--data", data))?;
    let session = Session::new(DeviceChoice::Flex, quiet)?;
    let Dataset { rows, report } = read_rows(data, &arguments.options(), arguments.rows, None, &session)?;
    check_rows(data, &rows, &report)?;
    let rows = match shape {
        Shape::Ours => {
            rows.write(output)?;
            rows
        }
        Shape::Trl => as_trl(data, rows, output, &session)?,
    };
    let mut languages = BTreeMap::new();
    for language in rows.languages() {
        *languages.entry(language).or_default() += 1;
    }
    let has_dominant = matches!(rows, Rows::Bilingual(_) | Rows::Parallel(_));
    let written = Written {
        output,
        format: shape.name(),
        kind: rows.kind(),
        rows: rows.len(),
        languages,
        dominant: report.dominant.filter(|_| has_dominant),
        data: report,
    };
    if json { output::json(&written) } else { output::line(written.summary()) }
}

/// Writes rows for TRL: the rows as they are then.
fn as_trl(data: &Path, rows: Rows, output: &Path, session: &Session) -> Result<Rows, Failure> {
    let (kind, in_two) = (rows.kind(), matches!(rows, Rows::Bilingual(_)));
    let rows = TrlRows::new(rows).ok_or_else(|| {
        Failure::new(
            format!("{}: expected rows with answers, which TRL is trained on, got {kind}", data.display()),
            "write them with --to mpo-train; nothing was written",
        )
    })?;
    rows.write(output)?;
    if in_two {
        session.note(
            &"TRL has no rows in two languages: each side is a row of its own, and a dominant side that rows share is there once. \
              MPO is trained on the rows as they were",
        );
    }
    Ok(rows.rows().clone())
}

impl Written<'_> {
    /// In a line.
    fn summary(&self) -> String {
        let languages = self.languages.iter().map(|(language, rows)| format!("{language} {rows}"));
        let beside = self.dominant.map_or(String::new(), |dominant| format!(", beside {dominant}"));
        format!(
            "{}: {} ({}): {}{beside}",
            self.output.display(),
            Counted(self.rows as u64, "row"),
            self.kind,
            languages.collect::<Vec<_>>().join(", ")
        )
    }
}

/// What reads a file by its name must find what the name says.
fn check_name(output: &Path) -> Result<(), Failure> {
    if output.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl")) {
        return Ok(());
    }
    Err(Failure::new(
        format!("{}: expected a name that ends in .jsonl, as rows are written as JSON Lines", output.display()),
        format!("name it {}", output.with_extension("jsonl").display()),
    ))
}

/// A file without rows could not be read again.
fn check_rows(data: &Path, rows: &Rows, report: &ReadReport) -> Result<(), Failure> {
    if !rows.is_empty() {
        return Ok(());
    }
    let first = report.dropped.first().map(|row| format!("; {}: {}", row.origin, row.reason));
    Err(Failure::new(
        format!(
            "{}: expected at least one row, got none: all {} were dropped{}",
            data.display(),
            report.read,
            first.unwrap_or_default()
        ),
        "what is dropped, docs/data.md says; nothing was written",
    ))
}
