//! Preference rows for a run: read, reported, and limited so that every language keeps its share.

use std::path::Path;

use mpo_data::{Dataset, Language, ReadOptions, ReadReport, Rows, TokenizedRows};
use mpo_progress::Progress;

use crate::error::TrainError;
use crate::settings::TrainConfig;

/// How a run reads its files.
pub fn read_options(config: &TrainConfig) -> ReadOptions {
    ReadOptions {
        dominant: config.dominant,
        language: config.language,
        columns: config.columns.clone(),
        split: config.split.clone(),
        skip_bad_rows: config.skip_bad_rows,
        ..ReadOptions::default()
    }
}

/// Reads a file, tells what became of its rows, makes `pivot` the dominant language, and keeps at most `limit` rows,
/// evenly over languages.
///
/// # Errors
/// If the file cannot be read, or no row is in `pivot`.
pub fn read_rows(
    path: &Path,
    options: &ReadOptions,
    limit: Option<usize>,
    pivot: Option<Language>,
    progress: &dyn Progress,
) -> Result<Dataset, TrainError> {
    let mut dataset = mpo_data::read_watched(path, options, progress)?;
    progress.note(&format_args!("{}\n{}", path.display(), dataset.report.to_string().trim_end()));
    if let Some(language) = pivot {
        let before = dataset.report.kept;
        dataset.rows = pivoted(dataset.rows, language)?;
        dataset.report.dominant = Some(language);
        dataset.report.kept = dataset.rows.len();
        progress.note(&format_args!("{:<10} {language}, in {} of {before} rows", "pivoted to", dataset.report.kept));
    }
    let Some(limit) = limit.filter(|&limit| limit < dataset.report.kept) else {
        return Ok(dataset);
    };
    progress.note(&format_args!("{:<10} {limit}, evenly over languages", "used"));
    Ok(Dataset { rows: dataset.rows.limit(limit), ..dataset })
}

/// Whether there are pairs: without them there is no reward gap to measure.
///
/// # Errors
/// If there are none.
pub fn check_pairs(path: &Path, report: &ReadReport, rows: &TokenizedRows) -> Result<(), TrainError> {
    let path = path.to_owned();
    if !rows.are_pairs() {
        return Err(TrainError::SingleAnswers { path });
    }
    if rows.is_empty() {
        let first = report.dropped.first();
        let first = first.map(|row| format!("; {}: {}", row.origin, row.reason));
        return Err(TrainError::NoPairs { path, read: report.read, first: first.unwrap_or_default() });
    }
    Ok(())
}

/// Tells the user where answers are all good or all bad, for KTO weighs the one against the other.
pub fn warn_of_one_class(rows: &TokenizedRows, config: &TrainConfig, progress: &dyn Progress) {
    if let Some(good) = rows.only_label()
        && config.method.definition().name == "kto"
    {
        progress.note(&format_args!(
            "warning: all {} answers are {} ones; KTO needs both, and moves everything one way without",
            rows.len(),
            if good { "good" } else { "bad" },
        ));
    }
}

/// The rows with `language` as the dominant one.
///
/// # Errors
/// If no row is in it.
pub fn pivoted(rows: Rows, language: Language) -> Result<Rows, TrainError> {
    let rows = rows.pivot(language);
    if rows.is_empty() {
        let expected = "a language that prompts are translated to";
        return Err(TrainError::setting("pivot", expected, language.code()));
    }
    Ok(rows)
}
