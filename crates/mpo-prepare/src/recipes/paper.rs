//! The paper's rows (Appendix D): the model's own refusal of an unsafe prompt is the answer to prefer, the data's bad answer the
//! one to avoid, and both are translated.

use std::collections::HashMap;

use mpo_data::{Language, Message};

use crate::answers::{Answer, Answered, Answers};
use crate::case::Case;
use crate::check::Failed;
use crate::dropped::{Part, Reason};
use crate::error::PrepareError;
use crate::making::{DATA, Draft, Found, Kind, MODEL, Maker, OfLanguage};

use super::{Recipe, RecipeDefinition};

pub(super) static RECIPE: RecipeDefinition = RecipeDefinition {
    name: "paper",
    help: "the model's own refusal against the data's bad answer, both translated",
    refuses: true,
    draws: None,
    rows_of_prompt: None,
    needs_reference: false,
    begin: |cases, maker| Ok(Box::new(Refused::asked(cases, maker)?)),
};

/// In the order in which parts are translated.
const PARTS: [Part; 3] = [Part::Chosen, Part::Prompt, Part::Rejected];

/// Unsafe prompts and the model's refusals of them.
struct Refused<'a> {
    cases: &'a [Case],
    answers: Vec<Answered>,
    counts: Answers,
}

impl<'a> Refused<'a> {
    /// Asks the model every prompt until it refuses, as often as it may be asked.
    fn asked(cases: &'a [Case], maker: &mut Maker<'_>) -> Result<Self, PrepareError> {
        let mut found: Vec<Answered> = vec![Err(((Reason::NoAnswer, String::new()), None)); cases.len()];
        let mut counts = Answers { prompts: cases.len(), ..Answers::default() };
        for sample in 0..maker.asking.samples {
            let open: Vec<usize> = (0..cases.len()).filter(|&number| found[number].is_err()).collect();
            if open.is_empty() {
                break;
            }
            let sampling = maker.asking.sampling.map(|sampling| sampling.at_turn(sample as u64));
            let prompts: Vec<Vec<Message>> = open.iter().map(|&number| cases[number].asked.prompt.clone()).collect();
            let said = maker.said(&prompts, sample + 1, sampling)?;
            counts.add(&said);
            let judged = maker.judged(&prompts, said.answers, maker.dominant)?;
            for (number, judged) in open.into_iter().zip(judged) {
                found[number] = match judged {
                    Ok((answer, true)) => Ok(answer),
                    Ok((answer, false)) => Err(((Reason::NotRefused, String::new()), Some(answer.text))),
                    Err(failed) => Err(failed),
                };
            }
        }
        let refused = found.iter().filter(|answer| answer.is_ok()).count();
        maker.means.progress.note(&format_args!("{refused} of {} prompts refused", counts.prompts));
        Ok(Self { cases, answers: found, counts: Answers { refused: Some(refused), ..counts } })
    }

    /// A row for each prompt that the model refuses in the dominant language.
    fn drafts(&self, maker: &Maker<'_>, made: &mut OfLanguage) -> Vec<Draft<'_>> {
        let language = made.counts.language;
        let mut drafts = vec![];
        for (number, (case, answer)) in self.cases.iter().zip(&self.answers).enumerate() {
            let answer = answer.as_ref().map_err(Failed::clone).and_then(|answer| {
                let checked = maker.checker.refusal(maker.dominant, &answer.text);
                checked.map(|()| answer).map_err(|problem| (problem, Some(answer.text.clone())))
            });
            match answer {
                Ok(answer) => drafts.push(draft(number, case, answer, language, &maker.judge.name())),
                Err(failed) => made.drop(case.dropped(language, failed)),
            }
        }
        drafts
    }
}

impl Recipe for Refused<'_> {
    fn answers(&self) -> Answers {
        self.counts
    }

    fn rows(&mut self, language: Language, maker: &mut Maker<'_>) -> Result<OfLanguage, PrepareError> {
        let mut made = OfLanguage::new(language, self.cases.len(), &maker.checker);
        let mut drafts = self.drafts(maker, &mut made);
        let refusal = |draft: &Draft<'_>| draft.dominant[&Part::Chosen].texts.concat();
        made.refusals.all = drafts.iter().map(refusal).collect();
        for part in PARTS {
            drafts = maker.with_part(part, drafts, &mut made)?;
        }
        for mut draft in drafts {
            if made.keep(&draft, maker.dominant)? {
                let found = draft.target.remove(&Part::Chosen);
                made.refusals.used.extend(found.map(|found| (refusal(&draft), found)));
            }
        }
        Ok(made)
    }
}

fn draft<'a>(number: usize, case: &'a Case, answer: &Answer, language: Language, judge: &str) -> Draft<'a> {
    Draft {
        number,
        origin: &case.origin,
        kind: Kind::Unsafe,
        prompt: &case.asked.prompt,
        tools: case.asked.tools.as_ref(),
        given: case.given(language),
        dominant: HashMap::from([
            (Part::Prompt, Found::prompt(&case.asked.prompt)),
            (Part::Chosen, Found::text(&answer.text, MODEL)),
            (Part::Rejected, Found::text(&case.asked.rejected, DATA)),
        ]),
        target: HashMap::new(),
        is_cut: answer.is_cut,
        told: vec![("judge", judge.into()), ("sample", answer.sample.into())],
    }
}
