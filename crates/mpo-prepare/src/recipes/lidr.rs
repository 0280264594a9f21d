//! LIDR (Yang et al., 2024): a model says better things in its dominant language. So its answer there, translated, is
//! preferred to its own answer in the target language, and in the dominant language its answer is preferred to the
//! translation of that one. Prompts are all it takes: no judge, and no bad answers.

use mpo_data::{Language, Message};

use crate::answers::Answers;
use crate::dropped::Part;
use crate::error::PrepareError;
use crate::making::{Draft, Found, MODEL, Maker, OfLanguage};
use crate::translate::Direction;

use super::greedy::Answering;
use super::{Recipe, RecipeDefinition};

const NAME: &str = "lidr";

pub(super) static RECIPE: RecipeDefinition = RecipeDefinition {
    name: NAME,
    help: "its answer in the dominant language, translated, against that in the target",
    refuses: false,
    draws: None,
    rows_of_prompt: None,
    needs_reference: false,
    begin: |cases, maker| Ok(Box::new(Opposed(Answering::asked(cases, maker)?))),
};

/// The model's answers in both languages against each other.
struct Opposed<'a>(Answering<'a>);

impl<'a> Opposed<'a> {
    /// The drafts with the model's answer in their language, and its translation in the dominant one.
    fn with_answers(
        &mut self,
        drafts: Vec<Draft<'a>>,
        made: &mut OfLanguage,
        maker: &mut Maker<'_>,
    ) -> Result<Vec<Draft<'a>>, PrepareError> {
        let language = made.counts.language;
        let prompts: Vec<Vec<Message>> = drafts.iter().map(Draft::target_prompt).collect();
        let said = maker.said(&prompts, 1, None)?;
        self.0.counts.add(&said);
        let texts: Vec<&str> = said.answers.iter().flatten().map(|answer| &*answer.text).collect();
        let translations = maker.translations(Direction { from: language, to: maker.dominant }, &texts)?;
        let mut left = vec![];
        for (mut draft, answer) in drafts.into_iter().zip(&said.answers) {
            let both = answer.clone().and_then(|answer| {
                let back = translations.found(&[&answer.text], &maker.checker);
                // What the drop tells of is the answer: it is the source here.
                back.map(|back| (answer.clone(), back)).map_err(|(problem, _)| (problem, Some(answer.text)))
            });
            match both {
                Ok((answer, back)) => {
                    draft.is_cut |= answer.is_cut;
                    draft.target.insert(Part::Rejected, Found::text(answer.text, MODEL));
                    draft.dominant.insert(Part::Rejected, back);
                    left.push(draft);
                }
                Err((problem, said)) => made.drop(draft.dropped(language, Part::Rejected, problem, said)),
            }
        }
        Ok(left)
    }
}

impl Recipe for Opposed<'_> {
    fn answers(&self) -> Answers {
        self.0.counts
    }

    fn rows(&mut self, language: Language, maker: &mut Maker<'_>) -> Result<OfLanguage, PrepareError> {
        let (mut made, drafts) = self.0.translated(language, NAME, maker)?;
        for draft in self.with_answers(drafts, &mut made, maker)? {
            made.keep(&draft, maker.dominant)?;
        }
        Ok(made)
    }
}
