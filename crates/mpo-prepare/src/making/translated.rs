//! Parts in the target language: as the data has them, else translated and checked.

use std::collections::HashMap;

use crate::check::{Checker, Failed, says_the_same};
use crate::dropped::{Part, Reason};
use crate::error::PrepareError;
use crate::translate::{Direction, Signed};

use super::{DATA, Draft, Found, Maker, OfLanguage};

/// Translations of texts, and of these back where that is asked for.
pub(crate) struct Translations {
    direction: Direction,
    /// By the source.
    of: HashMap<String, Result<Signed, String>>,
    /// By the translation.
    backs: HashMap<String, Result<Signed, String>>,
}

impl Translations {
    /// The translation of a part, if each of its texts has one that stands the checks; the error has the text that does not.
    pub(crate) fn found(&self, sources: &[&str], checker: &Checker) -> Result<Found, Failed> {
        let mut found = Found { texts: vec![], from: DATA, back: None };
        for source in sources {
            let signed = match self.of.get(*source) {
                // An empty message stays one.
                None => {
                    found.texts.push((*source).to_owned());
                    continue;
                }
                Some(Err(reason)) => return Err(((Reason::NoTranslation, reason.clone()), None)),
                Some(Ok(signed)) => signed,
            };
            let failed = |problem| (problem, Some(signed.text.clone()));
            checker.translation(self.direction, source, &signed.text).map_err(failed)?;
            if let (Some(least), false) = (checker.checks.back_translation, signed.is_trusted) {
                let score = match self.backs.get(&signed.text) {
                    Some(Ok(back)) => says_the_same(source, &back.text, least),
                    Some(Err(reason)) => Err((Reason::BackTranslation, reason.clone())),
                    None => Err((Reason::BackTranslation, "nobody translated it back".into())),
                };
                let score = score.map_err(failed)?;
                found.back = Some(found.back.map_or(score, |least: f64| least.min(score)));
            }
            found.texts.push(signed.text.clone());
            found.from = signed.by;
        }
        Ok(found)
    }
}

impl Maker<'_> {
    /// The drafts with a part more, without those whose part does not stand the checks.
    pub(crate) fn with_part<'d>(
        &mut self,
        part: Part,
        drafts: Vec<Draft<'d>>,
        made: &mut OfLanguage,
    ) -> Result<Vec<Draft<'d>>, PrepareError> {
        let direction = Direction { from: self.dominant, to: made.counts.language };
        let open = drafts.iter().filter(|draft| draft.given(part).is_none());
        let sources: Vec<&str> = open.flat_map(|draft| draft.source(part)).collect();
        let translations = self.translations(direction, &sources)?;
        let mut left = vec![];
        for mut draft in drafts {
            let found = match draft.given(part) {
                Some(found) => Ok(found),
                None => translations.found(&draft.source(part), &self.checker),
            };
            match found {
                Ok(found) => {
                    draft.target.insert(part, found);
                    left.push(draft);
                }
                Err((problem, text)) => made.drop(draft.dropped(direction.to, part, problem, text)),
            }
        }
        Ok(left)
    }

    /// The translations of texts that are not empty.
    pub(crate) fn translations(
        &mut self,
        direction: Direction,
        sources: &[&str],
    ) -> Result<Translations, PrepareError> {
        let sources: Vec<&str> = sources.iter().copied().filter(|text| !text.trim().is_empty()).collect();
        let of = self.translators.translate(direction, &sources, &self.means)?;
        let backs = self.backs(direction, &of)?;
        Ok(Translations { direction, of, backs })
    }

    /// Translations back of those that stand the other checks, by the translation.
    fn backs(
        &mut self,
        direction: Direction,
        translations: &HashMap<String, Result<Signed, String>>,
    ) -> Result<HashMap<String, Result<Signed, String>>, PrepareError> {
        if self.checker.checks.back_translation.is_none() {
            return Ok(HashMap::new());
        }
        let worth = |(source, signed): (&'_ String, &'_ Result<Signed, String>)| {
            let signed = signed.as_ref().ok().filter(|signed| !signed.is_trusted)?;
            self.checker.translation(direction, source, &signed.text).is_ok().then(|| signed.text.clone())
        };
        let mut texts: Vec<String> = translations.iter().filter_map(worth).collect();
        texts.sort_unstable();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let back = Direction { from: direction.to, to: direction.from };
        self.translators.translate(back, &texts, &self.means)
    }
}
