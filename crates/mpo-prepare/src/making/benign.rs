//! Rows of benign prompts: the model's own answer is the one to prefer, and a refusal that other rows prefer the one to
//! avoid. So a language learns what to refuse, and not to refuse.

use std::collections::{HashMap, HashSet};

use mpo_data::{Language, Message};

use crate::answers::{Answer, Answered};
use crate::benign::{BenignAnswers, BenignCase, BenignPrompts};
use crate::case::Case;
use crate::check::Failed;
use crate::dropped::{Dropped, Part, Reason};
use crate::error::PrepareError;
use crate::prepared::BenignCounts;
use crate::translate::Direction;

use super::judged::{Judged, last_turn};
use super::{DATA, Draft, Found, Given, Kind, MODEL, Maker, OfLanguage, Refusals};

/// Benign prompts and the model's answers to them in the dominant language.
pub(crate) struct Benign<'a> {
    of: &'a BenignPrompts,
    /// Whether each prompt is one of those that are to be refused, too.
    is_unsafe: Vec<bool>,
    /// The sides that are there so far, in the order of the prompts.
    sides: Vec<Result<Side, Dropped>>,
    pub(crate) counts: BenignCounts,
}

/// A prompt and its answer in the dominant language.
struct Side {
    prompt: Vec<Message>,
    prompt_from: &'static str,
    answer: Answer,
}

impl<'a> Benign<'a> {
    /// Prompts beside the unsafe ones of `cases`.
    pub(crate) fn new(of: &'a BenignPrompts, cases: &[Case]) -> Self {
        let parallel = cases.iter().flat_map(|case| &case.parallel).map(|(_, asked)| &asked.prompt);
        let known: HashSet<&Vec<Message>> = cases.iter().map(|case| &case.asked.prompt).chain(parallel).collect();
        let is_unsafe = |case: &BenignCase| case.prompts.values().any(|prompt| known.contains(prompt));
        let is_unsafe = of.cases.iter().map(is_unsafe).collect();
        Self { of, is_unsafe, sides: vec![], counts: BenignCounts::new(of) }
    }

    /// The rows in a language, beside `unsafe_rows` others that prefer the refusals that these avoid.
    pub(crate) fn rows(
        &mut self,
        language: Language,
        unsafe_rows: usize,
        refusals: &Refusals,
        maker: &mut Maker<'_>,
    ) -> Result<OfLanguage, PrepareError> {
        // Without refusals to avoid there are no rows, and nothing is asked.
        let has_refusals = !refusals.used.is_empty();
        let wanted = if has_refusals { self.of.wanted(unsafe_rows) } else { 0 };
        let all = self.of.cases.len();
        let mut made = OfLanguage::new(language, all, &maker.checker);
        let mut asked = 0;
        // Prompts that the share has no room for are not asked; those that are dropped make room for others.
        while asked < all && made.made.len() < wanted {
            let end = all.min(asked.saturating_add(wanted - made.made.len()));
            self.answer_in_dominant(end, maker)?;
            let cases = self.of.cases.iter().zip(&self.sides).enumerate().take(end).skip(asked);
            let drafts = drafts(cases, refusals, &mut made);
            asked = end;
            let drafts = maker.with_part(Part::Prompt, drafts, &mut made)?;
            let drafts = match self.of.answers {
                BenignAnswers::Own => with_answers(drafts, &mut made, &mut self.counts, maker)?,
                BenignAnswers::Translated => maker.with_part(Part::Chosen, drafts, &mut made)?,
            };
            let judge = maker.judge.name();
            for mut draft in drafts {
                draft.told = vec![("judge", judge.clone().into()), ("sample", 1.into()), ("benign", true.into())];
                made.keep(&draft, maker.dominant)?;
            }
        }
        for case in &self.of.cases[asked..] {
            let (part, problem) = if has_refusals {
                (Part::Prompt, (Reason::NotNeeded, String::new()))
            } else {
                (Part::Rejected, (Reason::NoRefusal, format!("no row in {} has one", language.name())))
            };
            made.drop(case.dropped(language, part, problem, case.text(self.of.source)));
        }
        Ok(made)
    }

    /// Has the prompts before `end` answered in the dominant language.
    fn answer_in_dominant(&mut self, end: usize, maker: &mut Maker<'_>) -> Result<(), PrepareError> {
        let (of, dominant) = (self.of, maker.dominant);
        let cases = of.cases.get(self.sides.len()..end).unwrap_or_default();
        let texts: Vec<String> = cases.iter().map(|case| case.text(of.source)).collect();
        let prompts: Vec<Result<Found, Failed>> = if of.source == dominant {
            texts.iter().map(|text| Ok(Found::text(text, DATA))).collect()
        } else {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let translations = maker.translations(Direction { from: of.source, to: dominant }, &texts)?;
            texts.iter().map(|text| translations.found(&[text], &maker.checker)).collect()
        };
        let twice = || ((Reason::Duplicate, "a prompt of the data, which other rows refuse".into()), None);
        let is_unsafe = &self.is_unsafe[self.sides.len()..];
        let prompts = prompts.into_iter().zip(is_unsafe);
        let prompts = prompts.map(|(found, &is_unsafe)| if is_unsafe { Err(twice()) } else { found });
        let prompts: Vec<Result<Found, Failed>> = prompts.collect();
        let asked: Vec<Vec<Message>> =
            prompts.iter().flatten().map(|found| found.texts.iter().map(Message::user).collect()).collect();
        let mut answers = answers(&asked, dominant, &mut self.counts, maker)?.into_iter().zip(asked);
        for ((case, found), text) in cases.iter().zip(prompts).zip(texts) {
            let side = match found {
                Err((problem, _)) => Err(case.dropped(dominant, Part::Prompt, problem, text)),
                Ok(found) => match answers.next() {
                    Some((Ok(answer), prompt)) => Ok(Side { prompt, prompt_from: found.from, answer }),
                    Some((Err((problem, said)), _)) => {
                        Err(case.dropped(dominant, Part::Chosen, problem, said.unwrap_or_default()))
                    }
                    None => break,
                },
            };
            self.sides.push(side);
        }
        Ok(())
    }
}

/// Drafts of prompts with an answer in the dominant language, each with a refusal.
fn drafts<'s>(
    next: impl Iterator<Item = (usize, (&'s BenignCase, &'s Result<Side, Dropped>))>,
    refusals: &Refusals,
    made: &mut OfLanguage,
) -> Vec<Draft<'s>> {
    let language = made.counts.language;
    let mut drafts = vec![];
    for (number, (case, side)) in next {
        let side = match side {
            Ok(side) => side,
            Err(dropped) => {
                made.drop(Dropped { language, ..dropped.clone() });
                continue;
            }
        };
        let (rejected, found) = refusals.of_number(number).expect("rows are made where there are refusals");
        drafts.push(Draft {
            number,
            origin: &case.origin,
            kind: Kind::Benign,
            prompt: &side.prompt,
            tools: None,
            given: Given { prompt: case.prompts.get(&language).map(Vec::as_slice), ..Given::default() },
            dominant: HashMap::from([
                (Part::Prompt, Found { from: side.prompt_from, ..Found::prompt(&side.prompt) }),
                (Part::Chosen, Found::text(&side.answer.text, MODEL)),
                (Part::Rejected, Found::text(rejected, MODEL)),
            ]),
            target: HashMap::from([(Part::Rejected, found.clone())]),
            is_cut: side.answer.is_cut,
            told: vec![],
        });
    }
    drafts
}

/// The drafts with the model's answer in their language, without those that have none.
fn with_answers<'d>(
    drafts: Vec<Draft<'d>>,
    made: &mut OfLanguage,
    counts: &mut BenignCounts,
    maker: &mut Maker<'_>,
) -> Result<Vec<Draft<'d>>, PrepareError> {
    let language = made.counts.language;
    let prompts: Vec<Vec<Message>> = drafts.iter().map(Draft::target_prompt).collect();
    let mut left = vec![];
    for (mut draft, answer) in drafts.into_iter().zip(answers(&prompts, language, counts, maker)?) {
        match answer {
            Ok(answer) => {
                draft.is_cut |= answer.is_cut;
                draft.target.insert(Part::Chosen, Found::text(answer.text, MODEL));
                left.push(draft);
            }
            Err((problem, said)) => made.drop(draft.dropped(language, Part::Chosen, problem, said)),
        }
    }
    Ok(left)
}

/// The model's answer to each prompt, if it is one and in the language of the prompts; else why not, and what was said.
fn answers(
    prompts: &[Vec<Message>],
    language: Language,
    counts: &mut BenignCounts,
    maker: &mut Maker<'_>,
) -> Result<Vec<Answered>, PrepareError> {
    if prompts.is_empty() {
        return Ok(vec![]);
    }
    let said = maker.said(prompts, 1, None)?;
    counts.answers += said.replies;
    counts.tokens += said.tokens;
    let judged = maker.judged(prompts, said.answers, language)?;
    let of = |(judged, prompt): (Judged, &Vec<Message>)| match judged {
        Ok((answer, true)) => Err(((Reason::Refused, String::new()), Some(answer.text))),
        Ok((answer, false)) => maker.checker.answers(language, last_turn(prompt), answer),
        Err(failed) => Err(failed),
    };
    Ok(judged.into_iter().zip(prompts).map(of).collect())
}
