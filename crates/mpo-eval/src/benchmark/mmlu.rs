//! MMLU (Hendrycks et al., 2021) and its translations: questions of 57 subjects with four options, after five examples
//! of the subject, in the words of lm-evaluation-harness.

use std::collections::BTreeMap;
use std::path::Path;

use mpo_data::Language;

use super::named;
use super::table::{csv_text, file_in, has_extension, sorted, stem};
use super::{Benchmark, Expected, Item, Marking};
use crate::error::EvalError;

/// What options are called. The answer is the likeliest of these after a space.
pub(crate) const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// Examples before a question.
const SHOTS: usize = 5;

pub(super) static BENCHMARK: Benchmark = Benchmark {
    name: "mmlu",
    title: "MMLU",
    source: "Hendrycks et al., 2021: multiple choice in 57 subjects, 5-shot; MMMLU's translations, which have no examples, 0-shot",
    layout: "a folder with dev/SUBJECT_dev.csv and test/SUBJECT_test.csv, named by a language or English; a folder of such folders; or mmlu_LANGUAGE.csv with Question, A, B, C, D, Answer and Subject, or a folder of such files",
    marking: Marking::Choice,
    max_new_tokens: 1,
    read: |path, notes| {
        if !path.is_dir() {
            return translated(path);
        }
        if path.join("test").is_dir() {
            let english = || "en".parse().ok();
            return subjects(path, named::language(path).or_else(english));
        }
        let mut items = vec![];
        for inside in sorted(path, None)? {
            let language = named::language(&inside);
            let (is_folder, is_file) = (inside.join("test").is_dir(), has_extension(&inside, "csv"));
            match language {
                None if is_folder || is_file => notes.push(named::without(&inside)),
                Some(_) if is_folder => items.extend(subjects(&inside, language)?),
                Some(_) if is_file => items.extend(translated(&inside)?),
                _ => {}
            }
        }
        Ok(items)
    },
};

/// The questions of one language: the first of every subject, then the second, so that a few are of many subjects.
fn subjects(folder: &Path, language: Option<Language>) -> Result<Vec<Item>, EvalError> {
    let mut items: Vec<(usize, Item)> = vec![];
    for file in sorted(&folder.join("test"), Some("csv"))? {
        let name = stem(&file);
        let subject = name.strip_suffix("_test").unwrap_or(&name).to_owned();
        let beside = |name: String| file_in(&folder.join("dev"), &name);
        let with_suffix = beside(format!("{subject}_dev.csv"));
        let dev = if with_suffix.exists() { with_suffix } else { beside(format!("{subject}.csv")) };
        let examples = questions(&dev)?;
        let asked = questions(&file)?;
        items.extend(of_subject(&subject, language, &examples, asked));
    }
    Ok(in_turns(items))
}

/// The questions of a file of all subjects, such as MMMLU has for each language; it comes without examples.
fn translated(file: &Path) -> Result<Vec<Item>, EvalError> {
    let Some(language) = named::language(file) else {
        let problem = "expected a name that ends in a language's code, such as mmlu_AR-XY.csv";
        return Err(EvalError::broken(file, problem.into()));
    };
    let mut of: BTreeMap<String, Vec<Question>> = BTreeMap::new();
    for question in questions(file)? {
        let Some(subject) = question.subject.clone() else {
            let problem = "expected a header with Question, A, B, C, D, Answer and Subject";
            return Err(EvalError::broken(file, problem.into()));
        };
        of.entry(subject).or_default().push(question);
    }
    let items = of.into_iter().flat_map(|(subject, asked)| of_subject(&subject, Some(language), &[], asked));
    Ok(in_turns(items.collect()))
}

/// A subject's questions after its examples, with the number of each.
fn of_subject(
    subject: &str,
    language: Option<Language>,
    examples: &[Question],
    asked: Vec<Question>,
) -> Vec<(usize, Item)> {
    let mut opening =
        format!("The following are multiple choice questions (with answers) about {}.\n\n", subject.replace('_', " "));
    for example in examples.iter().take(SHOTS) {
        opening += &format!("{} {}\n\n", example.text, LETTERS[example.answer]);
    }
    let item = |(number, question): (usize, Question)| {
        let item = Item {
            id: format!("{subject}/{number}"),
            language,
            group: Some(subject.to_owned()),
            turns: vec![format!("{opening}{}", question.text)],
            expected: Expected::Option(question.answer),
        };
        (number, item)
    };
    asked.into_iter().enumerate().map(item).collect()
}

/// Items by their numbers; within a number, subjects by name.
fn in_turns(mut items: Vec<(usize, Item)>) -> Vec<Item> {
    items.sort_by_key(|(number, _)| *number);
    items.into_iter().map(|(_, item)| item).collect()
}

/// A question up to `Answer:`, the number of the right option, and the subject where the file says it.
struct Question {
    text: String,
    answer: usize,
    subject: Option<String>,
}

/// Where a row has what it asks.
struct Columns {
    question: usize,
    options: [usize; 4],
    answer: usize,
    subject: Option<usize>,
    count: usize,
}

impl Columns {
    /// MMLU's own: no header.
    const PLAIN: Self = Self { question: 0, options: [1, 2, 3, 4], answer: 5, subject: None, count: 6 };

    /// Those that a first row names, if it is a header.
    fn named(header: &csv::StringRecord) -> Option<Self> {
        let number = |name: &str| {
            let mut cells = header.iter();
            cells.position(|cell| cell.trim().eq_ignore_ascii_case(name))
        };
        Some(Self {
            question: number("question")?,
            options: [number("a")?, number("b")?, number("c")?, number("d")?],
            answer: number("answer")?,
            subject: number("subject"),
            count: header.len(),
        })
    }
}

/// The rows of a file: question, four options, letter; or what its header names.
fn questions(path: &Path) -> Result<Vec<Question>, EvalError> {
    let text = csv_text(path)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut columns = Columns::PLAIN;
    let mut questions = vec![];
    for (row, number) in reader.records().zip(1..) {
        let row = row.map_err(|error| EvalError::broken(path, error.to_string()))?;
        if let (1, Some(named)) = (number, Columns::named(&row)) {
            columns = named;
            continue;
        }
        let answer = row.get(columns.answer).map(str::trim);
        let answer = LETTERS.iter().position(|&letter| Some(letter) == answer);
        let (Some(answer), true) = (answer, row.len() == columns.count) else {
            let problem =
                format!("row {number}: expected question, four options and A, B, C or D, got {} cells", row.len());
            return Err(EvalError::broken(path, problem));
        };
        let mut text = format!("{}\n", row[columns.question].trim());
        for (letter, option) in LETTERS.iter().zip(columns.options) {
            text += &format!("{letter}. {}\n", &row[option]);
        }
        text += "Answer:";
        let subject = columns.subject.map(|subject| row[subject].trim().to_owned());
        questions.push(Question { text, answer, subject });
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::benchmark;
    use crate::benchmark::testing::files;

    #[test]
    fn mmlu_shows_five_examples_and_subjects_take_turns() {
        let dev = (1..=6).map(|n| format!("Q{n},a,b,c,d,B\n")).collect::<String>();
        let (_dir, path) = files(&[
            ("dev/high_school_art_dev.csv", &dev),
            ("dev/birds_dev.csv", &dev),
            ("test/high_school_art_test.csv", "T1?,one,two,three,four,C\nT2?,1,2,3,4,A\n"),
            ("test/birds_test.csv", "U1?,one,two,three,four,D\n"),
        ]);
        let items = benchmark("mmlu").unwrap().items(&path, &[], None).unwrap();
        let ids: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.expected.clone())).collect();
        assert_eq!(
            ids,
            [
                ("birds/0", Expected::Option(3)),
                ("high_school_art/0", Expected::Option(2)),
                ("high_school_art/1", Expected::Option(0)),
            ]
        );
        let prompt = &items[1].turns[0];
        let opening = "The following are multiple choice questions (with answers) about high school art.\n\nQ1\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\nQ2\n";
        assert!(prompt.starts_with(opening), "{prompt}");
        let ending = "Answer: B\n\nT1?\nA. one\nB. two\nC. three\nD. four\nAnswer:";
        assert!(prompt.ends_with(ending), "{prompt}");
        assert!(!prompt.contains("Q6"));
        assert_eq!(items[0].group.as_deref(), Some("birds"));
    }

    #[test]
    fn mmlu_has_a_folder_per_language_too() {
        let dev = "Q,a,b,c,d,B\n".repeat(5);
        let (_dir, path) = files(&[
            ("ar/dev/x_dev.csv", &dev),
            ("ar/test/x_test.csv", "T,1,2,3,4,A\n"),
            ("sw/dev/x.csv", &dev),
            ("sw/test/x.csv", "T,1,2,3,4,A\n"),
            // What file managers leave is no subject.
            ("sw/test/.DS_Store", "\u{1}"),
            ("sw/dev/.DS_Store", "\u{1}"),
        ]);
        let items = benchmark("mmlu").unwrap().items(&path, &[], None).unwrap();
        let languages: Vec<_> = items.iter().map(|item| item.language.unwrap().to_string()).collect();
        assert_eq!(languages, ["ar", "sw"]);
    }

    #[test]
    fn a_folder_of_mmlu_is_in_the_language_it_is_named_by() {
        let dev = "Q,a,b,c,d,B\n".repeat(5);
        let (_dir, path) = files(&[
            ("ar/dev/x_dev.csv", &dev),
            ("ar/test/x_test.csv", "T,1,2,3,4,A\n"),
            ("MMLU_zh/dev/x.csv", ",Question,A,B,C,D,Answer\n0,Q,a,b,c,d,B\n"),
            ("MMLU_zh/test/x.csv", ",Question,A,B,C,D,Answer\n0,T,1,2,3,4,A\n"),
        ]);
        let items = |folder: &str, languages: &[Language]| {
            benchmark("mmlu").unwrap().items(&path.join(folder), languages, None)
        };
        let arabic: Language = "ar".parse().unwrap();
        assert_eq!(items("ar", &[arabic]).unwrap()[0].language, Some(arabic));
        let chinese = items("MMLU_zh", &[]).unwrap();
        assert_eq!(chinese[0].language, "zh".parse().ok());
        let prompt = "The following are multiple choice questions (with answers) about x.\n\nQ\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\nT\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:";
        assert_eq!(chinese[0].turns, [prompt]);
    }

    #[test]
    fn mmlu_of_one_file_per_language_has_no_examples() {
        let header = "Unnamed: 0,Question,A,B,C,D,Answer,Subject\n";
        let (_dir, path) = files(&[
            ("mmlu_AR-XY.csv", &format!("{header}0,T?,1,2,3,4,C,old_maps\n1,U?,1,2,3,4,A,art\n")),
            ("mmlu_SW-KE.csv", &format!("{header}0,V?,1,2,3,4,B,art\n")),
        ]);
        let items = benchmark("mmlu").unwrap().items(&path, &[], None).unwrap();
        let found: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.language.unwrap().to_string())).collect();
        assert_eq!(found, [("art/0", "ar".into()), ("old_maps/0", "ar".into()), ("art/0", "sw".into())]);
        assert!(items[1].turns[0].ends_with("about old maps.\n\nT?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"));
        let one = benchmark("mmlu").unwrap().items(&path.join("mmlu_SW-KE.csv"), &[], None);
        assert_eq!(one.unwrap().len(), 1);
    }
}
