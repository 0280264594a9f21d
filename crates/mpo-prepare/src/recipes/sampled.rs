//! Rows of answers that were drawn: of several to one prompt, the one that a recipe scores best is preferred to the one that it
//! scores worst. Nothing is translated but prompts, and rows are of one language.

use std::collections::HashMap;

use mpo_data::{Language, Message};

use crate::answers::Answers;
use crate::case::Case;
use crate::dropped::{Part, Reason};
use crate::error::PrepareError;
use crate::making::{Draft, Found, Given, Kind, MODEL, Maker, OfLanguage};
use crate::subject::Candidates;

use super::Recipe;

/// A prompt in two languages, and the different answers to each.
pub(super) struct Drawn {
    pub(super) dominant: Answered,
    pub(super) target: Answered,
}

/// A prompt and the different answers to it.
#[derive(Clone)]
pub(super) struct Answered {
    pub(super) prompt: Vec<Message>,
    pub(super) answers: Vec<String>,
}

impl Answered {
    pub(super) fn asked(&self) -> Candidates<'_> {
        Candidates { prompt: &self.prompt, answers: self.texts() }
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        self.answers.iter().map(String::as_str).collect()
    }
}

/// The answers of a target language to prefer and to avoid, each by its number and with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Preferred {
    pub(super) chosen: (usize, f64),
    pub(super) rejected: (usize, f64),
}

impl Preferred {
    /// The best and the worst by their scores, of equals the first; none where all are equal.
    pub(super) fn by(scores: &[f64]) -> Option<Self> {
        let scored = || scores.iter().copied().enumerate();
        let chosen = scored().reduce(|best, other| if other.1 > best.1 { other } else { best })?;
        let rejected = scored().reduce(|worst, other| if other.1 < worst.1 { other } else { worst })?;
        (chosen.1 > rejected.1).then_some(Self { chosen, rejected })
    }
}

/// Chooses of each prompt's answers.
pub(super) type Choose = fn(&[Drawn], Language, &mut Maker<'_>) -> Result<Vec<Option<Preferred>>, PrepareError>;

/// What recipes differ in.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) name: &'static str,
    /// Whether answers in another language than their prompt are left out before.
    pub(super) of_language: bool,
    pub(super) choose: Choose,
}

/// Prompts and the answers to them in the dominant language.
pub(super) struct Sampled<'a> {
    choice: Choice,
    cases: &'a [Case],
    dominant: Vec<Answered>,
    counts: Answers,
}

impl<'a> Sampled<'a> {
    pub(super) fn asked(choice: Choice, cases: &'a [Case], maker: &mut Maker<'_>) -> Result<Self, PrepareError> {
        let prompts = cases.iter().map(|case| case.asked.prompt.clone()).collect();
        let mut counts = Answers { prompts: cases.len(), ..Answers::default() };
        let dominant = drawn(prompts, choice.of_language.then_some(maker.dominant), &mut counts, maker)?;
        Ok(Self { choice, cases, dominant, counts })
    }

    /// A draft of each prompt that has an answer in the dominant language.
    fn drafts(&self, maker: &Maker<'_>, made: &mut OfLanguage) -> Vec<Draft<'a>> {
        let language = made.counts.language;
        let mut drafts = vec![];
        for (case, of) in self.cases.iter().zip(&self.dominant) {
            if of.answers.is_empty() {
                let problem = (Reason::NoAnswer, format!("none in {} that can be used", maker.dominant.name()));
                made.drop(case.dropped(language, (problem, None)));
                continue;
            }
            drafts.push(Draft {
                origin: &case.origin,
                kind: Kind::Any,
                prompt: &case.asked.prompt,
                tools: case.asked.tools.as_ref(),
                given: Given { rejected: None, ..case.given(language) },
                dominant: HashMap::from([(Part::Prompt, Found::prompt(&case.asked.prompt))]),
                target: HashMap::new(),
                is_cut: false,
                told: vec![("recipe", self.choice.name.into())],
            });
        }
        drafts
    }
}

impl Recipe for Sampled<'_> {
    fn answers(&self) -> Answers {
        self.counts
    }

    fn rows(&mut self, language: Language, maker: &mut Maker<'_>) -> Result<OfLanguage, PrepareError> {
        let mut made = OfLanguage::new(language, self.cases.len(), &maker.checker);
        let drafts = self.drafts(maker, &mut made);
        let drafts = maker.with_part(Part::Prompt, drafts, &mut made)?;
        let prompts = drafts.iter().map(Draft::target_prompt).collect();
        let of_language = self.choice.of_language.then_some(language);
        let answered = drawn(prompts, of_language, &mut self.counts, maker)?;
        let (mut left, mut of) = (vec![], vec![]);
        let mut cases = self.cases.iter().zip(&self.dominant);
        for (draft, target) in drafts.into_iter().zip(answered) {
            // Drafts are in the order of their prompts.
            let case = cases.by_ref().find(|(case, _)| case.origin == *draft.origin);
            let Some((_, dominant)) = case else { break };
            if target.answers.len() < 2 {
                let detail = format!("{} of {} can be used and differ", target.answers.len(), maker.asking.samples);
                let said = target.answers.into_iter().next();
                made.drop(draft.dropped(language, Part::Chosen, (Reason::TooFewAnswers, detail), said));
                continue;
            }
            of.push(Drawn { dominant: dominant.clone(), target });
            left.push(draft);
        }
        let preferred = (self.choice.choose)(&of, language, maker)?;
        for ((mut draft, of), preferred) in left.into_iter().zip(of).zip(preferred) {
            let Some(Preferred { chosen, rejected }) = preferred else {
                let problem = (Reason::TooFewAnswers, "all are as good".into());
                made.drop(draft.dropped(language, Part::Chosen, problem, of.target.answers.into_iter().next()));
                continue;
            };
            for (part, (number, _)) in [(Part::Chosen, chosen), (Part::Rejected, rejected)] {
                draft.target.insert(part, Found::text(&of.target.answers[number], MODEL));
            }
            draft.told.push(("scores", serde_json::json!({ "chosen": chosen.1, "rejected": rejected.1 })));
            made.keep(&draft, maker.dominant)?;
        }
        Ok(made)
    }
}

/// Draws answers to prompts, as many as are asked for, and leaves out repetitions, those that were cut within their first
/// sentence and, where a language is named, those in others.
fn drawn(
    prompts: Vec<Vec<Message>>,
    language: Option<Language>,
    counts: &mut Answers,
    maker: &mut Maker<'_>,
) -> Result<Vec<Answered>, PrepareError> {
    let mut answered: Vec<Answered> =
        prompts.iter().map(|prompt| Answered { prompt: prompt.clone(), answers: vec![] }).collect();
    if prompts.is_empty() {
        return Ok(answered);
    }
    for sample in 0..maker.asking.samples {
        let sampling = maker.asking.sampling.map(|sampling| sampling.at_turn(sample as u64));
        let said = maker.said(&prompts, sample + 1, sampling)?;
        counts.add(&said);
        for (of, answer) in answered.iter_mut().zip(said.answers) {
            let in_language = |answer| match language {
                Some(language) => maker.checker.in_language(language, answer),
                None => Ok(answer),
            };
            if let Ok(answer) = answer.and_then(in_language)
                && !of.answers.contains(&answer.text)
            {
                of.answers.push(answer.text);
            }
        }
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_preferred_to_the_worst_and_equals_to_nothing() {
        let preferred = |scores: &[f64]| Preferred::by(scores).map(|of| (of.chosen.0, of.rejected.0));
        assert_eq!(preferred(&[0.2, 0.9, -1.0, 0.9, -1.0]), Some((1, 2)));
        assert_eq!(preferred(&[0.5, 0.5]), None);
        assert_eq!(preferred(&[]), None);
    }
}
