//! Preference rows for a run: read, reported, and limited so that every language keeps its share.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use mpo_data::{Columns, Dataset, Language, Origin, ReadOptions, ReadReport, Row, Rows, TokenizedRows};
use mpo_progress::{Counted, Progress};

use crate::error::TrainError;
use crate::settings::{Shares, TrainConfig};

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
    narrowed(read(path, options, progress)?, limit, pivot, progress)
}

/// Reads the rows that a run is trained on, of all its sources, tells what becomes of them, makes `pivot` the dominant language,
/// and keeps at most as many as the configuration says, evenly over languages.
///
/// # Errors
/// Those of [`read_rows`], and if sources have rows of different kinds or in different dominant languages.
pub fn read_data(
    config: &TrainConfig,
    pivot: Option<Language>,
    progress: &dyn Progress,
) -> Result<Dataset, TrainError> {
    let options = read_options(config);
    let shares = config.data_weights.as_ref().map_or(&[][..], Shares::of_sources);
    let shares = shares.iter().copied().chain(std::iter::repeat(1.0));
    let mut all: Option<Dataset> = None;
    for (path, share) in config.data.paths().iter().zip(shares) {
        let part = part(read(path, &options, progress)?, share, progress);
        all = Some(match all {
            None => part,
            Some(all) => joined(all, part, path)?,
        });
    }
    let dataset = all.ok_or(TrainError::NoRows)?;
    if config.data.single().is_none() {
        let languages = dataset.report.languages.iter().map(|(language, rows)| format!("{language} {rows}"));
        progress.note(&format_args!(
            "{:<10} {} of {} sources: {}",
            "together",
            Counted(dataset.rows.len() as u64, "row"),
            config.data.paths().len(),
            languages.collect::<Vec<_>>().join(", ")
        ));
    }
    narrowed(dataset, config.rows, pivot, progress)
}

/// A share of the rows of a source, evenly over languages: one at least.
fn part(mut dataset: Dataset, share: f64, progress: &dyn Progress) -> Dataset {
    let of = dataset.rows.len();
    let count = ((of as f64 * share).round() as usize).clamp(1, of.max(1));
    if count < of {
        progress.note(&format_args!("{:<10} {count} of {of}, evenly over languages (data_weights {share})", "used"));
        dataset.rows = dataset.rows.limit(count);
        dataset.report.kept = count;
        dataset.report.languages.clear();
        for language in dataset.rows.languages() {
            *dataset.report.languages.entry(language).or_default() += 1;
        }
    }
    dataset
}

/// The rows of sources before, and those of the source at `path`.
fn joined(all: Dataset, part: Dataset, path: &Path) -> Result<Dataset, TrainError> {
    let differ = |what: &str, [one, other]: [String; 2]| {
        let got = format!("{one}, and in {} {other}", path.display());
        Err(TrainError::setting("data", format!("sources of one {what}"), got))
    };
    let dominants = [all.report.dominant, part.report.dominant];
    if let [Some(one), Some(other)] = dominants
        && one != other
    {
        return differ("dominant language", [one.name().to_owned(), other.name().to_owned()]);
    }
    let mut report = all.report;
    report.add(part.report);
    match all.rows.joined(part.rows) {
        Ok(rows) => Ok(Dataset { rows, report }),
        Err([one, other]) => differ("kind", [one.to_owned(), other.to_owned()]),
    }
}

fn read(path: &Path, options: &ReadOptions, progress: &dyn Progress) -> Result<Dataset, TrainError> {
    let dataset = mpo_data::read_watched(path, options, progress)?;
    progress.note(&format_args!("{}\n{}", path.display(), dataset.report.to_string().trim_end()));
    Ok(dataset)
}

/// The rows with `pivot` as the dominant language, at most `limit` of them.
fn narrowed(
    mut dataset: Dataset,
    limit: Option<usize>,
    pivot: Option<Language>,
    progress: &dyn Progress,
) -> Result<Dataset, TrainError> {
    if let Some(language) = pivot {
        let before: Vec<(Language, Origin)> = places(&dataset.rows);
        dataset.rows = pivoted(dataset.rows, language)?;
        dataset.report.dominant = Some(language);
        dataset.report.kept = dataset.rows.len();
        let of = before.len();
        progress.note(&format_args!("{:<10} {language}, in {} of {of} rows", "pivoted to", dataset.report.kept));
        tell_left_out(&before, &dataset.rows, language, progress);
    }
    let Some(limit) = limit.filter(|&limit| limit < dataset.report.kept) else {
        return Ok(dataset);
    };
    progress.note(&format_args!("{:<10} {limit}, evenly over languages", "used"));
    Ok(Dataset { rows: dataset.rows.limit(limit), ..dataset })
}

/// Reads the rows whose prompts are held consistent, where `config` names a file of them, but for those with a prompt of
/// `measured`: what a run is measured on is kept out of it.
///
/// # Errors
/// If the file cannot be read.
pub fn consistency_rows(
    config: &TrainConfig,
    measured: &[&Rows],
    progress: &dyn Progress,
) -> Result<Option<Rows>, TrainError> {
    let Some(path) = &config.consistency_data else { return Ok(None) };
    // The names of columns are those of the data.
    let options = ReadOptions { columns: Columns::default(), ..read_options(config) };
    let all = read(path, &options, progress)?.rows;
    let count = all.len();
    let rows = measured.iter().fold(all, |rows, measured| rows.apart_from(measured));
    if rows.len() < count {
        progress.note(&format_args!(
            "{:<10} {} of {count} rows of {}, whose prompts are measured on",
            "left out",
            count - rows.len(),
            path.display()
        ));
    }
    Ok(Some(rows))
}

/// Whether there are pairs: without them there is no reward gap to measure.
///
/// # Errors
/// If there are none.
pub fn check_pairs(path: &Path, report: &ReadReport, rows: &TokenizedRows) -> Result<(), TrainError> {
    let path = path.to_owned();
    if !rows.are_pairs() {
        return Err(TrainError::SingleAnswers { path, got: rows.kind() });
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
    let (kind, in_one) = (rows.kind(), matches!(rows, Rows::Monolingual(_) | Rows::Unpaired(_)));
    let found: BTreeSet<Language> = rows.languages().collect();
    let rows = rows.pivot(language);
    if !rows.is_empty() {
        return Ok(rows);
    }
    let name = language.name();
    if in_one {
        return Err(TrainError::Pivot {
            expected: format!("rows in two languages, some of them with a side in {name}"),
            got: format!("{kind}, which have no dominant language"),
            hint: "leave pivot out, or give rows of the form {dominant, target}".into(),
        });
    }
    let found = found.iter().map(|language| format!("{language} ({})", language.name()));
    let found = found.collect::<Vec<_>>().join(", ");
    Err(TrainError::Pivot {
        expected: format!("rows whose prompt is there in {name} too"),
        got: format!("{kind} without one; beside the dominant language they are in {found}"),
        hint: format!(
            "name one of these, leave pivot out, or add rows with a side in {name} to the same dominant prompts"
        ),
    })
}

/// The language that each row counts for, and where it came from.
fn places(rows: &Rows) -> Vec<(Language, Origin)> {
    fn of<R: Row>(rows: &[R]) -> Vec<(Language, Origin)> {
        rows.iter().map(|row| (row.language(), row.origin().clone())).collect()
    }
    match rows {
        Rows::Bilingual(rows) => of(rows),
        Rows::Monolingual(rows) => of(rows),
        Rows::Unpaired(rows) => of(rows),
        Rows::Parallel(rows) => of(rows),
    }
}

/// Says which of the rows `before` have found no translation to `language`, and warns where those of a language are all gone.
fn tell_left_out(before: &[(Language, Origin)], rows: &Rows, language: Language, progress: &dyn Progress) {
    let kept = places(rows);
    let kept: HashSet<&Origin> = kept.iter().map(|(_, origin)| origin).collect();
    // Of each language, rows that are left out, and all.
    let mut counts: BTreeMap<Language, [usize; 2]> = BTreeMap::new();
    for (of, origin) in before {
        let [out, all] = counts.entry(*of).or_default();
        *out += usize::from(!kept.contains(origin));
        *all += 1;
    }
    let out = counts.values().map(|[out, _]| out).sum::<usize>();
    if out == 0 {
        return;
    }
    let name = language.name();
    let (rows, of) = (Counted(out as u64, "row"), counts.iter().filter(|(_, [out, _])| *out > 0));
    let of: Vec<String> = of.map(|(language, [out, _])| format!("{language} {out}")).collect();
    progress.note(&format_args!("{:<10} {rows} whose prompt no row has in {name}: {}", "left out", of.join(", ")));
    let gone = counts.iter().filter(|(_, [out, all])| out == all).map(|(language, _)| language.name());
    let gone: Vec<&str> = gone.collect();
    if !gone.is_empty() {
        progress.note(&format_args!(
            "warning: nothing is left in {}: rows are translations of each other where their dominant sides are the same to the letter, \
             and none of those is there in {name}; give such rows, or another pivot",
            gone.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use mpo_data::read;
    use mpo_progress::Recorder;

    use super::*;

    /// Rows such as `en1-sw1`, read with this pivot: what was said, or why not.
    fn pivot(rows: &str, language: &str) -> Result<Vec<String>, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let side =
            |text: &str| serde_json::json!({ "language": text[..2], "prompt": text, "chosen": "a", "rejected": "b" });
        let lines = rows.split(' ').map(|row| match row.split_once('-') {
            Some((dominant, target)) => serde_json::json!({ "dominant": side(dominant), "target": side(target) }),
            None => side(row),
        });
        std::fs::write(&path, lines.map(|row| row.to_string()).collect::<Vec<_>>().join("\n")).unwrap();
        let dataset = read(&path, &ReadOptions::default()).unwrap();
        let recorder = Recorder::default();
        narrowed(dataset, None, language.parse().ok(), &recorder)?;
        Ok(recorder.texts())
    }

    #[test]
    fn rows_without_a_translation_are_told_by_language() {
        let said = pivot("en1-zh1 en1-sw1 en2-sw2 en3-sw3 en4-bn4", "zh").unwrap();
        assert_eq!(said[0], "pivoted to zh, in 2 of 5 rows");
        assert_eq!(said[1], "left out   3 rows whose prompt no row has in Chinese: bn 1, sw 2");
        let warning = "warning: nothing is left in Bengali: rows are translations of each other where their dominant sides are the \
                       same to the letter, and none of those is there in Chinese; give such rows, or another pivot";
        assert_eq!(&said[2..], [warning]);
        assert_eq!(pivot("en1-zh1 en1-sw1", "zh").unwrap(), ["pivoted to zh, in 2 of 2 rows"]);
    }

    #[test]
    fn a_pivot_that_no_row_has_is_told_with_those_that_there_are() {
        let refused = |rows, language| {
            let error = pivot(rows, language).unwrap_err();
            [error.to_string(), error.hint().unwrap()]
        };
        let [error, hint] = refused("en1-sw1 en2-bn2", "zh");
        let expected = "pivot: expected rows whose prompt is there in Chinese too, got pairs in two languages without one; beside the \
                        dominant language they are in bn (Bengali), sw (Swahili)";
        assert_eq!(error, expected);
        assert!(hint.contains("name one of these, leave pivot out, or add rows with a side in Chinese"), "{hint}");
        let [error, hint] = refused("en1 sw1", "zh");
        assert!(error.contains("expected rows in two languages, some of them with a side in Chinese"), "{error}");
        assert!(error.ends_with("got pairs in one language, which have no dominant language"), "{error}");
        assert!(hint.contains("{dominant, target}"), "{hint}");
    }
}
