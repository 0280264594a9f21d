//! What became of rows on their way to tokens.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::language::Language;
use crate::report::Dropped;
use crate::tokenizer::Exchange;
use crate::truncation::{Lengths, Truncation};

/// Good answers of one language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GoodAnswers {
    /// How many there were.
    pub count: usize,
    /// How many of them were cut, so that none shows how it ends.
    pub truncated: usize,
}

/// How much was cut, and which rows were dropped. Displays as lines for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TruncationReport {
    /// How many pairs there were, two per row in two languages; or single answers.
    pub pairs: usize,
    /// Pairs of which anything was cut.
    pub truncated: usize,
    /// Prompts of which anything was cut: of these the end is lost, where the answer begins.
    pub prompts: usize,
    /// Tokens of the longest prompt and response together, before cutting.
    pub longest: usize,
    /// The good answers of pairs, by language.
    pub good_answers: BTreeMap<Language, GoodAnswers>,
    /// Rows dropped: those whose answers are the same once they are cut and, where that was asked for, those that the chat
    /// template refuses.
    pub dropped: Vec<Dropped>,
    /// What generation adds to prompts and conversations do not have: it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl TruncationReport {
    /// Whether there is anything to tell.
    pub fn is_worth_saying(&self) -> bool {
        self.truncated > 0 || !self.dropped.is_empty() || self.left_out.is_some()
    }

    pub(super) fn left_out<const N: usize>(&mut self, exchange: &Exchange<N>) {
        if self.left_out.is_none() {
            self.left_out.clone_from(&exchange.left_out);
        }
    }

    /// Counts the good answer of a pair.
    pub(super) fn count_good(&mut self, language: Language, is_truncated: bool) {
        let of = self.good_answers.entry(language).or_default();
        of.count += 1;
        of.truncated += usize::from(is_truncated);
    }

    /// The languages most of whose good answers were cut, where those of another were not: one limit in tokens is not the same
    /// for all, for a tokenizer may take four times as many for a Bengali sentence as for an English one.
    fn cut_short(&self) -> Vec<Language> {
        let is_cut = |of: &GoodAnswers| 2 * of.truncated > of.count;
        if self.good_answers.values().all(is_cut) {
            return vec![];
        }
        self.good_answers.iter().filter(|(_, of)| is_cut(of)).map(|(language, _)| *language).collect()
    }

    /// Counts a prompt and its longer answer, and says what is kept of them.
    pub(super) fn count(&mut self, truncation: Truncation, prompt: usize, response: usize) -> Lengths {
        let keep = truncation.lengths(prompt, response);
        self.pairs += 1;
        self.truncated += usize::from(keep.prompt < prompt || keep.response < response);
        self.prompts += usize::from(keep.prompt < prompt);
        self.longest = self.longest.max(prompt + response);
        keep
    }
}

impl fmt::Display for TruncationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Dropped rows that are named.
        const NAMED: usize = 5;
        let Self { pairs, truncated, prompts, longest, good_answers: _, dropped, left_out } = self;
        let mut line = "";
        if let Some(left_out) = left_out {
            write!(
                f,
                "prompts are scored and trained on without {:?}: the chat template writes it where an answer is asked for, and not in a conversation that has one",
                left_out
            )?;
            line = "\n";
        }
        if *truncated > 0 || (dropped.is_empty() && left_out.is_none()) {
            write!(f, "{line}{truncated} of {pairs} pairs or answers truncated; the longest had {longest} tokens")?;
            line = "\n";
        }
        if *prompts > 0 {
            write!(
                f,
                "; {prompts} lost the end of the prompt, where the answer is asked for: give more tokens, or limit answers"
            )?;
        }
        let cut_short = self.cut_short();
        if !cut_short.is_empty() {
            let names: Vec<&str> = cut_short.iter().map(|language| language.name()).collect();
            write!(
                f,
                "{line}warning: most good answers in {} are cut, and not those in other languages: a model that never sees how \
                 they end does not learn to give them; allow longer answers",
                names.join(", ")
            )?;
            line = "\n";
        }
        if !dropped.is_empty() {
            write!(f, "{line}{} rows dropped:", dropped.len())?;
            for Dropped { origin, reason } in dropped.iter().take(NAMED) {
                write!(f, "\n  {origin}: {reason}")?;
            }
            if dropped.len() > NAMED {
                write!(f, "\n  and {} more", dropped.len() - NAMED)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_cut_short_only_beside_others_that_are_not() {
        let of = |counts: &[(&str, usize, usize)]| {
            let good = counts
                .iter()
                .map(|&(language, count, truncated)| (language.parse().unwrap(), GoodAnswers { count, truncated }));
            let report = TruncationReport { good_answers: good.collect(), ..TruncationReport::default() };
            report.cut_short().iter().map(|language| language.code().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[("en", 10, 0), ("bn", 10, 6), ("sw", 10, 5)]), ["bn"]);
        // A limit that cuts all alike was meant.
        assert_eq!(of(&[("en", 10, 10), ("bn", 10, 9)]), [""; 0]);
        assert_eq!(of(&[]), [""; 0]);
    }
}
