//! The rows of one language: each part is translated, unless the data has it, and checked before the next one is.

use std::collections::{BTreeMap, HashMap, HashSet};

use mpo_data::{BilingualPair, Language, Message, PreferencePair, row_line};
use serde_json::{Value, json};

use crate::case::Case;
use crate::check::{Checker, Problem, says_the_same};
use crate::dropped::{Dropped, Part, Reason};
use crate::error::PrepareError;
use crate::prepared::LanguageCounts;
use crate::refusal::{Answer, Answered};
use crate::translate::{Direction, Means, Signed, Translators};

/// Where parts come from that nobody translated.
const DATA: &str = "data";

/// In the order in which parts are translated: what fails first costs no other translation.
const PARTS: [Part; 3] = [Part::Chosen, Part::Prompt, Part::Rejected];

/// A row that was made.
pub(crate) struct Made {
    pub(crate) row: BilingualPair,
    /// Where the answer to prefer came from.
    pub(crate) chosen_from: &'static str,
}

/// What was made in one language.
pub(crate) struct OfLanguage {
    pub(crate) counts: LanguageCounts,
    pub(crate) made: Vec<Made>,
    /// The rows as lines of a file.
    pub(crate) lines: Vec<u8>,
    pub(crate) dropped: Vec<Dropped>,
}

/// What the rows of a language are made with.
pub(crate) struct Maker<'a> {
    pub(crate) dominant: Language,
    pub(crate) cases: &'a [Case],
    pub(crate) answers: &'a [Answered],
    pub(crate) checker: &'a Checker,
    /// Who judged the refusals.
    pub(crate) judge: &'a str,
}

/// A part in the target language.
#[derive(Clone)]
struct Found {
    /// Its texts; of a prompt, one for each message.
    texts: Vec<String>,
    from: &'static str,
    /// The least score of a translation back, where there was one.
    back: Option<f64>,
}

/// A row in the making.
struct Draft<'a> {
    case: &'a Case,
    answer: &'a Answer,
    found: HashMap<Part, Found>,
}

impl Draft<'_> {
    /// The texts of a part in the dominant language.
    fn source(&self, part: Part) -> Vec<&str> {
        match part {
            Part::Prompt => self.case.asked.prompt.iter().map(|message| &*message.content).collect(),
            Part::Chosen => vec![&self.answer.text],
            Part::Rejected => vec![&self.case.asked.rejected],
        }
    }

    /// The part as the data has it in a language.
    fn given(&self, part: Part, language: Language) -> Option<Found> {
        let parallel = self.case.parallel.get(&language)?;
        let texts = match part {
            Part::Prompt => parallel.prompt.iter().map(|message| message.content.clone()).collect(),
            Part::Chosen => return None,
            Part::Rejected => vec![parallel.rejected.clone()],
        };
        Some(Found { texts, from: DATA, back: None })
    }

    fn dropped(&self, language: Language, part: Part, (reason, detail): Problem, text: Option<String>) -> Dropped {
        let (source, origin) = (self.source(part).join("\n"), self.case.origin.clone());
        Dropped { language, reason, part, detail, source, text, origin }
    }
}

impl Maker<'_> {
    /// The rows in a language.
    pub(crate) fn rows(
        &self,
        language: Language,
        translators: &mut Translators,
        means: &Means<'_>,
    ) -> Result<OfLanguage, PrepareError> {
        let mut dropped = vec![];
        let mut drafts = self.drafts(language, &mut dropped);
        for part in PARTS {
            drafts = self.with_part(part, language, drafts, &mut dropped, translators, means)?;
        }
        let mut seen = HashSet::new();
        let (mut made, mut lines) = (vec![], vec![]);
        let mut counts = LanguageCounts {
            language,
            prompts: self.cases.len(),
            kept: 0,
            dropped: BTreeMap::new(),
            chosen_from: BTreeMap::new(),
            prompt_from: BTreeMap::new(),
            rejected_from: BTreeMap::new(),
            is_detected: self.checker.knows(language),
        };
        for draft in drafts {
            match self.row(language, &draft, &mut seen) {
                Ok(row) => {
                    let found = |part| &draft.found[&part];
                    lines.extend(row_line(&row, Some(&self.provenance(&draft)))?);
                    *counts.chosen_from.entry(found(Part::Chosen).from).or_default() += 1;
                    *counts.prompt_from.entry(found(Part::Prompt).from).or_default() += 1;
                    *counts.rejected_from.entry(found(Part::Rejected).from).or_default() += 1;
                    made.push(Made { row, chosen_from: found(Part::Chosen).from });
                }
                Err(problem) => {
                    let text = draft.found[&Part::Prompt].texts.join("\n");
                    dropped.push(draft.dropped(language, Part::Prompt, problem, Some(text)));
                }
            }
        }
        for one in &dropped {
            *counts.dropped.entry(one.reason).or_default() += 1;
        }
        counts.kept = made.len();
        Ok(OfLanguage { counts, made, lines, dropped })
    }

    /// A row for each prompt that the model refuses in the dominant language.
    fn drafts(&self, language: Language, dropped: &mut Vec<Dropped>) -> Vec<Draft<'_>> {
        let mut drafts = vec![];
        for (case, answer) in self.cases.iter().zip(self.answers) {
            let (reason, source, detail) = match answer {
                Ok(answer) => match self.checker.refusal(self.dominant, &answer.text) {
                    Ok(()) => {
                        drafts.push(Draft { case, answer, found: HashMap::new() });
                        continue;
                    }
                    Err((reason, detail)) => (reason, answer.text.clone(), detail),
                },
                Err((reason @ (Reason::NoAnswer | Reason::NoVerdict), why)) => (*reason, String::new(), why.clone()),
                Err((reason, said)) => (*reason, said.clone(), String::new()),
            };
            let origin = case.origin.clone();
            dropped.push(Dropped { language, reason, part: Part::Chosen, detail, source, text: None, origin });
        }
        drafts
    }

    /// The drafts with a part more, without those whose part does not stand the checks.
    fn with_part<'d>(
        &self,
        part: Part,
        language: Language,
        drafts: Vec<Draft<'d>>,
        dropped: &mut Vec<Dropped>,
        translators: &mut Translators,
        means: &Means<'_>,
    ) -> Result<Vec<Draft<'d>>, PrepareError> {
        let direction = Direction { from: self.dominant, to: language };
        let open = drafts.iter().filter(|draft| draft.given(part, language).is_none());
        let sources: Vec<&str> =
            open.flat_map(|draft| draft.source(part)).filter(|text| !text.trim().is_empty()).collect();
        let translations = translators.translate(direction, &sources, means)?;
        let backs = self.backs(direction, &translations, translators, means)?;
        let mut left = vec![];
        for mut draft in drafts {
            let found = match draft.given(part, language) {
                Some(found) => Ok(found),
                None => self.found(direction, &draft.source(part), &translations, &backs),
            };
            match found {
                Ok(found) => {
                    draft.found.insert(part, found);
                    left.push(draft);
                }
                Err((problem, text)) => dropped.push(draft.dropped(language, part, problem, text)),
            }
        }
        Ok(left)
    }

    /// The translation of a part, if each of its texts has one that stands the checks; the error has the text that does not.
    fn found(
        &self,
        direction: Direction,
        sources: &[&str],
        translations: &HashMap<String, Result<Signed, String>>,
        backs: &HashMap<String, Result<Signed, String>>,
    ) -> Result<Found, (Problem, Option<String>)> {
        let mut found = Found { texts: vec![], from: DATA, back: None };
        for source in sources {
            let signed = match translations.get(*source) {
                // An empty message stays one.
                None => {
                    found.texts.push((*source).to_owned());
                    continue;
                }
                Some(Err(reason)) => return Err(((Reason::NoTranslation, reason.clone()), None)),
                Some(Ok(signed)) => signed,
            };
            let failed = |problem| (problem, Some(signed.text.clone()));
            self.checker.translation(direction, source, &signed.text).map_err(failed)?;
            if let (Some(least), false) = (self.checker.checks.back_translation, signed.is_trusted) {
                let score = match backs.get(&signed.text) {
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

    /// Translations back of those that stand the other checks, by the translation.
    fn backs(
        &self,
        direction: Direction,
        translations: &HashMap<String, Result<Signed, String>>,
        translators: &mut Translators,
        means: &Means<'_>,
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
        translators.translate(back, &texts, means)
    }

    /// The row of a draft that has all its parts.
    fn row(
        &self,
        language: Language,
        draft: &Draft<'_>,
        seen: &mut HashSet<(String, String)>,
    ) -> Result<BilingualPair, Problem> {
        let Draft { case, answer, found } = draft;
        let same = |problem: mpo_data::PairProblem| (Reason::SameAnswers, problem.to_string());
        let text = |part| found[&part].texts.concat();
        let dominant = PreferencePair::new(
            self.dominant,
            case.asked.prompt.clone(),
            answer.text.clone(),
            case.asked.rejected.clone(),
        );
        let prompt = match case.parallel.get(&language) {
            Some(parallel) => parallel.prompt.clone(),
            None => {
                let messages = case.asked.prompt.iter().zip(&found[&Part::Prompt].texts);
                messages.map(|(message, content)| Message { role: message.role, content: content.clone() }).collect()
            }
        };
        let key = (text(Part::Prompt), text(Part::Rejected));
        let target = PreferencePair::new(language, prompt, text(Part::Chosen), text(Part::Rejected));
        let tools = case.parallel.get(&language).unwrap_or(&case.asked).tools.clone();
        let row = BilingualPair {
            dominant: dominant.map_err(same)?.with_tools(case.asked.tools.clone()),
            target: target.map_err(same)?.with_tools(tools),
            origin: case.origin.clone(),
        };
        if seen.insert(key) {
            Ok(row)
        } else {
            Err((Reason::Duplicate, "the same prompt and bad answer as another row".into()))
        }
    }

    /// Where the parts of a row came from.
    fn provenance(&self, draft: &Draft<'_>) -> Value {
        let Draft { case, answer, found } = draft;
        let from = |part| found[&part].from;
        let mut told = json!({
            "row": case.origin,
            "dominant": { "prompt": DATA, "chosen": "the model's answer", "rejected": DATA },
            "target": { "prompt": from(Part::Prompt), "chosen": from(Part::Chosen), "rejected": from(Part::Rejected) },
            "judge": self.judge,
            "sample": answer.sample,
        });
        if answer.is_cut {
            told["cut"] = true.into();
        }
        let backs = PARTS.into_iter().filter_map(|part| Some((part.name().to_owned(), found[&part].back?.into())));
        let backs: serde_json::Map<String, Value> = backs.collect();
        if !backs.is_empty() {
            told["back_translation"] = backs.into();
        }
        told
    }
}
