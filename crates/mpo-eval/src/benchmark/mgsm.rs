//! MGSM (Shi et al., 2023, "Language Models are Multilingual Chain-of-Thought Reasoners"): 250 sums of primary school,
//! each in eleven languages, without examples, and the model thinks in steps.

use std::path::Path;

use mpo_data::Language;

use super::table::{sorted, text};
use super::{Benchmark, Expected, Item, Marking};
use crate::error::EvalError;

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "mgsm",
    title: "MGSM",
    source: "Shi et al., 2023: sums of primary school in eleven languages, 0-shot, in steps",
    layout: "mgsm_LANGUAGE.tsv, with lines of question, tab, number; or a folder of them",
    marking: Marking::Number,
    max_new_tokens: 256,
    read: |path| {
        if !path.is_dir() {
            return questions(path, language(path));
        }
        let mut items = vec![];
        for file in sorted(path, Some("tsv"))? {
            items.extend(questions(&file, language(&file))?);
        }
        Ok(items)
    },
};

/// `sw` of `mgsm_sw.tsv`.
fn language(file: &Path) -> Option<Language> {
    let name = file.file_stem()?.to_str()?;
    name.rsplit('_').next()?.parse().ok()
}

fn questions(path: &Path, language: Option<Language>) -> Result<Vec<Item>, EvalError> {
    let Some(language) = language else {
        let problem = "expected a name that ends in a language's code, such as mgsm_sw.tsv";
        return Err(EvalError::broken(path, problem.into()));
    };
    let (question_is, answer_is) = labels(language);
    let lines = text(path)?;
    let lines = lines
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| {
            let parts = line.rsplit_once('\t');
            let parts =
                parts.and_then(|(question, answer)| Some((question, final_number(answer)?)));
            let Some((question, answer)) = parts else {
                let problem = format!("line {number}: expected question, tab, number");
                return Err(EvalError::broken(path, problem));
            };
            Ok(Item {
                id: (number - 1).to_string(),
                language: Some(language),
                group: None,
                turns: vec![format!("{question_is}{question}\n{answer_is}")],
                expected: Expected::Number(answer),
            })
        })
        .collect()
}

/// An answer up to where the model asks itself another question, as one does that was given no chat template. A question
/// that nothing of an answer comes before is the one asked, said again.
pub fn first_answer(text: &str, language: Option<Language>) -> &str {
    let own = language.map(|language| labels(language).0.trim());
    let known = own.into_iter().chain(["Question:"]);
    let questions = known.flat_map(|label| text.match_indices(label));
    let end = questions
        .map(|(at, _)| at)
        .filter(|&at| text[..at].contains(char::is_alphanumeric))
        .min();
    end.map_or(text, |end| &text[..end])
}

/// How a question and its answer in steps are announced. Languages that have no words here are asked in English ones.
fn labels(language: Language) -> (&'static str, &'static str) {
    match language.code() {
        "bn" => ("প্রশ্ন: ", "ধাপে ধাপে উত্তর:"),
        "de" => ("Frage: ", "Schritt-für-Schritt-Antwort:"),
        "es" => ("Pregunta: ", "Respuesta paso a paso:"),
        "fr" => ("Question : ", "Réponse étape par étape :"),
        "ja" => ("問題：", "ステップごとの答え："),
        "ru" => ("Задача: ", "Пошаговое решение:"),
        "sw" => ("Swali: ", "Jibu la Hatua kwa Hatua:"),
        "te" => ("ప్రశ్న: ", "దశలవారీగా సమాధానం:"),
        "th" => ("โจทย์: ", "คำตอบทีละขั้นตอน:"),
        "zh" => ("问题：", "逐步解答："),
        _ => ("Question: ", "Step-by-Step Answer:"),
    }
}

/// The last number of a text, without separators of thousands and without zeros behind its decimal point; digits of any
/// script are read. `None` without a number.
pub fn final_number(text: &str) -> Option<String> {
    let characters: Vec<char> = text.chars().map(ascii_digit).collect();
    let mut last = None;
    let mut at = 0;
    while at < characters.len() {
        if !characters[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let negative = at > 0
            && matches!(characters[at - 1], '-' | '−')
            && (at < 2 || !characters[at - 2].is_alphanumeric());
        let start = at;
        let digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
        // A comma or point belongs to the number if a digit follows.
        while digit(at)
            || (matches!(characters.get(at), Some(',' | '.' | '٬' | '٫')) && digit(at + 1))
        {
            at += 1;
        }
        last = Some((negative, characters[start..at].iter().collect::<String>()));
    }
    let (negative, digits) = last?;
    let mut number = digits.replace([',', '٬'], "").replace('٫', ".");
    if number.contains('.') {
        number = number
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned();
    }
    Some(if negative {
        format!("-{number}")
    } else {
        number
    })
}

/// A digit of another script as its ASCII one; other characters as they are.
fn ascii_digit(character: char) -> char {
    // The zeros of Arabic, Persian, Devanagari, Bengali, Telugu, Thai and full-width digits.
    const ZEROS: [char; 7] = ['٠', '۰', '०', '০', '౦', '๐', '０'];
    let digit = ZEROS.iter().find_map(|&zero| {
        let value = (character as u32).checked_sub(zero as u32)?;
        char::from_digit(value, 10)
    });
    digit.unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_question_is_no_answer() {
        let sw = "sw".parse().ok();
        assert_eq!(first_answer("Ni 5.\n\nSwali: Ngapi? 7", sw), "Ni 5.\n\n");
        assert_eq!(first_answer("5\nQuestion: 7", sw), "5\n");
        assert_eq!(first_answer("5", None), "5");
    }

    #[test]
    fn the_question_said_again_is_part_of_the_answer() {
        let sw = "sw".parse().ok();
        let again = "Swali: Ngapi?\nNi 5.\n";
        assert_eq!(first_answer(again, sw), again);
        assert_eq!(first_answer(&format!("{again}Swali: 7"), sw), again);
        assert_eq!(first_answer(&format!("{again}Question: 7"), sw), again);
        let again = "\n **Question:** How many?\n5";
        assert_eq!(first_answer(again, None), again);
    }

    #[test]
    fn every_language_of_the_benchmark_has_its_words() {
        for code in "bn de es fr ja ru sw te th zh".split(' ') {
            let (question, answer) = labels(code.parse().unwrap());
            assert!(question != "Question: " && answer != "Step-by-Step Answer:");
        }
        // As in lm-evaluation-harness's mgsm_te, to the character.
        let (question, answer) = labels("te".parse().unwrap());
        assert_eq!(question, "\u{c2a}\u{c4d}\u{c30}\u{c36}\u{c4d}\u{c28}: ");
        assert_eq!(
            answer,
            "\u{c26}\u{c36}\u{c32}\u{c35}\u{c3e}\u{c30}\u{c40}\u{c17}\u{c3e} \u{c38}\u{c2e}\u{c3e}\u{c27}\u{c3e}\u{c28}\u{c02}:"
        );
    }

    #[test]
    fn the_last_number() {
        for (text, number) in [
            ("The answer is 18.", Some("18")),
            ("She makes 9 * 2 = $18 a day", Some("18")),
            ("It costs $1,234.50.", Some("1234.5")),
            ("70,000 in all", Some("70000")),
            ("3.0", Some("3")),
            ("minus: -5", Some("-5")),
            ("from 3-5", Some("5")),
            ("উত্তর ১৮।", Some("18")),
            ("答えは１２です", Some("12")),
            ("١٢٫٥", Some("12.5")),
            ("none at all", None),
            ("", None),
        ] {
            assert_eq!(final_number(text).as_deref(), number, "{text}");
        }
    }
}
