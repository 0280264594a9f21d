//! Rows of answers that were drawn: of several to one prompt, the one that a recipe scores best is preferred to the one that it
//! scores worst. Nothing is translated but prompts, and rows are of one language, unless the data's own pair in the dominant language
//! is to stand beside them.

use std::collections::BTreeMap;

use mpo_data::{Language, Message};

use crate::answers::{Answer, Answers};
use crate::case::Case;
use crate::check::Problem;
use crate::dropped::{Part, Reason};
use crate::error::PrepareError;
use crate::making::{DATA, Draft, Found, MODEL, Maker, OfLanguage, last_turn};
use crate::subject::{AnswerStates, Candidates};

use super::{Recipe, begun};

/// A prompt in two languages, and the different answers to each.
pub(super) struct Drawn<'a> {
    pub(super) dominant: &'a Answered,
    pub(super) target: Answered,
}

/// A prompt and the different answers to it.
pub(super) struct Answered {
    pub(super) prompt: Vec<Message>,
    pub(super) answers: Vec<Answer>,
    /// The states of the answers, where they are compared with those of many others.
    pub(super) states: Vec<AnswerStates>,
    /// Answers that were drawn and cannot be used, by what is wrong with them.
    left_out: BTreeMap<&'static str, usize>,
}

impl Answered {
    fn new(prompt: Vec<Message>) -> Self {
        Self { prompt, answers: vec![], states: vec![], left_out: BTreeMap::new() }
    }

    pub(super) fn asked(&self) -> Candidates<'_> {
        Candidates { prompt: &self.prompt, answers: self.texts() }
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        self.answers.iter().map(|answer| &*answer.text).collect()
    }

    /// How many can be used, and what is wrong with the others.
    fn told(&self) -> String {
        let (used, not) = (self.answers.len(), self.left_out.values().sum::<usize>());
        let left_out = self.left_out.iter().map(|(reason, count)| format!(", {count} {reason}"));
        format!("{used} of {} can be used{}", used + not, left_out.collect::<String>())
    }
}

/// The answers of a target language to prefer and to avoid, each by its number and with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Preferred {
    pub(super) chosen: (usize, f64),
    pub(super) rejected: (usize, f64),
}

impl Preferred {
    /// The best and the worst by their scores, of equals the first; none where all are equal, or one is no finite number.
    pub(super) fn by(scores: &[f64]) -> Chosen {
        if !scores.iter().all(|score| score.is_finite()) {
            return Err(none_finite());
        }
        let scored = || scores.iter().copied().enumerate();
        let chosen = scored().reduce(|best, other| if other.1 > best.1 { other } else { best });
        let rejected = scored().reduce(|worst, other| if other.1 < worst.1 { other } else { worst });
        let both = chosen.zip(rejected).filter(|(chosen, rejected)| chosen.1 > rejected.1);
        both.map(|(chosen, rejected)| Self { chosen, rejected }).ok_or_else(none_better)
    }
}

/// The answers of a prompt to prefer and to avoid, or why there are none.
pub(super) type Chosen = Result<Preferred, Problem>;

/// That no answer is better than another.
pub(super) fn none_better() -> Problem {
    (Reason::NoneBetter, "no answer is better than another".into())
}

/// That a score is infinite or no number.
pub(super) fn none_finite() -> Problem {
    (Reason::NoScore, "expected finite scores, got others".into())
}

/// Chooses of each prompt's answers.
pub(super) type Choose = fn(&[Drawn<'_>], Language, &mut Maker<'_>) -> Result<Vec<Chosen>, PrepareError>;

/// What is needed of answers in the dominant language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dominant {
    /// Nothing: none are drawn.
    Nothing,
    /// They themselves.
    Answers,
    /// Their states too, which are the same for every target language.
    States,
}

/// What recipes differ in.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) name: &'static str,
    /// Whether answers in another language than their prompt are left out before.
    pub(super) of_language: bool,
    pub(super) dominant: Dominant,
    pub(super) choose: Choose,
}

/// Prompts and the answers to them in the dominant language, where these are needed.
pub(super) struct Sampled<'a> {
    choice: Choice,
    cases: &'a [Case],
    dominant: Vec<Answered>,
    counts: Answers,
}

impl<'a> Sampled<'a> {
    pub(super) fn asked(choice: Choice, cases: &'a [Case], maker: &mut Maker<'_>) -> Result<Self, PrepareError> {
        let prompts = cases.iter().map(|case| case.asked.prompt.clone());
        let mut counts = Answers { prompts: cases.len(), ..Answers::default() };
        let mut dominant: Vec<Answered> = match choice.dominant {
            Dominant::Nothing => prompts.map(Answered::new).collect(),
            Dominant::Answers | Dominant::States => {
                drawn(prompts.collect(), choice.of_language.then_some(maker.dominant), &mut counts, maker)?
            }
        };
        if choice.dominant == Dominant::States {
            let asked: Vec<Candidates<'_>> = dominant.iter().map(Answered::asked).collect();
            let states = maker.means.subject.states(&asked)?;
            dominant.iter_mut().zip(states).for_each(|(of, states)| of.states = states);
        }
        Ok(Self { choice, cases, dominant, counts })
    }

    /// A draft of each prompt that has an answer in the dominant language, if it needs one.
    fn drafts(&self, maker: &Maker<'_>, made: &mut OfLanguage) -> Vec<Draft<'a>> {
        let language = made.counts.language;
        let mut drafts = vec![];
        for (number, (case, of)) in self.cases.iter().zip(&self.dominant).enumerate() {
            if self.choice.dominant != Dominant::Nothing && of.answers.is_empty() {
                let problem = (Reason::NoAnswer, format!("in {}: {}", maker.dominant.name(), of.told()));
                made.drop(case.dropped(language, (problem, None)));
                continue;
            }
            let mut draft = begun(number, case, language, self.choice.name);
            if maker.dominant_pairs
                && let Some([chosen, rejected]) = &case.pair
            {
                draft.dominant.insert(Part::Chosen, Found::text(chosen, DATA));
                draft.dominant.insert(Part::Rejected, Found::text(rejected, DATA));
            }
            drafts.push(draft);
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
        for (draft, target) in drafts.into_iter().zip(answered) {
            if target.answers.len() < 2 {
                let problem = (Reason::TooFewAnswers, target.told());
                let said = target.answers.into_iter().next().map(|answer| answer.text);
                made.drop(draft.dropped(language, Part::Chosen, problem, said));
                continue;
            }
            of.push(Drawn { dominant: &self.dominant[draft.number], target });
            left.push(draft);
        }
        let preferred = (self.choice.choose)(&of, language, maker)?;
        for ((mut draft, of), preferred) in left.into_iter().zip(of).zip(preferred) {
            let Preferred { chosen, rejected } = match preferred {
                Ok(preferred) => preferred,
                Err(problem) => {
                    let said = of.target.answers.into_iter().next().map(|answer| answer.text);
                    made.drop(draft.dropped(language, Part::Chosen, problem, said));
                    continue;
                }
            };
            for (part, (number, _)) in [(Part::Chosen, chosen), (Part::Rejected, rejected)] {
                let answer = &of.target.answers[number];
                draft.is_cut |= answer.is_cut;
                draft.target.insert(part, Found::text(&answer.text, MODEL));
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
    let mut answered: Vec<Answered> = prompts.iter().cloned().map(Answered::new).collect();
    if prompts.is_empty() {
        return Ok(answered);
    }
    for sample in 0..maker.asking.samples {
        let sampling = maker.asking.sampling.map(|sampling| sampling.at_turn(sample as u64));
        let said = maker.said(&prompts, sample + 1, sampling)?;
        counts.add(&said);
        for (of, answer) in answered.iter_mut().zip(said.answers) {
            let in_language = |answer| match language {
                Some(language) => maker.checker.in_language(language, last_turn(&of.prompt), answer),
                None => Ok(answer),
            };
            let problem = match answer.and_then(in_language) {
                Err(((reason, _), _)) => reason.words(),
                Ok(answer) if of.answers.iter().any(|known| known.text == answer.text) => "said before",
                Ok(answer) => {
                    of.answers.push(answer);
                    continue;
                }
            };
            *of.left_out.entry(problem).or_default() += 1;
        }
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_preferred_to_the_worst_and_equals_to_nothing() {
        let preferred =
            |scores: &[f64]| Preferred::by(scores).map(|of| (of.chosen.0, of.rejected.0)).map_err(|(reason, _)| reason);
        assert_eq!(preferred(&[0.2, 0.9, -1.0, 0.9, -1.0]), Ok((1, 2)));
        assert_eq!(preferred(&[0.5, 0.5]), Err(Reason::NoneBetter));
        assert_eq!(preferred(&[]), Err(Reason::NoneBetter));
        for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(preferred(&[0.5, strange]), Err(Reason::NoScore));
        }
    }
}
