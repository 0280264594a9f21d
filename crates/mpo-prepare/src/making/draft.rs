//! A row in the making: the parts of its two sides that there are so far.

use std::collections::HashMap;

use mpo_data::{
    BilingualPair, DataError, Language, Message, MonolingualPair, Origin, PairProblem, PreferencePair, Tools,
    UnpairedAnswer, row_line,
};
use serde_json::{Map, Value, json};

use crate::check::Problem;
use crate::dropped::{Dropped, Part, Reason};

use super::DATA;

/// A part in one language.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Its texts; of a prompt, one for each message.
    pub(crate) texts: Vec<String>,
    /// Where it came from.
    pub(crate) from: &'static str,
    /// The least score of a translation back, where there was one.
    pub(crate) back: Option<f64>,
}

impl Found {
    /// A text that nobody translated.
    pub(crate) fn text(text: impl Into<String>, from: &'static str) -> Self {
        Self { texts: vec![text.into()], from, back: None }
    }

    /// A prompt as the data has it.
    pub(crate) fn prompt(messages: &[Message]) -> Self {
        let texts = messages.iter().map(|message| message.content.clone());
        Self { texts: texts.collect(), from: DATA, back: None }
    }
}

/// What a prompt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It should be refused.
    Unsafe,
    /// It should be answered.
    Benign,
    /// Nobody judges what it is.
    Any,
}

/// What the data has of a row in the target language.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Given<'a> {
    pub(crate) prompt: Option<&'a [Message]>,
    pub(crate) tools: Option<&'a Tools>,
    pub(crate) rejected: Option<&'a str>,
}

/// A row in the making.
pub(crate) struct Draft<'a> {
    /// The number of its prompt among those of its kind, from zero.
    pub(crate) number: usize,
    pub(crate) origin: &'a Origin,
    pub(crate) kind: Kind,
    /// The prompt in the dominant language.
    pub(crate) prompt: &'a [Message],
    pub(crate) tools: Option<&'a Tools>,
    pub(crate) given: Given<'a>,
    /// The parts in the dominant language.
    pub(crate) dominant: HashMap<Part, Found>,
    /// The parts in the target language.
    pub(crate) target: HashMap<Part, Found>,
    /// Whether an answer lost what follows its last whole sentence.
    pub(crate) is_cut: bool,
    /// What the row tells of itself beside where its parts came from.
    pub(crate) told: Vec<(&'static str, Value)>,
}

impl Draft<'_> {
    /// The texts of a part in the dominant language.
    pub(super) fn source(&self, part: Part) -> Vec<&str> {
        self.dominant.get(&part).into_iter().flat_map(|found| &found.texts).map(String::as_str).collect()
    }

    /// The part as the data has it in the target language.
    pub(super) fn given(&self, part: Part) -> Option<Found> {
        match part {
            Part::Prompt => Some(Found::prompt(self.given.prompt?)),
            Part::Chosen => None,
            Part::Rejected => Some(Found::text(self.given.rejected?, DATA)),
        }
    }

    /// The prompt in the target language, once there is one.
    pub(crate) fn target_prompt(&self) -> Vec<Message> {
        let messages = self.given.prompt.unwrap_or(self.prompt).iter().zip(&self.target[&Part::Prompt].texts);
        messages.map(|(message, content)| Message { role: message.role, content: content.clone() }).collect()
    }

    pub(crate) fn dropped(
        &self,
        language: Language,
        part: Part,
        (reason, detail): Problem,
        text: Option<String>,
    ) -> Dropped {
        let (source, origin) = (self.source(part).join("\n"), self.origin.clone());
        Dropped { language, reason, part, detail, source, text, origin, benign: self.kind == Kind::Benign }
    }

    /// What another row may not have too: prompt and bad answer, or the prompt alone where there is no bad answer, or, as with
    /// a benign prompt, one of a few.
    pub(super) fn key(&self) -> String {
        let parts = if self.is_prompt_alone() { &[Part::Prompt][..] } else { &[Part::Prompt, Part::Rejected] };
        parts.iter().map(|part| self.target[part].texts.concat()).collect::<Vec<_>>().join("\n\n")
    }

    fn is_prompt_alone(&self) -> bool {
        self.kind == Kind::Benign || !self.target.contains_key(&Part::Rejected)
    }

    /// That there is such a row already.
    pub(super) fn duplicate(&self) -> Problem {
        let same = if self.is_prompt_alone() { "the same prompt" } else { "the same prompt and bad answer" };
        (Reason::Duplicate, format!("{same} as another row"))
    }

    /// The row, once all parts are there; of one language where the dominant side has no answers.
    pub(super) fn row(&self, dominant: Language, target: Language) -> Result<MadeRow, Problem> {
        let pair = |language, prompt, of: &HashMap<Part, Found>| {
            let [chosen, rejected] = [Part::Chosen, Part::Rejected].map(|part| of[&part].texts.concat());
            let same = |problem: PairProblem| (Reason::SameAnswers, problem.to_string());
            PreferencePair::new(language, prompt, chosen, rejected).map_err(same)
        };
        let tools = if self.given.prompt.is_some() { self.given.tools } else { self.tools };
        let origin = self.origin.clone();
        let of_target = || Ok(pair(target, self.target_prompt(), &self.target)?.with_tools(tools.cloned()));
        if !self.dominant.contains_key(&Part::Chosen) {
            return Ok(MadeRow::Monolingual(MonolingualPair { pair: of_target()?, origin }));
        }
        let dominant = pair(dominant, self.prompt.to_vec(), &self.dominant)?.with_tools(self.tools.cloned());
        Ok(MadeRow::Bilingual(BilingualPair { dominant, target: of_target()?, origin }))
    }

    /// Prompt and answer in both languages, each with each, as answers to learn, and what the crossing is called. What crosses
    /// languages asks for the answer's, or the model would learn to answer in any.
    pub(super) fn crossed(&self, dominant: Language, target: Language) -> Vec<(String, UnpairedAnswer)> {
        let target_tools = if self.given.prompt.is_some() { self.given.tools } else { self.tools };
        let sides = [
            (dominant, self.prompt.to_vec(), self.tools, &self.dominant),
            (target, self.target_prompt(), target_tools, &self.target),
        ];
        let rows = sides.iter().flat_map(|(language, prompt, tools, _)| {
            sides.iter().map(move |(of, _, _, parts)| {
                let prompt = if of == language { prompt.clone() } else { asking_for(prompt, *of) };
                let row = UnpairedAnswer {
                    language: *language,
                    prompt,
                    tools: tools.cloned(),
                    answer: parts[&Part::Chosen].texts.concat(),
                    desirable: true,
                    is_benign: false,
                    origin: self.origin.clone(),
                };
                (format!("{language}-{of}"), row)
            })
        });
        rows.collect()
    }

    /// Where the parts of the row came from.
    pub(super) fn provenance(&self) -> Value {
        let from = |of: &HashMap<Part, Found>| {
            let parts = [Part::Prompt, Part::Chosen, Part::Rejected].into_iter();
            let from = parts.filter_map(|part| Some((part.name().to_owned(), of.get(&part)?.from.into())));
            from.collect::<Map<_, _>>()
        };
        let mut told = json!({ "row": self.origin, "dominant": from(&self.dominant), "target": from(&self.target) });
        for (name, value) in &self.told {
            told[name] = value.clone();
        }
        if self.is_cut {
            told["cut"] = true.into();
        }
        let parts = [Part::Chosen, Part::Prompt, Part::Rejected];
        let back = |of: &HashMap<Part, Found>, part: Part| Some((part.name().to_owned(), of.get(&part)?.back?.into()));
        let backs: Map<String, Value> = parts.into_iter().filter_map(|part| back(&self.target, part)).collect();
        if !backs.is_empty() {
            told["back_translation"] = backs.into();
        }
        told
    }
}

/// A prompt that asks for an answer in a language.
pub(crate) fn asking_for(prompt: &[Message], language: Language) -> Vec<Message> {
    let mut prompt = prompt.to_vec();
    if let Some(last) = prompt.last_mut() {
        last.content += &format!("\n\nAnswer in {}.", language.name());
    }
    prompt
}

/// A row that was made.
pub(super) enum MadeRow {
    Bilingual(BilingualPair),
    Monolingual(MonolingualPair),
}

impl MadeRow {
    /// The row as a line of a file.
    pub(super) fn line(&self, provenance: &Value) -> Result<Vec<u8>, DataError> {
        match self {
            Self::Bilingual(row) => row_line(row, Some(provenance)),
            Self::Monolingual(row) => row_line(row, Some(provenance)),
        }
    }
}
