//! What is told on the way of files that changed and of answers without an outcome.

use std::collections::BTreeMap;

use mpo_chat::{CachedChat, ChatModel};
use mpo_progress::Progress;

use crate::benchmark::Benchmark;
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
