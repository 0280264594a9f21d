//! What rows are made of: a prompt in the dominant language and a bad answer to it, with what is there of them in other
//! languages already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use mpo_data::{
    BilingualPair, Language, Message, MonolingualPair, Origin, ParallelPrompts, PreferencePair, Rows, Tools,
    UnpairedAnswer,
};
use mpo_eval::BenignPrompt;

use crate::benign::{BenignCase, parallel};
use crate::check::Failed;
use crate::dropped::{Dropped, Part};
use crate::error::PrepareError;
use crate::making::Given;
use crate::recipes::RecipeDefinition;

/// A prompt and a bad answer to it in one language.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The conversation so far; its last message is the user's.
    pub prompt: Vec<Message>,
    /// The tools that the prompt offers.
    pub tools: Option<Tools>,
    /// The answer to avoid; empty for recipes that need none.
    pub rejected: String,
}

/// A prompt in the dominant language, and what there is of it in others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The prompt and the bad answer.
    pub asked: Asked,
    /// The same in other languages, as the data has it.
    pub parallel: BTreeMap<Language, Asked>,
    /// The data's good and bad answer in the dominant language, where a recipe without bad answers may take both as they are.
    pub pair: Option<[String; 2]>,
    /// The row it came from first.
    pub origin: Origin,
}

impl Case {
    /// What the data has of it in a language.
    pub(crate) fn given(&self, language: Language) -> Given<'_> {
        self.parallel.get(&language).map_or(Given::default(), |parallel| Given {
            prompt: Some(&parallel.prompt),
            tools: parallel.tools.as_ref(),
            rejected: Some(&parallel.rejected),
        })
    }

    /// That there is no answer to it in the dominant language that can be preferred.
    pub(crate) fn dropped(&self, language: Language, (problem, said): Failed) -> Dropped {
        Dropped::early(language, Part::Chosen, problem, said.unwrap_or_default(), &self.origin, false)
    }
}

/// The cases of a data set, each once.
#[derive(Debug, Clone, Default)]
pub struct Cases {
    /// In the order of the rows.
    pub cases: Vec<Case>,
    /// Rows that add no case and no language to one, by reason.
    pub left_out: BTreeMap<String, usize>,
}

impl Cases {
    /// The cases of rows whose prompts are in `dominant`, for a recipe: their good answers are not used, and if its rows prefer no
    /// refusals, the bad ones neither.
    pub fn of(rows: Rows, dominant: Language, recipe: &RecipeDefinition) -> Self {
        let (of_answers, known) = (recipe.refuses, HashMap::new());
        let mut collecting = Collecting { dominant, of_answers, known, cases: Self::default() };
        match rows {
            Rows::Bilingual(rows) => rows.into_iter().for_each(|row| collecting.bilingual(row)),
            Rows::Monolingual(rows) => rows.into_iter().for_each(|row| collecting.monolingual(row)),
            Rows::Unpaired(rows) => rows.into_iter().for_each(|row| collecting.unpaired(row)),
            Rows::Parallel(rows) => rows.into_iter().for_each(|row| collecting.parallel(&row)),
        }
        collecting.cases
    }

    /// The cases of a file of prompts without answers, for recipes that need none. In a file of several languages the prompts
    /// of one number are the same in each.
    ///
    /// # Errors
    /// If one language has more than another.
    pub fn of_prompts(prompts: Vec<BenignPrompt>, path: &Path, dominant: Language) -> Result<Self, PrepareError> {
        let (mut cases, mut known) = (Self::default(), HashSet::new());
        for BenignCase { mut prompts, origin, .. } in parallel(prompts, path)? {
            let asked = |prompt| Asked { prompt, tools: None, rejected: String::new() };
            match prompts.remove(&dominant) {
                Some(prompt) if !known.insert(prompt.clone()) => cases.leave_out("a prompt that is there already"),
                Some(prompt) => {
                    let parallel = prompts.into_iter().map(|(language, prompt)| (language, asked(prompt)));
                    cases.cases.push(Case { asked: asked(prompt), parallel: parallel.collect(), pair: None, origin });
                }
                None => cases.leave_out(&format!("a prompt that is not there in {}", dominant.name())),
            }
        }
        Ok(cases)
    }

    fn leave_out(&mut self, reason: &str) {
        *self.left_out.entry(reason.to_owned()).or_default() += 1;
    }

    /// Whether each has the data's own pair of answers in the dominant language.
    ///
    /// # Errors
    /// If there is one that has none.
    pub fn check_pairs(&self, dominant: Language) -> Result<(), PrepareError> {
        match self.cases.iter().find(|case| case.pair.is_none()) {
            None => Ok(()),
            Some(case) => Err(PrepareError::NoDominantPair { origin: case.origin.clone(), language: dominant }),
        }
    }

    /// At most `most` of them, the first.
    #[must_use]
    pub fn limit(mut self, most: usize) -> Self {
        self.cases.truncate(most);
        self
    }
}

struct Collecting {
    dominant: Language,
    /// Whether a bad answer belongs to a case; else prompts alone do.
    of_answers: bool,
    /// The place of each case.
    known: HashMap<Asked, usize>,
    cases: Cases,
}

impl Collecting {
    fn bilingual(&mut self, row: BilingualPair) {
        let BilingualPair { dominant, target, origin } = row;
        // Either side may be in it.
        let (own, other) = if dominant.language() == self.dominant { (dominant, target) } else { (target, dominant) };
        let Some((place, _)) = self.add(&own, origin) else { return };
        let (language, other) = (other.language(), self.asked(&other));
        let parallel = &mut self.cases.cases[place].parallel;
        if parallel.contains_key(&language) {
            return self.leave_out_again(" in the same languages");
        }
        parallel.insert(language, other);
    }

    fn monolingual(&mut self, row: MonolingualPair) {
        if let Some((_, false)) = self.add(&row.pair, row.origin) {
            self.leave_out_again("");
        }
    }

    fn unpaired(&mut self, row: UnpairedAnswer) {
        if row.desirable && self.of_answers {
            return self.leave_out("a good answer: a bad one is needed");
        }
        let asked = Asked { prompt: row.prompt, tools: row.tools, rejected: self.rejected(&row.answer) };
        if let Some((_, false)) = self.add_asked(row.language, asked, row.origin) {
            self.leave_out_again("");
        }
    }

    fn parallel(&mut self, row: &ParallelPrompts) {
        if self.of_answers {
            return self.leave_out("a prompt without answers: a bad one is needed");
        }
        let asked = |prompt: &[Message]| Asked { prompt: prompt.to_vec(), tools: None, rejected: String::new() };
        let (own, others): (Vec<_>, Vec<_>) =
            row.by_language().iter().partition(|(language, _)| *language == self.dominant);
        let Some((language, prompt)) = own.first() else {
            return self.leave_out(&format!("a prompt that is not there in {}", self.dominant.name()));
        };
        match self.add_asked(*language, asked(prompt), row.origin.clone()) {
            Some((place, true)) => {
                let others = others.into_iter().map(|(language, prompt)| (*language, asked(prompt)));
                self.cases.cases[place].parallel.extend(others);
            }
            Some((_, false)) => self.leave_out_again(""),
            None => {}
        }
    }

    fn add(&mut self, pair: &PreferencePair, origin: Origin) -> Option<(usize, bool)> {
        let added = self.add_asked(pair.language(), self.asked(pair), origin);
        if let Some((place, true)) = added
            && !self.of_answers
        {
            let answers = [pair.chosen(), pair.rejected()].map(str::to_owned);
            self.cases.cases[place].pair = Some(answers);
        }
        added
    }

    fn asked(&self, pair: &PreferencePair) -> Asked {
        let (prompt, tools) = (pair.prompt().to_vec(), pair.tools().cloned());
        Asked { prompt, tools, rejected: self.rejected(pair.rejected()) }
    }

    /// The bad answer, where it belongs to a case.
    fn rejected(&self, answer: &str) -> String {
        if self.of_answers { answer.to_owned() } else { String::new() }
    }

    /// The place of a case, and whether it is new; none if it is in another language.
    fn add_asked(&mut self, language: Language, asked: Asked, origin: Origin) -> Option<(usize, bool)> {
        if language != self.dominant {
            self.leave_out(&format!("a prompt in {}, not {}", language.name(), self.dominant.name()));
            return None;
        }
        if let Some(&place) = self.known.get(&asked) {
            return Some((place, false));
        }
        let place = self.cases.cases.len();
        // Rows are the same wherever the data lies.
        let file = origin.file.file_name().map(Into::into).unwrap_or(origin.file);
        let origin = Origin { file, position: origin.position };
        self.known.insert(asked.clone(), place);
        self.cases.cases.push(Case { asked, parallel: BTreeMap::new(), pair: None, origin });
        Some((place, true))
    }

    fn leave_out_again(&mut self, where_too: &str) {
        let with = if self.of_answers { " with its bad answer" } else { "" };
        self.leave_out(&format!("a prompt{with} that is there{where_too} already"));
    }

    fn leave_out(&mut self, reason: &str) {
        self.cases.leave_out(reason);
    }
}

#[cfg(test)]
mod tests {
    use mpo_data::Position;

    use super::*;

    fn language(code: &str) -> Language {
        code.parse().unwrap()
    }

    fn recipe(name: &str) -> &'static RecipeDefinition {
        RecipeDefinition::of(name).unwrap()
    }

    fn pair(code: &str, prompt: &str, rejected: &str) -> PreferencePair {
        PreferencePair::new(language(code), vec![Message::user(prompt)], "no".into(), rejected.into()).unwrap()
    }

    fn origin(row: usize) -> Origin {
        Origin { file: "rows.json".into(), position: Position::Row(row) }
    }

    #[test]
    fn rows_that_share_a_prompt_and_a_bad_answer_are_one_case_with_its_languages() {
        let row = |target: PreferencePair, number| BilingualPair {
            dominant: pair("en", "May I read it?", "Yes."),
            target,
            origin: origin(number),
        };
        let rows = vec![
            row(pair("sw", "Naweza kuisoma?", "Ndiyo."), 1),
            row(pair("bn", "আমি কি পড়তে পারি?", "হ্যাঁ।"), 2),
            row(pair("sw", "Je, naweza kuisoma?", "Ndiyo."), 3),
            BilingualPair { dominant: pair("en", "May I read it?", "Sure."), ..row(pair("sw", "a", "b"), 4) },
            BilingualPair { dominant: pair("fr", "Puis-je ?", "Oui."), ..row(pair("sw", "a", "b"), 5) },
        ];
        let Cases { cases, left_out } = Cases::of(Rows::Bilingual(rows), language("en"), recipe("paper"));
        let found: Vec<_> = cases.iter().map(|case| (&*case.asked.rejected, case.parallel.len())).collect();
        assert_eq!(found, [("Yes.", 2), ("Sure.", 1)]);
        assert_eq!(cases[0].parallel[&language("sw")].prompt[0].content, "Naweza kuisoma?");
        assert_eq!((cases[0].origin.clone(), left_out.values().sum::<usize>()), (origin(1), 2));
    }

    #[test]
    fn rows_of_one_language_and_single_answers_are_cases_too() {
        let rows = ["May I?", "May I?", "Can I?"]
            .map(|prompt| MonolingualPair { pair: pair("en", prompt, "Yes."), origin: origin(1) });
        let of = Cases::of(Rows::Monolingual(rows.into()), language("en"), recipe("paper"));
        assert_eq!((of.cases.len(), of.left_out.values().sum::<usize>()), (2, 1));
        let answer = |desirable| UnpairedAnswer {
            language: language("en"),
            prompt: vec![Message::user("May I?")],
            tools: None,
            answer: "Yes.".into(),
            desirable,
            is_benign: false,
            origin: origin(1),
        };
        let both = || Rows::Unpaired(vec![answer(true), answer(false)]);
        let of = Cases::of(both(), language("en"), recipe("paper"));
        assert_eq!((of.cases.len(), of.left_out.keys().next().unwrap().starts_with("a good answer")), (1, true));
        assert!(Cases::of(both(), language("sw"), recipe("paper")).cases.is_empty());
        // Where answers are not used, a prompt is there once whatever was said to it.
        let of = Cases::of(both(), language("en"), recipe("lidr"));
        assert_eq!((of.cases.len(), of.left_out), (1, BTreeMap::from([("a prompt that is there already".into(), 1)])));
    }

    #[test]
    fn prompts_in_several_languages_are_cases_of_recipes_without_bad_answers() {
        let row = |codes: &str| {
            let prompts = codes.split(' ').map(|code| (language(code), vec![Message::user(code)]));
            ParallelPrompts::new(prompts.collect(), language("en"), origin(1)).unwrap()
        };
        let rows = || Rows::Parallel(vec![row("en sw bn"), row("en sw")]);
        let of = Cases::of(rows(), language("en"), recipe("lidr"));
        assert_eq!((of.cases.len(), of.cases[0].parallel.len(), of.left_out.len()), (1, 2, 1));
        assert_eq!(Cases::of(rows(), language("bn"), recipe("lidr")).cases.len(), 1);
        let of = Cases::of(rows(), language("en"), recipe("paper"));
        assert_eq!((of.cases.len(), of.left_out.values().sum::<usize>()), (0, 2));
    }

    #[test]
    fn for_recipes_without_bad_answers_a_prompt_is_one_case_with_all_its_languages() {
        let row = |rejected: &str, code: &str| BilingualPair {
            dominant: pair("en", "May I read it?", rejected),
            target: pair(code, "Naweza?", rejected),
            origin: origin(1),
        };
        let rows = || Rows::Bilingual(vec![row("Yes.", "sw"), row("Sure.", "bn"), row("Of course.", "sw")]);
        let count = |name| {
            let of = Cases::of(rows(), language("en"), recipe(name));
            (of.cases.len(), of.cases[0].parallel.len(), of.left_out.values().sum::<usize>())
        };
        assert_eq!((count("paper"), count("mapo")), ((3, 1, 0), (1, 2, 1)));
        // The first row's pair is the prompt's; single answers and prompts have none.
        let of = Cases::of(rows(), language("en"), recipe("mapo"));
        assert_eq!(of.cases[0].pair, Some(["no", "Yes."].map(String::from)));
        assert!(of.check_pairs(language("en")).is_ok());
        assert!(Cases::of(rows(), language("en"), recipe("paper")).cases[0].pair.is_none());
        let prompt = vec![BenignPrompt { language: language("en"), prompt: "May I?".into(), line: 1 }];
        let alone = Cases::of_prompts(prompt, "p.jsonl".as_ref(), language("en")).unwrap();
        let error = alone.check_pairs(language("en")).unwrap_err();
        assert!(error.to_string().contains("a good and a bad answer in English") && error.hint().is_some(), "{error}");
    }

    #[test]
    fn prompts_without_answers_are_cases_with_their_languages() {
        let prompts = [("en", "May I?"), ("en", "Can I?"), ("sw", "Naweza?"), ("sw", "Je?")];
        let prompt = |(line, (code, prompt)): (usize, &(&str, &str))| BenignPrompt {
            language: language(code),
            prompt: (*prompt).to_owned(),
            line: line + 1,
        };
        let prompts = || prompts.iter().enumerate().map(prompt).collect::<Vec<_>>();
        let Cases { cases, left_out } = Cases::of_prompts(prompts(), "p.jsonl".as_ref(), language("en")).unwrap();
        assert_eq!((cases.len(), left_out.len()), (2, 0));
        assert_eq!(cases[1].parallel[&language("sw")].prompt, [Message::user("Je?")]);
        let of = Cases::of_prompts(prompts(), "p.jsonl".as_ref(), language("bn")).unwrap();
        assert_eq!((of.cases.len(), of.left_out.values().sum::<usize>()), (0, 2));
        let twice = [prompts(), prompts()].concat();
        let of = Cases::of_prompts(twice, "p.jsonl".as_ref(), language("en")).unwrap();
        assert_eq!((of.cases, of.left_out.values().sum::<usize>()), (cases, 2));
    }
}
