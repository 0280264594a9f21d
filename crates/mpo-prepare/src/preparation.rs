//! The steps, one behind the other: answer, judge, translate, check, write. Each keeps what it was told in the folder, so
//! that one that was interrupted goes on where it was.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mpo_data::Language;
use mpo_eval::Judge;
use mpo_progress::Progress;
use mpo_trainer::RunFolder;
use serde_json::Value;

use crate::answers::Asking;
use crate::benign::BenignPrompts;
use crate::case::Cases;
use crate::check::{Checker, Checks};
use crate::dropped::{Dropped, Reason};
use crate::error::PrepareError;
use crate::making::{Benign, Kind, Made, Maker};
use crate::page;
use crate::prepared::{Prepared, Sources};
use crate::recipes::RecipeDefinition;
use crate::subject::Subject;
use crate::translate::{Means, Translators};

/// The rows.
const ROWS_FILE: &str = "rows.jsonl";
/// What became no row.
const DROPPED_FILE: &str = "dropped.jsonl";
/// What came of it.
const PREPARED_FILE: &str = "prepared.json";

/// The setting that names the recipe.
const RECIPE: &str = "recipe";
/// The recipe of rows where no setting names one.
const UNNAMED: &str = "paper";

/// Rows that were not made, of each language and reason, that the results show.
const EXAMPLES: usize = 3;

/// Rows about to be made.
pub struct Preparation<'a> {
    /// The language of the prompts.
    pub dominant: Language,
    /// How rows are made.
    pub recipe: &'a RecipeDefinition,
    /// The languages to make rows in.
    pub languages: &'a [Language],
    /// How the model is asked.
    pub asking: Asking,
    /// What translations must stand.
    pub checks: Checks,
    /// Whether the data's own pairs in the dominant language stand beside rows that would be of one language.
    pub dominant_pairs: bool,
    /// Prompts that should be answered, to make rows of too.
    pub benign: Option<&'a BenignPrompts>,
    /// The model.
    pub subject: &'a dyn Subject,
    /// The model that it was made from, for recipes that need it.
    pub reference: Option<&'a dyn Subject>,
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

    /// Whether a folder has no rows that those of a recipe would replace: those of another one.
    ///
    /// # Errors
    /// If it has.
    pub fn check_recipe(folder: &Path, recipe: &RecipeDefinition) -> Result<(), PrepareError> {
        // A file that cannot be read is written anew.
        let prepared = fs::read(folder.join(PREPARED_FILE)).ok();
        let prepared: Option<Value> = prepared.and_then(|text| serde_json::from_slice(&text).ok());
        let Some(prepared) = prepared else { return Ok(()) };
        let got = prepared["settings"][RECIPE].as_str().unwrap_or(UNNAMED);
        if got == recipe.name {
            return Ok(());
        }
        Err(PrepareError::OtherRecipe { folder: folder.to_owned(), expected: recipe.name, got: got.to_owned() })
    }

    /// Makes the rows, and writes them with a report into the folder.
    ///
    /// # Errors
    /// If the model, the judge or a translator cannot be asked any more, nothing is there to ask, the folder has rows of another
    /// recipe, or a file cannot be written.
    pub fn run(
        &self,
        cases: Cases,
        mut sources: Sources,
        judge: &mut dyn Judge,
        translators: &mut Translators,
    ) -> Result<Prepared, PrepareError> {
        Self::check_languages(self.dominant, self.languages)?;
        self.recipe.check_reference(self.reference.is_some())?;
        Self::check_recipe(self.held.path(), self.recipe)?;
        if self.recipe.name != UNNAMED {
            sources.settings.insert(RECIPE, self.recipe.name.to_owned());
        }
        if self.dominant_pairs {
            cases.check_pairs(self.dominant)?;
        }
        let Cases { cases, left_out } = cases;
        if cases.is_empty() {
            let first = left_out.keys().next().map(|reason| format!("; {reason}"));
            return Err(PrepareError::NothingToAsk {
                path: sources.data,
                language: self.dominant,
                bad_answers: self.recipe.refuses,
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
        let mut maker = Maker {
            dominant: self.dominant,
            asking: self.asking,
            checker: Checker::new(self.checks)?,
            judge,
            translators,
            means: Means { subject: self.subject, held, progress, noted: &Cell::new(false) },
            reference: self.reference,
            dominant_pairs: self.dominant_pairs,
            answers_noted: false,
        };
        let mut recipe = self.recipe.begin(&cases, &mut maker)?;
        let mut benign = self.benign.map(|prompts| Benign::new(prompts, &cases));
        let (mut languages, mut lines, mut dropped, mut kept) = (vec![], vec![], vec![], vec![]);
        for &language in self.languages {
            let mut made = recipe.rows(language, &mut maker)?;
            let rows = made.counts.kept * self.recipe.rows_of_prompt.unwrap_or(1);
            let mut told = format!("{}: {rows} rows", language.name());
            let mut benign_rows = vec![];
            if let Some(benign) = &mut benign {
                let mut of = benign.rows(language, made.counts.kept, &made.refusals, &mut maker)?;
                told += &format!(", {} benign rows", of.counts.kept);
                benign.counts.languages.push(of.counts);
                made.dropped.append(&mut of.dropped);
                benign_rows = of.made;
            }
            progress.note(&told);
            languages.push(made.counts);
            dropped.append(&mut made.dropped);
            let mut shown = [0; 2];
            for made in spread(made.made, benign_rows) {
                lines.extend(&made.line);
                let shown = &mut shown[usize::from(made.kind == Kind::Benign)];
                *shown += 1;
                if *shown <= EXAMPLES {
                    kept.push(made);
                }
            }
        }
        let prepared = Prepared {
            sources,
            rows_of_prompt: self.recipe.rows_of_prompt,
            dominant: self.dominant,
            judge: self.recipe.refuses.then(|| maker.judge.name()),
            left_out,
            answers: recipe.answers(),
            languages,
            benign: benign.map(|benign| benign.counts),
            translators: maker.translators.tallies().to_vec(),
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

/// The rows with others among them, evenly: whoever takes the first rows takes of both.
fn spread<R>(rows: Vec<R>, others: Vec<R>) -> Vec<R> {
    let (count, of) = (rows.len().max(1), others.len());
    let (mut spread, mut others, mut taken) = (vec![], others.into_iter(), 0);
    for (number, row) in (1..).zip(rows) {
        spread.push(row);
        let due = number * of / count;
        spread.extend(others.by_ref().take(due - taken));
        taken = due;
    }
    spread.extend(others);
    spread
}

/// The first of each language, kind of prompt and reason.
fn examples(dropped: &[Dropped]) -> Vec<Dropped> {
    let mut shown: BTreeMap<(Language, bool, Reason), usize> = BTreeMap::new();
    let is_first = |one: &&Dropped| {
        let count = shown.entry((one.language, one.benign, one.reason)).or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_two_kinds_are_spread() {
        let spread = |rows: &str, others: &str| {
            spread(rows.chars().collect(), others.chars().collect()).into_iter().collect::<String>()
        };
        assert_eq!(spread("abcdef", "12"), "abc1def2");
        assert_eq!(spread("ab", "12345"), "a12b345");
        assert_eq!(spread("abc", ""), "abc");
        assert_eq!(spread("", "12"), "12");
    }
}
