//! Preference rows for a command: read, reported, and limited so that every language keeps its share.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use mpo_data::{Dataset, Language, Pairs, ReadOptions, ReadProgress, ReadReport};
use mpo_trainer::{TrainConfig, TrainError, TrainingRows};

use crate::failure::Failure;
use crate::session::Session;

/// How a run reads its files.
pub(crate) fn options(config: &TrainConfig) -> ReadOptions {
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
pub(crate) fn read(
    path: &Path,
    options: &ReadOptions,
    limit: Option<usize>,
    pivot: Option<Language>,
    session: &Session,
) -> Result<Dataset, Failure> {
    let spinner = session.spinner("reading rows");
    let watch = |progress| {
        spinner.set_message(match progress {
            ReadProgress::Rows(rows) => format!("{rows}"),
            ReadProgress::Languages { done, of } => format!("languages of {done}/{of} texts"),
        });
    };
    let mut dataset = mpo_data::read_watched(path, options, &watch)?;
    drop(spinner);
    session.note(format_args!("{}\n{}", path.display(), dataset.report.to_string().trim_end()));
    if let Some(language) = pivot {
        let before = dataset.report.kept;
        dataset.rows = pivoted(dataset.rows, language)?;
        dataset.report.dominant = Some(language);
        dataset.report.kept = dataset.rows.len();
        session.note(format_args!("{:<10} {language}, in {} of {before} rows", "pivoted to", dataset.report.kept));
    }
    let Some(limit) = limit.filter(|&limit| limit < dataset.report.kept) else {
        return Ok(dataset);
    };
    session.note(format_args!("{:<10} {limit}, evenly over languages", "used"));
    let rows = match dataset.rows {
        Pairs::Bilingual(rows) => Pairs::Bilingual(evenly(rows, limit, |row| row.target.language())),
        Pairs::Monolingual(rows) => Pairs::Monolingual(evenly(rows, limit, |row| row.pair.language())),
        Pairs::Unpaired(rows) => Pairs::Unpaired(evenly(rows, limit, |row| row.language)),
    };
    Ok(Dataset { rows, ..dataset })
}

/// Fails where there are no pairs, for then there is no reward gap to measure.
pub(crate) fn check_pairs(path: &Path, report: &ReadReport, rows: &TrainingRows) -> Result<(), Failure> {
    let (path, read) = (path.display(), report.read);
    match rows {
        TrainingRows::Unpaired(_) => Err(Failure::new(
            format!("{path}: expected pairs of answers, got single answers, which have no reward gap"),
            "give rows with `chosen` and `rejected`",
        )),
        rows if rows.is_empty() => {
            let first = report.dropped.first();
            let first = first.map(|row| format!("; {}: {}", row.origin, row.reason));
            Err(Failure::new(
                format!(
                    "{path}: expected at least one pair of answers, got none: all {read} rows were dropped{}",
                    first.unwrap_or_default()
                ),
                "what is dropped, docs/data.md says; without --quiet each row is listed with its reason",
            ))
        }
        _ => Ok(()),
    }
}

/// Tells the user where answers are all good or all bad, for KTO weighs the one against the other.
pub(crate) fn warn_of_one_class(rows: &TrainingRows, config: &TrainConfig, session: &Session) {
    let TrainingRows::Unpaired(answers) = rows else {
        return;
    };
    let good = answers.iter().filter(|answer| answer.desirable).count();
    let all = match (config.method.definition().name, good) {
        ("kto", 0) => "bad",
        ("kto", _) if good == answers.len() => "good",
        _ => return,
    };
    session.note(format_args!(
        "warning: all {} answers are {all} ones; KTO needs both, and moves everything one way without",
        answers.len()
    ));
}

/// The rows with `language` as the dominant one.
pub(crate) fn pivoted(rows: Pairs, language: Language) -> Result<Pairs, Failure> {
    let rows = match rows {
        Pairs::Bilingual(rows) => mpo_data::pivot(rows, language),
        Pairs::Monolingual(_) | Pairs::Unpaired(_) => vec![],
    };
    if rows.is_empty() {
        let expected = "a language that prompts are translated to";
        return Err(TrainError::setting("pivot", expected, language.code()).into());
    }
    Ok(Pairs::Bilingual(rows))
}

/// The `limit` items that are taken first when languages take turns, in the order they came.
pub(crate) fn evenly<T>(items: Vec<T>, limit: usize, language: impl Fn(&T) -> Language) -> Vec<T> {
    let mut taken: HashMap<Language, usize> = HashMap::new();
    let mut turns: Vec<(usize, usize)> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let turn = taken.entry(language(item)).or_default();
            *turn += 1;
            (*turn, index)
        })
        .collect();
    turns.sort_unstable();
    let kept: HashSet<usize> = turns.into_iter().take(limit).map(|(_, index)| index).collect();
    let items = items.into_iter().enumerate();
    items.filter(|(index, _)| kept.contains(index)).map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items kept of `items`, each the code of its language and a number.
    fn kept(items: &str, limit: usize) -> String {
        let items: Vec<&str> = items.split(' ').collect();
        evenly(items, limit, |item| item[..2].parse().unwrap()).join(" ")
    }

    #[test]
    fn languages_take_turns_and_the_order_stays() {
        let blocks = "zh1 zh2 zh3 sw1 sw2 sw3 bn1";
        for (limit, want) in [
            (0, ""),
            (1, "zh1"),
            (2, "zh1 sw1"),
            (3, "zh1 sw1 bn1"),
            (5, "zh1 zh2 sw1 sw2 bn1"),
            (6, "zh1 zh2 zh3 sw1 sw2 bn1"),
            (7, blocks),
            (usize::MAX, blocks),
        ] {
            assert_eq!(kept(blocks, limit), want, "{limit}");
        }
    }
}
