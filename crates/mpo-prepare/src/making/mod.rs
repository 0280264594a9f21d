//! The rows of one language: of unsafe prompts, which the model refuses, and of benign ones, which it answers. Each part is
//! made and checked before the next one is, so that what fails costs nothing more.

mod benign;
mod draft;
mod judged;
mod refused;
mod translated;

use std::collections::{BTreeMap, HashSet};

use mpo_data::{BilingualPair, Language, Message, row_line};
use mpo_eval::Judge;
use mpo_models::Sampling;

use crate::answers::{Asking, Said, said};
use crate::check::Checker;
use crate::dropped::{Dropped, Part};
use crate::error::PrepareError;
use crate::prepared::LanguageCounts;
use crate::translate::{Means, Translators};
use draft::Draft;

pub(crate) use benign::Benign;
pub(crate) use refused::Refused;

/// Where parts come from that nobody translated.
const DATA: &str = "data";
/// Where answers come from that the model gave.
const MODEL: &str = "the model's answer";

/// What rows are made with.
pub(crate) struct Maker<'a> {
    pub(crate) dominant: Language,
    pub(crate) asking: Asking,
    pub(crate) checker: Checker,
    pub(crate) judge: &'a mut dyn Judge,
    pub(crate) translators: &'a mut Translators,
    pub(crate) means: Means<'a>,
    /// Whether damage to the answers that are kept was told of.
    pub(crate) answers_noted: bool,
}

impl Maker<'_> {
    /// What the model says to prompts, as the sample of this number.
    fn said(
        &mut self,
        prompts: &[Vec<Message>],
        sample: usize,
        sampling: Option<Sampling>,
    ) -> Result<Said, PrepareError> {
        said(prompts, sample, self.asking.max_new_tokens, sampling, &self.means, &mut self.answers_noted)
    }
}

/// A row that was made.
pub(crate) struct Made {
    pub(crate) row: BilingualPair,
    /// Where the answer to prefer came from.
    pub(crate) chosen_from: &'static str,
    /// Whether the prompt should be answered.
    pub(crate) is_benign: bool,
    /// The row as a line of a file.
    pub(crate) line: Vec<u8>,
}

/// What was made in one language of prompts of one kind.
pub(crate) struct OfLanguage {
    pub(crate) counts: LanguageCounts,
    pub(crate) made: Vec<Made>,
    pub(crate) dropped: Vec<Dropped>,
    /// What tells rows from each other.
    seen: HashSet<String>,
}

impl OfLanguage {
    fn new(language: Language, prompts: usize, checker: &Checker) -> Self {
        let counts = LanguageCounts {
            language,
            prompts,
            kept: 0,
            dropped: BTreeMap::new(),
            chosen_from: BTreeMap::new(),
            prompt_from: BTreeMap::new(),
            rejected_from: BTreeMap::new(),
            is_detected: checker.knows(language),
        };
        Self { counts, made: vec![], dropped: vec![], seen: HashSet::new() }
    }

    /// Makes the row of a draft that has all its parts, unless both answers are the same or another row is. True if it is
    /// made.
    fn keep(&mut self, draft: &Draft<'_>, dominant: Language, judge: &str) -> Result<bool, PrepareError> {
        let language = self.counts.language;
        let row = draft.row(dominant, language).and_then(|row| {
            let is_new = self.seen.insert(draft.key());
            is_new.then_some(row).ok_or_else(|| draft.duplicate())
        });
        match row {
            Ok(row) => {
                let from = |part| draft.found[&part].from;
                let line = row_line(&row, Some(&draft.provenance(judge)))?;
                let LanguageCounts { kept, chosen_from, prompt_from, rejected_from, .. } = &mut self.counts;
                *kept += 1;
                *chosen_from.entry(from(Part::Chosen)).or_default() += 1;
                *prompt_from.entry(from(Part::Prompt)).or_default() += 1;
                *rejected_from.entry(from(Part::Rejected)).or_default() += 1;
                self.made.push(Made { row, chosen_from: from(Part::Chosen), is_benign: draft.is_benign, line });
                Ok(true)
            }
            Err(problem) => {
                let text = draft.found[&Part::Prompt].texts.join("\n");
                self.drop(draft.dropped(language, Part::Prompt, problem, Some(text)));
                Ok(false)
            }
        }
    }

    fn drop(&mut self, dropped: Dropped) {
        *self.counts.dropped.entry(dropped.reason).or_default() += 1;
        self.dropped.push(dropped);
    }
}
