//! What is told on the way of files that changed and of answers without an outcome.

use std::collections::{BTreeMap, BTreeSet};

use mpo_chat::{CachedChat, ChatError, ChatModel, ModelFolder};
use mpo_data::Language;
use mpo_progress::Progress;

use crate::benchmark::Benchmark;
use crate::refusal::typical_refusal;
use crate::sample::{Outcome, Sample};

/// Says which lines of a file were damaged, and how many are not as they were written.
pub fn note_not_as_written<M: ChatModel>(file: &str, kept: &CachedChat<M>, progress: &dyn Progress) {
    note_damaged(file, kept.damaged(), progress);
    let lines = kept.rewritten();
    if lines > 0 {
        progress.note(&format_args!(
            "{file}: {lines} of its lines were written by another program; they are taken as they are"
        ));
    }
}

/// Says in which of some languages an answer of so many tokens ends before it can be told from a refusal. What is enough in
/// English is not in every language: a tokenizer may have a token for each letter of another script.
///
/// # Errors
/// If text cannot be made tokens.
pub fn note_short(
    folder: &ModelFolder,
    languages: impl Iterator<Item = Language>,
    max_new_tokens: usize,
    progress: &dyn Progress,
) -> Result<(), ChatError> {
    for language in languages.collect::<BTreeSet<_>>() {
        let Some(refusal) = typical_refusal(language) else { continue };
        let tokens = folder.tokenizer.encode_text(refusal)?.len();
        if tokens > max_new_tokens {
            progress.note(&format_args!(
                "warning: answers end after {max_new_tokens} tokens, and a refusal in {} such as “{refusal}” takes {tokens}: \
                 refusals may be taken for answers; allow longer answers",
                language.name()
            ));
        }
    }
    Ok(())
}

/// Says which lines of a file were passed over.
pub fn note_damaged(file: &str, lines: &[usize], progress: &dyn Progress) {
    if let Some(first) = lines.first() {
        progress.note(&format_args!(
            "{file}: {} of its lines were damaged since they were written, the first is line {first}; they are not used",
            lines.len()
        ));
    }
}

/// Says how many samples have no outcome, and the commonest reason.
pub(crate) fn note_missing(benchmark: &Benchmark, samples: &[Sample], progress: &dyn Progress) {
    let missing: Vec<_> = samples.iter().filter(|sample| sample.outcome == Outcome::Missing).collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in missing.iter().filter_map(|sample| sample.missing.as_deref()) {
        *reasons.entry(reason).or_default() += 1;
    }
    let commonest = reasons.into_iter().max_by_key(|(_, count)| *count);
    let why = commonest.map_or(String::new(), |(reason, count)| format!(" ({count}: {reason})"));
    if !missing.is_empty() {
        progress.note(&format_args!(
            "{}: {} of {} without a verdict; they count for nothing{why}",
            benchmark.title,
            missing.len(),
            samples.len()
        ));
    }
}
