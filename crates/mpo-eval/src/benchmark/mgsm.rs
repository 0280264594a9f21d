//! MGSM (Shi et al., 2023, "Language Models are Multilingual Chain-of-Thought Reasoners"): 250 sums of primary school,
//! each in eleven languages, without examples, and the model thinks in steps.

use std::path::Path;

use mpo_data::Language;

use super::named;
use super::table::{sorted, text};
use super::{Benchmark, Expected, Item, Marking};
use crate::error::EvalError;
use crate::number::final_number;

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "mgsm",
    title: "MGSM",
    source: "Shi et al., 2023: sums of primary school in eleven languages, 0-shot, in steps",
    layout: "mgsm_LANGUAGE.tsv, with lines of question, tab, number; or a folder of them",
    marking: Marking::Number,
    max_new_tokens: 256,
    read: |path, _| {
        if !path.is_dir() {
            return questions(path, named::language(path));
        }
        let mut items = vec![];
        for file in sorted(path, Some("tsv"))? {
            items.extend(questions(&file, named::language(&file))?);
        }
        Ok(items)
    },
};

fn questions(path: &Path, language: Option<Language>) -> Result<Vec<Item>, EvalError> {
    let Some(language) = language else {
        let problem = "expected a name that ends in a language's code, such as mgsm_sw.tsv";
        return Err(EvalError::broken(path, problem.into()));
    };
    let (question_is, answer_is) = labels(language);
    let lines = text(path)?;
    let lines = lines.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| {
            let parts = line.rsplit_once('\t');
            let parts = parts.and_then(|(question, answer)| Some((question, expected(answer)?)));
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
pub(crate) fn first_answer(text: &str, language: Option<Language>) -> &str {
    let own = language.map(|language| labels(language).0.trim());
    let known = own.into_iter().chain(["Question:"]);
    let questions = known.flat_map(|label| text.match_indices(label));
    let end = questions.map(|(at, _)| at).filter(|&at| text[..at].contains(char::is_alphanumeric)).min();
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

/// The number of a file's last cell. All of the benchmark's files write it as English does; spaces group nothing but
/// thousands where there is one number.
fn expected(cell: &str) -> Option<String> {
    let joined: String = cell.chars().filter(|one| !one.is_whitespace()).collect();
    final_number(&joined, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::benchmark;
    use crate::benchmark::testing::files;

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
    fn the_number_expected_is_as_in_english() {
        for (cell, number) in [("2,125", "2125"), ("80 000", "80000"), ("3.50", "3.5")] {
            assert_eq!(expected(cell).as_deref(), Some(number));
        }
    }

    #[test]
    fn mgsm_is_a_file_or_a_folder() {
        let (_dir, path) =
            files(&[("mgsm_en.tsv", "How many?\t1,200\nHow \"far\"?\t3.50\n"), ("mgsm_sw.tsv", "Ngapi?\t12\n")]);
        let items = benchmark("mgsm").unwrap().items(&path, &[], None).unwrap();
        let lines: Vec<_> =
            items.iter().map(|item| (item.language.unwrap().to_string(), item.expected.clone())).collect();
        let number = |text: &str| Expected::Number(text.into());
        assert_eq!(lines, [("en".into(), number("1200")), ("en".into(), number("3.5")), ("sw".into(), number("12"))]);
        assert!(items[1].turns[0].contains("How \"far\"?"));
        let one = benchmark("mgsm").unwrap().items(&path.join("mgsm_sw.tsv"), &[], None).unwrap();
        assert_eq!(one.len(), 1);
    }
}
