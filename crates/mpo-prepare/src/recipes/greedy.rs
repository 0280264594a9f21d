//! What recipes share that begin with the model's most probable answers in the dominant language, and judge none.

use mpo_data::{Language, Message};

use crate::answers::{Answered, Answers};
use crate::case::Case;
use crate::dropped::Part;
use crate::error::PrepareError;
use crate::making::{Draft, Found, MODEL, Maker, OfLanguage, last_turn};

use super::begun;

/// Prompts and the model's answers to them in the dominant language.
pub(super) struct Answering<'a> {
    cases: &'a [Case],
    answers: Vec<Answered>,
    pub(super) counts: Answers,
}

impl<'a> Answering<'a> {
    pub(super) fn asked(cases: &'a [Case], maker: &mut Maker<'_>) -> Result<Self, PrepareError> {
        let prompts: Vec<Vec<Message>> = cases.iter().map(|case| case.asked.prompt.clone()).collect();
        let mut counts = Answers { prompts: cases.len(), ..Answers::default() };
        let said = maker.said(&prompts, 1, None)?;
        counts.add(&said);
        let answers = said.answers.into_iter().zip(&prompts);
        let answers =
            answers.map(|(answer, prompt)| maker.checker.in_language(maker.dominant, last_turn(prompt), answer?));
        Ok(Self { cases, answers: answers.collect(), counts })
    }

    /// A row in the making for each answer, by the recipe of this name, with prompt and answer translated; what has no answer, or
    /// no translation, is dropped.
    pub(super) fn translated(
        &self,
        language: Language,
        recipe: &'static str,
        maker: &mut Maker<'_>,
    ) -> Result<(OfLanguage, Vec<Draft<'a>>), PrepareError> {
        let mut made = OfLanguage::new(language, self.cases.len(), &maker.checker);
        let mut drafts = vec![];
        for (number, (case, answer)) in self.cases.iter().zip(&self.answers).enumerate() {
            match answer {
                Ok(answer) => {
                    let mut draft = begun(number, case, language, recipe);
                    draft.dominant.insert(Part::Chosen, Found::text(&answer.text, MODEL));
                    draft.is_cut = answer.is_cut;
                    drafts.push(draft);
                }
                Err(failed) => made.drop(case.dropped(language, failed.clone())),
            }
        }
        for part in [Part::Prompt, Part::Chosen] {
            drafts = maker.with_part(part, drafts, &mut made)?;
        }
        Ok((made, drafts))
    }
}
