//! A row in the making: its dominant side, and the parts of its target side that there are so far.

use std::collections::HashMap;

use mpo_data::{BilingualPair, Language, Message, Origin, PairProblem, PreferencePair, Tools};
use serde_json::{Value, json};

use crate::answers::Answer;
use crate::check::Problem;
use crate::dropped::{Dropped, Part, Reason};

use super::{DATA, MODEL};

/// A part in the target language.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its texts; of a prompt, one for each message.
    pub(super) texts: Vec<String>,
    pub(super) from: &'static str,
    /// The least score of a translation back, where there was one.
    pub(super) back: Option<f64>,
}

impl Found {
    /// A text that nobody translated.
    pub(super) fn of(texts: Vec<String>, from: &'static str) -> Self {
        Self { texts, from, back: None }
    }
}

/// What is wrong with a part, and what it says in the target language, where there is a text.
pub(super) type Failed = (Problem, Option<String>);

/// What the data has of a row in the target language.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given<'a> {
    pub(super) prompt: Option<&'a [Message]>,
    pub(super) tools: Option<&'a Tools>,
    pub(super) rejected: Option<&'a str>,
}

/// A row in the making.
pub(super) struct Draft<'a> {
    pub(super) origin: &'a Origin,
    pub(super) prompt: &'a [Message],
    pub(super) prompt_from: &'static str,
    pub(super) tools: Option<&'a Tools>,
    /// The model's answer in the dominant language.
    pub(super) chosen: &'a Answer,
    pub(super) rejected: &'a str,
    pub(super) given: Given<'a>,
    /// The parts in the target language.
    pub(super) found: HashMap<Part, Found>,
    /// Whether an answer lost what follows its last whole sentence.
    pub(super) is_cut: bool,
    /// Whether the prompt should be answered; else it should be refused.
    pub(super) is_benign: bool,
}

impl Draft<'_> {
    /// The texts of a part in the dominant language.
    pub(super) fn source(&self, part: Part) -> Vec<&str> {
        match part {
            Part::Prompt => texts(self.prompt),
            Part::Chosen => vec![&self.chosen.text],
            Part::Rejected => vec![self.rejected],
        }
    }

    /// The part as the data has it in the target language.
    pub(super) fn given(&self, part: Part) -> Option<Found> {
        let texts = match part {
            Part::Prompt => texts(self.given.prompt?),
            Part::Chosen => return None,
            Part::Rejected => vec![self.given.rejected?],
        };
        Some(Found::of(texts.into_iter().map(str::to_owned).collect(), DATA))
    }

    /// The prompt in the target language, once there is one.
    pub(super) fn target_prompt(&self) -> Vec<Message> {
        let messages = self.given.prompt.unwrap_or(self.prompt).iter().zip(&self.found[&Part::Prompt].texts);
        messages.map(|(message, content)| Message { role: message.role, content: content.clone() }).collect()
    }

    pub(super) fn dropped(
        &self,
        language: Language,
        part: Part,
        (reason, detail): Problem,
        text: Option<String>,
    ) -> Dropped {
        let (source, origin) = (self.source(part).join("\n"), self.origin.clone());
        Dropped { language, reason, part, detail, source, text, origin, benign: self.is_benign }
    }

    /// What another row may not have too: prompt and bad answer, or of a benign prompt the prompt alone, as its bad answer is
    /// one of a few.
    pub(super) fn key(&self) -> String {
        let parts = if self.is_benign { &[Part::Prompt][..] } else { &[Part::Prompt, Part::Rejected] };
        parts.iter().map(|part| self.found[part].texts.concat()).collect::<Vec<_>>().join("\n\n")
    }

    /// That there is such a row already.
    pub(super) fn duplicate(&self) -> Problem {
        let same = if self.is_benign { "the same prompt" } else { "the same prompt and bad answer" };
        (Reason::Duplicate, format!("{same} as another row"))
    }

    /// The row, once all parts are there.
    pub(super) fn row(&self, dominant: Language, target: Language) -> Result<BilingualPair, Problem> {
        let same = |problem: PairProblem| (Reason::SameAnswers, problem.to_string());
        let text = |part| self.found[&part].texts.concat();
        let of =
            PreferencePair::new(dominant, self.prompt.to_vec(), self.chosen.text.clone(), self.rejected.to_owned());
        let target = PreferencePair::new(target, self.target_prompt(), text(Part::Chosen), text(Part::Rejected));
        let tools = if self.given.prompt.is_some() { self.given.tools } else { self.tools };
        Ok(BilingualPair {
            dominant: of.map_err(same)?.with_tools(self.tools.cloned()),
            target: target.map_err(same)?.with_tools(tools.cloned()),
            origin: self.origin.clone(),
        })
    }

    /// Where the parts of the row came from.
    pub(super) fn provenance(&self, judge: &str) -> Value {
        let from = |part| self.found[&part].from;
        let rejected = if self.is_benign { MODEL } else { DATA };
        let mut told = json!({
            "row": self.origin,
            "dominant": { "prompt": self.prompt_from, "chosen": MODEL, "rejected": rejected },
            "target": { "prompt": from(Part::Prompt), "chosen": from(Part::Chosen), "rejected": from(Part::Rejected) },
            "judge": judge,
            "sample": self.chosen.sample,
        });
        if self.is_benign {
            told["benign"] = true.into();
        }
        if self.is_cut {
            told["cut"] = true.into();
        }
        let parts = [Part::Chosen, Part::Prompt, Part::Rejected];
        let backs = parts.into_iter().filter_map(|part| Some((part.name().to_owned(), self.found[&part].back?.into())));
        let backs: serde_json::Map<String, Value> = backs.collect();
        if !backs.is_empty() {
            told["back_translation"] = backs.into();
        }
        told
    }
}

/// What each message says.
fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| &*message.content).collect()
}
