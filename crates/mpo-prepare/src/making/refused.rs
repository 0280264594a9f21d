//! Rows of unsafe prompts: the model's own refusal is the answer to prefer, the data's bad answer the one to avoid.

use std::collections::HashMap;

use mpo_data::{Language, Message};

use crate::answers::{Answer, Answered, Answers};
use crate::case::Case;
use crate::dropped::{Dropped, Part, Reason};
use crate::error::PrepareError;

use super::draft::{Draft, Found, Given};
use super::{DATA, Maker, OfLanguage};

/// In the order in which parts are translated.
const PARTS: [Part; 3] = [Part::Chosen, Part::Prompt, Part::Rejected];

/// Unsafe prompts and the model's refusals of them.
pub(crate) struct Refused<'a> {
    cases: &'a [Case],
    answers: Vec<Answered>,
    pub(crate) counts: Answers,
}

/// Refusals of rows in a language.
pub(crate) struct Refusals<'a> {
    /// The model's own, in the dominant language, in the order of the prompts.
    all: Vec<&'a str>,
    /// Those that are in rows of the language, as they are there.
    used: HashMap<&'a str, Found>,
}

impl<'a> Refusals<'a> {
    /// A refusal that is in rows of the language. Prompts of successive numbers get one after the other, so that each is as
    /// frequent as in the rows, and one prompt has the same in all languages that have it.
    pub(super) fn of_number(&self, number: usize) -> Option<(&'a str, &Found)> {
        let (before, from) = self.all.split_at(number % self.all.len().max(1));
        from.iter().chain(before).find_map(|text| Some((*text, self.used.get(text)?)))
    }
}

impl<'a> Refused<'a> {
    /// Asks the model every prompt until it refuses, as often as it may be asked.
    pub(crate) fn asked(cases: &'a [Case], maker: &mut Maker<'_>) -> Result<Self, PrepareError> {
        let mut found: Vec<Answered> = vec![Err((Reason::NoAnswer, String::new())); cases.len()];
        let mut counts = Answers { prompts: cases.len(), ..Answers::default() };
        for sample in 0..maker.asking.samples {
            let open: Vec<usize> = (0..cases.len()).filter(|&number| found[number].is_err()).collect();
            if open.is_empty() {
                break;
            }
            let sampling = maker.asking.sampling.map(|sampling| sampling.at_turn(sample as u64));
            let prompts: Vec<Vec<Message>> = open.iter().map(|&number| cases[number].asked.prompt.clone()).collect();
            let said = maker.said(&prompts, sample + 1, sampling)?;
            counts.tokens += said.tokens;
            counts.answers += said.replies;
            let judged = maker.judged(&prompts, said.answers, maker.dominant)?;
            for (number, judged) in open.into_iter().zip(judged) {
                found[number] = match judged {
                    Ok((answer, true)) => Ok(answer),
                    Ok((answer, false)) => Err((Reason::NotRefused, answer.text)),
                    Err(problem) => Err(problem),
                };
            }
        }
        counts.refused = found.iter().filter(|answer| answer.is_ok()).count();
        Ok(Self { cases, answers: found, counts })
    }

    /// The rows in a language, and the refusals in them.
    pub(crate) fn rows(
        &self,
        language: Language,
        maker: &mut Maker<'_>,
    ) -> Result<(OfLanguage, Refusals<'_>), PrepareError> {
        let mut made = OfLanguage::new(language, self.cases.len(), &maker.checker);
        let mut drafts = self.drafts(maker, &mut made);
        let all = drafts.iter().map(|draft| &*draft.chosen.text).collect();
        for part in PARTS {
            drafts = maker.with_part(part, drafts, &mut made)?;
        }
        let judge = maker.judge.name();
        let mut refusals = Refusals { all, used: HashMap::new() };
        for mut draft in drafts {
            if made.keep(&draft, maker.dominant, &judge)? {
                refusals.used.extend(draft.found.remove(&Part::Chosen).map(|found| (&*draft.chosen.text, found)));
            }
        }
        Ok((made, refusals))
    }

    /// A row for each prompt that the model refuses in the dominant language.
    fn drafts(&self, maker: &Maker<'_>, made: &mut OfLanguage) -> Vec<Draft<'_>> {
        let language = made.counts.language;
        let mut drafts = vec![];
        for (case, answer) in self.cases.iter().zip(&self.answers) {
            let (reason, source, detail) = match answer {
                Ok(answer) => match maker.checker.refusal(maker.dominant, &answer.text) {
                    Ok(()) => {
                        drafts.push(draft(case, answer, language));
                        continue;
                    }
                    Err((reason, detail)) => (reason, answer.text.clone(), detail),
                },
                Err((reason @ (Reason::NoAnswer | Reason::NoVerdict), why)) => (*reason, String::new(), why.clone()),
                Err((reason, said)) => (*reason, said.clone(), String::new()),
            };
            let (part, origin) = (Part::Chosen, case.origin.clone());
            made.drop(Dropped { language, reason, part, detail, source, text: None, origin, benign: false });
        }
        drafts
    }
}

fn draft<'a>(case: &'a Case, answer: &'a Answer, language: Language) -> Draft<'a> {
    let given = case.parallel.get(&language).map_or(Given::default(), |parallel| Given {
        prompt: Some(&parallel.prompt),
        tools: parallel.tools.as_ref(),
        rejected: Some(&parallel.rejected),
    });
    Draft {
        origin: &case.origin,
        prompt: &case.asked.prompt,
        prompt_from: DATA,
        tools: case.asked.tools.as_ref(),
        chosen: answer,
        rejected: &case.asked.rejected,
        given,
        found: HashMap::new(),
        is_cut: answer.is_cut,
        is_benign: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_take_turns_as_often_as_they_are_there() {
        let found = |text: &str| Found::of(vec![text.to_owned()], DATA);
        let used = HashMap::from([("I can't.", found("Siwezi.")), ("No.", found("Hapana."))]);
        let refusals = Refusals { all: vec!["I can't.", "I won't.", "I can't.", "No."], used };
        let turns: Vec<_> = (0..6).map(|number| refusals.of_number(number).unwrap().0).collect();
        // What is in no row of the language gives its turn to the next.
        assert_eq!(turns, ["I can't.", "I can't.", "I can't.", "No.", "I can't.", "I can't."]);
        assert_eq!(refusals.of_number(3).unwrap().1.texts, ["Hapana."]);
        assert!(Refusals { all: vec![], used: HashMap::new() }.of_number(3).is_none());
    }
}
