//! What rows of any recipe are made with: parts that are answered, judged, translated and checked one after the other, so that
//! what fails costs nothing more; and rows of benign prompts, whatever the recipe of the others.

mod benign;
mod draft;
mod judged;
mod refusals;
mod translated;

use std::collections::{BTreeMap, HashSet};

use mpo_data::{Language, row_line};
use mpo_eval::Judge;

use crate::answers::Asking;
use crate::check::{Checker, Problem};
use crate::dropped::{Dropped, Part};
use crate::error::PrepareError;
use crate::prepared::LanguageCounts;
use crate::subject::Subject;
use crate::translate::{Means, Translators};

pub(crate) use benign::Benign;
pub(crate) use draft::{Draft, Found, Given, Kind, asking_for};
pub(crate) use judged::last_turn;
pub(crate) use refusals::Refusals;

/// Where parts come from that nobody translated.
pub(crate) const DATA: &str = "data";
/// Where answers come from that the model gave.
pub(crate) const MODEL: &str = "the model's answer";

/// What rows are made with.
pub(crate) struct Maker<'a> {
    pub(crate) dominant: Language,
    pub(crate) asking: Asking,
    pub(crate) checker: Checker,
    pub(crate) judge: &'a mut dyn Judge,
    pub(crate) translators: &'a mut Translators,
    pub(crate) means: Means<'a>,
    /// The model that the first was made from, where a recipe asks it.
    pub(crate) reference: Option<&'a dyn Subject>,
    /// Whether the data's own pairs in the dominant language stand beside rows that would be of one language.
    pub(crate) dominant_pairs: bool,
    /// Whether damage to the answers that are kept was told of.
    pub(crate) answers_noted: bool,
}

/// A row that was made.
pub(crate) struct Made {
    pub(crate) kind: Kind,
    /// The target language.
    pub(crate) language: Language,
    /// The last turn of the prompt in it.
    pub(crate) prompt: String,
    /// The answer to prefer.
    pub(crate) chosen: String,
    /// The answer to avoid, if there is one.
    pub(crate) rejected: Option<String>,
    /// The answer to prefer in the dominant language, where the row has that side.
    pub(crate) dominant: Option<String>,
    /// Where the answer to prefer came from.
    pub(crate) chosen_from: &'static str,
    /// The row, or the rows of one prompt, as lines of a file.
    pub(crate) line: Vec<u8>,
}

/// What was made in one language of prompts of one kind.
pub(crate) struct OfLanguage {
    pub(crate) counts: LanguageCounts,
    pub(crate) made: Vec<Made>,
    pub(crate) dropped: Vec<Dropped>,
    /// Refusals that its rows prefer.
    pub(crate) refusals: Refusals,
    /// What tells rows from each other.
    seen: HashSet<String>,
}

impl OfLanguage {
    pub(crate) fn new(language: Language, prompts: usize, checker: &Checker) -> Self {
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
        Self { counts, made: vec![], dropped: vec![], refusals: Refusals::default(), seen: HashSet::new() }
    }

    /// Makes the row of a draft that has all its parts, unless both answers are the same or another row is. True if it is
    /// made.
    pub(crate) fn keep(&mut self, draft: &Draft<'_>, dominant: Language) -> Result<bool, PrepareError> {
        let language = self.counts.language;
        let row = draft.row(dominant, language).and_then(|row| {
            let is_new = self.seen.insert(draft.key());
            is_new.then_some(row).ok_or_else(|| draft.duplicate())
        });
        match row {
            Ok(row) => {
                self.keep_lines(draft, row.line(&draft.provenance())?);
                Ok(true)
            }
            Err(problem) => {
                self.drop_made(draft, problem);
                Ok(false)
            }
        }
    }

    /// Makes the rows of a draft that has prompt and answer in both languages, each with each, unless another has the same
    /// prompt.
    pub(crate) fn keep_crossed(&mut self, draft: &Draft<'_>, dominant: Language) -> Result<(), PrepareError> {
        if !self.seen.insert(draft.key()) {
            self.drop_made(draft, draft.duplicate());
            return Ok(());
        }
        let mut lines = vec![];
        for (crossing, row) in draft.crossed(dominant, self.counts.language) {
            let mut provenance = draft.provenance();
            provenance["crossing"] = crossing.into();
            lines.append(&mut row_line(&row, Some(&provenance))?);
        }
        self.keep_lines(draft, lines);
        Ok(())
    }

    /// Counts a draft that became lines of the file.
    fn keep_lines(&mut self, draft: &Draft<'_>, line: Vec<u8>) {
        let LanguageCounts { kept, chosen_from, prompt_from, rejected_from, .. } = &mut self.counts;
        *kept += 1;
        for (part, counts) in
            [(Part::Chosen, chosen_from), (Part::Prompt, prompt_from), (Part::Rejected, rejected_from)]
        {
            if let Some(found) = draft.target.get(&part) {
                *counts.entry(found.from).or_default() += 1;
            }
        }
        let text = |part| draft.target.get(&part).map(|found: &Found| found.texts.concat());
        self.made.push(Made {
            kind: draft.kind,
            language: self.counts.language,
            prompt: draft.target_prompt().pop().map_or_else(String::new, |message| message.content),
            chosen: text(Part::Chosen).unwrap_or_default(),
            rejected: text(Part::Rejected),
            dominant: draft.dominant.get(&Part::Chosen).map(|found| found.texts.concat()),
            chosen_from: draft.target[&Part::Chosen].from,
            line,
        });
    }

    /// Drops a draft that has all its parts.
    fn drop_made(&mut self, draft: &Draft<'_>, problem: Problem) {
        let text = draft.target[&Part::Prompt].texts.join("\n");
        self.drop(draft.dropped(self.counts.language, Part::Prompt, problem, Some(text)));
    }

    pub(crate) fn drop(&mut self, dropped: Dropped) {
        *self.counts.dropped.entry(dropped.reason).or_default() += 1;
        self.dropped.push(dropped);
    }
}
