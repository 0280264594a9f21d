//! The steps, one behind the other: answer, judge, translate, check, write. Each keeps what it was told in the folder, so
//! that one that was interrupted goes on where it was.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use mpo_data::Language;
use mpo_eval::Judge;
use mpo_progress::Progress;
use mpo_trainer::RunFolder;

use crate::case::Cases;
use crate::check::{Checker, Checks};
use crate::dropped::{Dropped, Reason};
use crate::error::PrepareError;
use crate::making::{Made, Maker};
use crate::page;
use crate::prepared::{Prepared, Sources};
use crate::refusal::{Asking, refusals};
use crate::subject::Subject;
use crate::translate::{Means, Translators};

/// The rows.
const ROWS_FILE: &str = "rows.jsonl";
/// What became no row.
const DROPPED_FILE: &str = "dropped.jsonl";
/// What came of it.
const PREPARED_FILE: &str = "prepared.json";

/// Rows that were not made, of each language and reason, that the results show.
const EXAMPLES: usize = 3;

/// Rows about to be made.
pub struct Preparation<'a> {
    /// The language of the prompts.
    pub dominant: Language,
    /// The languages to make rows in.
    pub languages: &'a [Language],
    /// How the model is asked.
    pub asking: Asking,
    /// What translations must stand.
    pub checks: Checks,
    /// The model.
    pub subject: &'a dyn Subject,
    /// The folder to make them in.
    pub held: &'a RunFolder,
    /// Who is told, and may stop it.
    pub progress: &'a dyn Progress,
}

impl Preparation<'_> {
    /// The file of rows.
    pub fn rows_file(&self) -> PathBuf {
        self.held.path().join(ROWS_FILE)
    }

    /// Whether rows in these languages can be made at all.
    ///
    /// # Errors
    /// If the dominant language is one of them.
    pub fn check_languages(dominant: Language, languages: &[Language]) -> Result<(), PrepareError> {
        if languages.contains(&dominant) { Err(PrepareError::Dominant(dominant)) } else { Ok(()) }
    }

    /// Makes the rows, and writes them with a report into the folder.
    ///
    /// # Errors
    /// If the model, the judge or a translator cannot be asked any more, nothing is there to ask, or a file cannot be
    /// written.
    pub fn run(
        &self,
        cases: Cases,
        sources: Sources,
        judge: &mut dyn Judge,
        translators: &mut Translators,
    ) -> Result<Prepared, PrepareError> {
        Self::check_languages(self.dominant, self.languages)?;
        let Cases { cases, left_out } = cases;
        if cases.is_empty() {
            let first = left_out.keys().next().map(|reason| format!("; {reason}"));
            return Err(PrepareError::NothingToAsk {
                path: sources.data,
                language: self.dominant,
                read: sources.read,
                first: first.unwrap_or_default(),
            });
        }
        let Self { held, progress, .. } = *self;
        // There is something to go on from.
        held.keep();
        for file in [ROWS_FILE, DROPPED_FILE, PREPARED_FILE] {
            held.check_file(&held.path().join(file))?;
        }
        let checker = Checker::new(self.checks)?;
        let (answers, answered) = refusals(&cases, self.dominant, self.subject, self.asking, judge, held, progress)?;
        progress.note(&format_args!("{} of {} prompts refused", answered.refused, answered.prompts));
        let judge = judge.name();
        let maker =
            Maker { dominant: self.dominant, cases: &cases, answers: &answers, checker: &checker, judge: &judge };
        let means = Means { subject: self.subject, held, progress, noted: &Cell::new(false) };
        let (mut languages, mut lines, mut dropped, mut kept) = (vec![], vec![], vec![], vec![]);
        for &language in self.languages {
            let mut made = maker.rows(language, translators, &means)?;
            progress.note(&format_args!("{}: {} rows", language.name(), made.counts.kept));
            languages.push(made.counts);
            lines.append(&mut made.lines);
            dropped.append(&mut made.dropped);
            kept.extend(made.made.into_iter().take(EXAMPLES));
        }
        let prepared = Prepared {
            sources,
            dominant: self.dominant,
            judge,
            left_out,
            answers: answered,
            languages,
            translators: translators.tallies().to_vec(),
            examples: examples(&dropped),
        };
        self.write(&prepared, &lines, &dropped, &kept)?;
        Ok(prepared)
    }

    /// Everything at once at the end, so that files agree with each other.
    fn write(&self, prepared: &Prepared, rows: &[u8], dropped: &[Dropped], kept: &[Made]) -> Result<(), PrepareError> {
        let held = self.held;
        let path = |name: &str| held.path().join(name);
        held.write(&path(ROWS_FILE), rows)?;
        held.write(&path(DROPPED_FILE), &lines(dropped)?)?;
        let page = page::render(prepared, kept)?;
        held.write(&held.report_file(), page.as_bytes())?;
        let mut text = serde_json::to_vec_pretty(prepared).map_err(|error| PrepareError::Page(error.to_string()))?;
        text.push(b'\n');
        held.write(&path(PREPARED_FILE), &text)?;
        Ok(())
    }
}

/// The first of each language and reason.
fn examples(dropped: &[Dropped]) -> Vec<Dropped> {
    let mut shown: BTreeMap<(Language, Reason), usize> = BTreeMap::new();
    let is_first = |one: &&Dropped| {
        let count = shown.entry((one.language, one.reason)).or_default();
        *count += 1;
        *count <= EXAMPLES
    };
    dropped.iter().filter(is_first).cloned().collect()
}

fn lines(dropped: &[Dropped]) -> Result<Vec<u8>, PrepareError> {
    let mut lines = vec![];
    for one in dropped {
        serde_json::to_writer(&mut lines, one).map_err(|error| PrepareError::Page(error.to_string()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}
