//! What became of the prompts in each language, as a table.

use mpo_prepare::Prepared;

use crate::table::render;

/// A line for each language, and another for its benign prompts: the prompts, the rows kept, and those dropped for each reason.
pub(super) fn table(prepared: &Prepared) -> String {
    let reasons: Vec<_> = prepared.reasons().collect();
    let header = ["language", "prompts", "kept"].into_iter().chain(reasons.iter().map(|reason| reason.words()));
    let rows = prepared.lines().map(|(of, is_benign)| {
        let dropped = reasons.iter().map(|reason| of.dropped.get(reason).copied().unwrap_or(0).to_string());
        let of_kind = if is_benign { ", benign" } else { "" };
        [format!("{}{of_kind}", of.language.name()), of.prompts.to_string(), of.kept.to_string()]
            .into_iter()
            .chain(dropped)
    });
    render(header, rows, 1)
}
