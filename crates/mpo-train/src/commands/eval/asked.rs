//! What is asked: the questions of every benchmark that was named.

use mpo_data::Language;
use mpo_eval::{Benchmark, EvalError, Item, Marking, Questions};
use mpo_progress::Progress as _;

use super::arguments::EvalArguments;
use super::notes;
use crate::failure::Failure;
use crate::session::Session;

/// The benchmarks with their questions, and a judge for each. One without questions in the languages named is left out.
pub(super) fn asked(
    arguments: &EvalArguments,
    session: &Session,
) -> Result<Vec<(&'static Benchmark, Questions)>, Failure> {
    let mut asked: Vec<(&'static Benchmark, Questions)> = vec![];
    let mut left_out = None;
    for (benchmark, path) in &arguments.benchmarks {
        if asked.iter().any(|(of, _)| of.name == benchmark.name) {
            return Err(Failure::new(
                format!("{}: expected each benchmark once, got it twice", benchmark.name),
                "evaluate on the second file into a folder of its own, with --output",
            ));
        }
        match benchmark.items(path, &arguments.languages, arguments.limit) {
            Ok(items) => {
                items.notes().iter().for_each(|note| session.note(&note));
                note_absent(benchmark, &items, &arguments.languages, session);
                asked.push((benchmark, items));
            }
            Err(error @ EvalError::NotInLanguages { .. }) => {
                session.note(&format_args!("{error}; it is left out"));
                left_out.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let (true, None, Some(error)) = (asked.is_empty(), &arguments.data, left_out) {
        return Err(error.into());
    }
    let kind = arguments.judge.definition();
    if !kind.grades
        && let Some((benchmark, _)) = asked.iter().find(|(of, _)| of.marking == Marking::Grade)
    {
        return Err(Failure::new(
            format!("{}: expected a judge that grades, got {}", benchmark.name, kind.name),
            "name an endpoint or a model with --judge",
        ));
    }
    Ok(asked)
}

/// Says which of the languages asked for a benchmark lacks.
fn note_absent(benchmark: &Benchmark, items: &[Item], languages: &[Language], session: &Session) {
    let absent = languages.iter().filter(|language| {
        let of = |item: &Item| item.language == Some(**language);
        !items.iter().any(of)
    });
    let absent: Vec<Option<Language>> = absent.copied().map(Some).collect();
    if !absent.is_empty() {
        session.note(&format_args!("{}: no questions in {}", benchmark.title, notes::listed(absent.into_iter())));
    }
}
