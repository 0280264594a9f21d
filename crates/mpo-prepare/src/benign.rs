//! Benign prompts, each with what there is of it in other languages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mpo_data::{Language, Message, Origin, Position};
use mpo_eval::BenignPrompt;

use crate::check::Problem;
use crate::dropped::{Dropped, Part};
use crate::error::PrepareError;

/// Benign prompts to make rows of beside those of unsafe ones.
#[derive(Debug, Clone)]
pub struct BenignPrompts {
    pub(crate) path: PathBuf,
    pub(crate) cases: Vec<BenignCase>,
    /// The language that prompts are translated from: the dominant one, where the file has it.
    pub(crate) source: Language,
    pub(crate) answers: BenignAnswers,
    pub(crate) share: Option<f64>,
}

/// Where the answer to prefer comes from in a target language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BenignAnswers {
    /// The model's own answer in that language.
    Own,
    /// A translation of its answer in the dominant language.
    Translated,
}

/// A benign prompt.
#[derive(Debug, Clone)]
pub(crate) struct BenignCase {
    /// It by language.
    pub(crate) prompts: BTreeMap<Language, Vec<Message>>,
    /// The language that it stands in first.
    first: Language,
    /// Where it stands first.
    pub(crate) origin: Origin,
}

impl BenignPrompts {
    /// The prompts of a file, for rows beside others in `dominant`. In a file of several languages the prompts of one number
    /// are the same in each. `share` is the benign share of a language's rows, above 0 and below 1; without it, all prompts
    /// become rows.
    ///
    /// # Errors
    /// If there are none, or one language has more than another.
    pub fn new(
        prompts: Vec<BenignPrompt>,
        path: &Path,
        dominant: Language,
        answers: BenignAnswers,
        share: Option<f64>,
    ) -> Result<Self, PrepareError> {
        let cases = parallel(prompts, path)?;
        let Some(first) = cases.first() else {
            return Err(PrepareError::NoBenign { path: path.to_owned() });
        };
        let has_dominant = first.prompts.contains_key(&dominant);
        let source = if has_dominant { dominant } else { first.first };
        Ok(Self { path: path.to_owned(), cases, source, answers, share })
    }

    /// How many rows are to be made beside so many others.
    pub(crate) fn wanted(&self, others: usize) -> usize {
        self.share.map_or(usize::MAX, |share| (others as f64 * share / (1.0 - share)).round() as usize)
    }
}

/// The prompts of a file, each with its languages: those of one number are the same in each.
pub(crate) fn parallel(prompts: Vec<BenignPrompt>, path: &Path) -> Result<Vec<BenignCase>, PrepareError> {
    // Rows are the same wherever the file lies.
    let file = path.file_name().map_or_else(|| path.to_owned(), Into::into);
    let mut seen: BTreeMap<Language, usize> = BTreeMap::new();
    let mut cases: Vec<BenignCase> = vec![];
    for BenignPrompt { language, prompt, line } in prompts {
        let number = seen.entry(language).or_default();
        if *number == cases.len() {
            let origin = Origin { file: file.clone(), position: Position::Line(line) };
            cases.push(BenignCase { prompts: BTreeMap::new(), first: language, origin });
        }
        cases[*number].prompts.insert(language, vec![Message::user(prompt)]);
        *number += 1;
    }
    match seen.into_iter().find(|(_, count)| *count < cases.len()) {
        Some((language, got)) => {
            Err(PrepareError::UnevenPrompts { path: path.to_owned(), language, got, most: cases.len() })
        }
        None => Ok(cases),
    }
}

impl BenignCase {
    /// What is asked, in a language that the file has.
    pub(crate) fn text(&self, language: Language) -> String {
        self.prompts.get(&language).into_iter().flatten().map(|message| &*message.content).collect()
    }

    pub(crate) fn dropped(&self, language: Language, part: Part, problem: Problem, source: String) -> Dropped {
        Dropped::early(language, part, problem, source, &self.origin, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(of: &[(&str, &str)], dominant: &str) -> Result<BenignPrompts, PrepareError> {
        let prompt = |(line, (language, prompt)): (usize, &(&str, &str))| BenignPrompt {
            language: language.parse().unwrap(),
            prompt: (*prompt).to_owned(),
            line: line + 1,
        };
        let all = of.iter().enumerate().map(prompt).collect();
        BenignPrompts::new(all, "d/b.jsonl".as_ref(), dominant.parse().unwrap(), BenignAnswers::Own, Some(0.2))
    }

    #[test]
    fn prompts_of_one_number_are_the_same_in_each_language_in_whatever_order() {
        for of in
            [[("en", "a"), ("en", "b"), ("sw", "c"), ("sw", "d")], [("en", "a"), ("sw", "c"), ("en", "b"), ("sw", "d")]]
        {
            let prompts = prompts(&of, "en").unwrap();
            let texts: Vec<_> =
                prompts.cases.iter().map(|of| ["en", "sw"].map(|code| of.text(code.parse().unwrap()))).collect();
            assert_eq!(texts, [["a", "c"], ["b", "d"]]);
            assert_eq!(prompts.source.code(), "en");
            assert_eq!(prompts.cases[0].origin.to_string(), "b.jsonl, line 1");
        }
        assert_eq!(prompts(&[("sw", "a"), ("bn", "b")], "en").unwrap().source.code(), "sw");
    }

    #[test]
    fn a_language_with_fewer_prompts_and_a_file_without_any_are_errors() {
        let error = prompts(&[("en", "a"), ("en", "b"), ("sw", "c")], "en").unwrap_err();
        assert!(
            error.to_string().contains("b.jsonl: expected 2 prompts in each language, got 1 in Swahili"),
            "{error}"
        );
        assert!(error.hint().is_some());
        assert!(prompts(&[], "en").unwrap_err().hint().is_some());
    }

    #[test]
    fn a_share_of_the_rows_is_so_many_beside_the_others() {
        let prompts = prompts(&[("en", "a")], "en").unwrap();
        assert_eq!([0, 4, 10, 28].map(|others| prompts.wanted(others)), [0, 1, 3, 7]);
    }
}
