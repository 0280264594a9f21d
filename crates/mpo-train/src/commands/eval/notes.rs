//! What the user is told on the way.

use mpo_data::Language;
use mpo_eval::{Benchmark, BenchmarkResult, LanguageKept, LanguageResult};
use mpo_progress::Progress as _;

use crate::session::Session;

/// Says which earlier results may be of other questions: those of the first versions do not say.
pub(super) fn unknown(benchmark: &Benchmark, others: &[LanguageResult], session: &Session) {
    let unknown = others.iter().filter(|of| of.questions.is_none());
    let unknown: Vec<_> = unknown.map(|of| of.language).collect();
    if !unknown.is_empty() {
        session.note(&format_args!(
            "{}: the earlier results in {} do not say which questions they are of; they are taken for the same set",
            benchmark.title,
            listed(unknown.into_iter())
        ));
    }
}

/// Says in which languages so many answers cannot be told that the language kept of the others says little.
pub(super) fn doubtful(benchmark: &Benchmark, result: &BenchmarkResult, session: &Session) {
    let doubtful = result.languages.iter().filter(|of| of.kept.as_ref().is_some_and(LanguageKept::is_doubtful));
    let doubtful: Vec<_> = doubtful.map(|of| of.language).collect();
    if !doubtful.is_empty() {
        session.note(&format_args!(
            "warning: {}: more than a quarter of the answers in {} are in no language that can be told, so the language kept \
             of the others says little; samples/ has them",
            benchmark.title,
            listed(doubtful.into_iter())
        ));
    }
}

/// English names of languages.
pub(super) fn listed(languages: impl Iterator<Item = Option<Language>>) -> String {
    let name = |language: Option<Language>| match language {
        Some(language) => language.name().to_owned(),
        None => "mixed languages".to_owned(),
    };
    languages.map(name).collect::<Vec<_>>().join(", ")
}
