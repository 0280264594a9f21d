//! What models are asked: one file a benchmark, which reads the files its authors publish.
//!
//! None of them is shipped: several are harmful requests, and some have licences of their own. Adding one takes a file
//! beside these and a line in [`BENCHMARKS`].

mod advbench;
mod csrt;
mod mgsm;
mod mmlu;
mod mt_bench;
mod multijail;
mod named;
mod questions;
mod quotes;
mod table;
mod xstest;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use mpo_data::Language;

use crate::error::EvalError;

pub use mgsm::first_answer;
pub use mmlu::LETTERS;
pub use questions::{QuestionSet, Questions};

/// Bytes of what a user says at most: what is longer is no question, and would take gigabytes to read as tokens.
const LONGEST_TURN: usize = 1 << 20;

/// Every benchmark, in the order reports show them.
pub static BENCHMARKS: [&Benchmark; 7] = [
    &multijail::BENCHMARK,
    &csrt::BENCHMARK,
    &advbench::BENCHMARK,
    &xstest::BENCHMARK,
    &mmlu::BENCHMARK,
    &mgsm::BENCHMARK,
    &mt_bench::BENCHMARK,
];

/// A set of questions and how answers to them are marked.
#[derive(Debug)]
pub struct Benchmark {
    /// The name it is asked for by.
    pub name: &'static str,
    /// The name people know.
    pub title: &'static str,
    /// Who made it, and what it measures.
    pub source: &'static str,
    /// What a file or folder of it looks like.
    pub layout: &'static str,
    /// How answers are marked.
    pub marking: Marking,
    /// Tokens an answer may have, unless the user says otherwise.
    pub max_new_tokens: usize,
    /// Reads its questions, and notes what it leaves out.
    pub(crate) read: fn(&Path, &mut Vec<String>) -> Result<Vec<Item>, EvalError>,
}

/// How answers are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// Requests are harmful; every answer that is not safe is a successful attack. Less is better.
    AttackSuccess,
    /// Requests only look harmful; every refusal is one too many. Less is better.
    OverRefusal,
    /// The likeliest letter is the answer.
    Choice,
    /// The last number is the answer.
    Number,
    /// A judge grades answers from 1 to 10.
    Grade,
}

impl Marking {
    /// The measure's name.
    pub fn metric(self) -> &'static str {
        match self {
            Self::AttackSuccess => "attack success rate",
            Self::OverRefusal => "over-refusal rate",
            Self::Choice | Self::Number => "accuracy",
            Self::Grade => "grade",
        }
    }

    /// Whether a smaller number is a better model.
    pub fn less_is_better(self) -> bool {
        matches!(self, Self::AttackSuccess | Self::OverRefusal)
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What the file calls it.
    pub id: String,
    /// The language it is asked in; none where several are mixed.
    pub language: Option<Language>,
    /// The group it belongs to, such as a subject.
    pub group: Option<String>,
    /// What the user says, turn by turn; at least one.
    pub turns: Vec<String>,
    /// The answer to expect.
    pub expected: Expected,
}

/// The answer to expect.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Nothing that harms: the request does.
    Safe,
    /// Help: the request only looks harmful.
    Help,
    /// The option of this number, from 0.
    Option(usize),
    /// This number.
    Number(String),
    /// A good answer, judged beside references where there are some.
    Good(Vec<String>),
}

/// The benchmark of a name.
///
/// # Errors
/// If there is none.
pub fn benchmark(name: &str) -> Result<&'static Benchmark, EvalError> {
    let found = BENCHMARKS.iter().find(|benchmark| benchmark.name == name);
    found.copied().ok_or_else(|| EvalError::UnknownBenchmark { name: name.into() })
}

impl Benchmark {
    /// The questions in a file or folder: of `languages` (all if empty; mixed ones always), at most `limit` of each.
    ///
    /// # Errors
    /// If it cannot be read, is no file of this benchmark, or has no such question.
    pub fn items(&self, path: &Path, languages: &[Language], limit: Option<usize>) -> Result<Questions, EvalError> {
        let mut notes = vec![];
        let mut items = Questions::new((self.read)(path, &mut notes)?).with(notes);
        if items.is_empty() {
            return Err(EvalError::NoItems { path: path.to_owned(), layout: self.layout });
        }
        let too_long = |item: &&Item| item.turns.iter().any(|turn| turn.len() > LONGEST_TURN);
        if let Some(item) = items.iter().find(too_long) {
            let problem =
                format!("question {}: expected at most {} MiB of text, got more", item.id, LONGEST_TURN >> 20);
            return Err(EvalError::broken(path, problem));
        }
        let found: BTreeSet<Language> = items.iter().filter_map(|item| item.language).collect();
        let mut taken: HashMap<Option<Language>, usize> = HashMap::new();
        items.retain(|item| {
            let asked = item.language.is_none_or(|language| languages.is_empty() || languages.contains(&language));
            let count = taken.entry(item.language).or_default();
            *count += usize::from(asked);
            asked && limit.is_none_or(|limit| *count <= limit)
        });
        match items.is_empty() {
            true => Err(EvalError::NotInLanguages {
                path: path.to_owned(),
                asked: named_together(languages.iter()),
                found: named_together(found.iter()),
                layout: self.layout,
            }),
            false => Ok(items),
        }
    }
}

/// English names of languages.
fn named_together<'l>(languages: impl Iterator<Item = &'l Language>) -> String {
    let names: Vec<&str> = languages.map(Language::name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A folder with files of these names and texts.
    fn files(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let path = dir.path().to_owned();
        (dir, path)
    }

    /// What a benchmark reads from a file, a line each.
    fn read(name: &str, file: &str, text: &str) -> Result<Vec<String>, String> {
        let (_dir, path) = files(&[(file, text)]);
        let items = benchmark(name).unwrap().items(&path.join(file), &[], None);
        items.map(|items| items.iter().map(line).collect()).map_err(|error| error.to_string())
    }

    fn line(item: &Item) -> String {
        let language = item.language.map_or("mixed".into(), |language| language.to_string());
        format!("{} {language} {:?} {:?}", item.id, item.turns, item.expected)
    }

    #[test]
    fn multijail_has_a_column_a_language() {
        let text = "\u{FEFF}id,source,tags,en,sw,th\n7,me,['a'],\"One, please\",Moja,\n8,me,['a'],Two,Mbili,สอง\n";
        assert_eq!(
            read("multijail", "m.csv", text).unwrap(),
            [
                r#"7 en ["One, please"] Safe"#,
                r#"8 en ["Two"] Safe"#,
                r#"7 sw ["Moja"] Safe"#,
                r#"8 sw ["Mbili"] Safe"#,
                r#"8 th ["สอง"] Safe"#,
            ]
        );
        let error = read("multijail", "m.csv", "number,text\n1,a\n").unwrap_err();
        assert!(error.contains("expected a column id, got number, text"), "{error}");
        let error = read("multijail", "m.csv", "id,en\n1\n").unwrap_err();
        assert!(error.contains("m.csv"), "{error}");
    }

    #[test]
    fn a_column_that_numbers_the_rows_is_no_language() {
        for first in ["id", "ID", "no", "nr"] {
            let text = format!("{first},en\nthe first,Do it\nb,Do that\n");
            assert_eq!(
                read("advbench", "a.csv", &text).unwrap(),
                [r#"0 en ["Do it"] Safe"#, r#"1 en ["Do that"] Safe"#],
                "{first}"
            );
        }
        let text = "en,id,no\nDo it,q-1,1\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#]);
        // Sentences are Indonesian and Norwegian.
        let text = "en,id,no\nDo it,Lakukan itu,Gjør det\n";
        assert_eq!(
            read("advbench", "a.csv", text).unwrap(),
            [r#"0 en ["Do it"] Safe"#, r#"0 id ["Lakukan itu"] Safe"#, r#"0 no ["Gjør det"] Safe"#]
        );
    }

    #[test]
    fn columns_may_have_a_region_and_are_asked_or_named() {
        let text = "id,EN,zh-CN,sw_KE\n7,Do it,做,Fanya\n";
        assert_eq!(
            read("multijail", "m.csv", text).unwrap(),
            [r#"7 en ["Do it"] Safe"#, r#"7 zh ["做"] Safe"#, r#"7 sw ["Fanya"] Safe"#]
        );
        // The one named by the code alone is the language's.
        let text = "id,zh-TW,zh\n7,one,two\n";
        assert_eq!(read("multijail", "m.csv", text).unwrap(), [r#"7 zh ["two"] Safe"#]);
        let text = "id,zh-TW,zh-CN\n7,one,two\n";
        let error = read("multijail", "m.csv", text).unwrap_err();
        assert!(error.contains("expected one column of Chinese, got zh-TW and zh-CN"), "{error}");
        for (first, second) in [("en", "EN"), ("EN", "en"), ("en", "en"), ("English", "en")] {
            for name in ["multijail", "advbench"] {
                let text = format!("id,{first},{second}\n7,Do it,Do that\n");
                let expected = format!("one column of English, got {first} and {second}");
                let error = read(name, "m.csv", &text).unwrap_err();
                assert!(error.contains(&expected), "{error}");
            }
        }
    }

    #[test]
    fn a_table_in_json_is_called_one() {
        for text in ["{\"id\": 1, \"en\": \"Do it\"}\n{}\n", "[\n{\"id\": 1}]"] {
            for name in ["multijail", "advbench", "xstest"] {
                let error = read(name, "m.csv", text).unwrap_err();
                assert!(error.contains("m.csv: expected a table as CSV"), "{error}");
                assert!(error.contains("got JSON"), "{error}");
            }
        }
    }

    #[test]
    fn a_word_that_is_a_code_is_no_language_by_itself() {
        let text = "goal,target,to,so\nDo it,Sure,x y,z w\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#]);
        let text = "id,en,it\n1,Do it,Fallo\n";
        assert_eq!(read("multijail", "m.csv", text).unwrap(), [r#"1 en ["Do it"] Safe"#, r#"1 it ["Fallo"] Safe"#]);
        let text = "id,it\n1,Fallo\n";
        assert_eq!(read("multijail", "m.csv", text).unwrap(), [r#"1 it ["Fallo"] Safe"#]);
    }

    #[test]
    fn an_empty_cell_asks_nothing() {
        let text = "goal,target\nDo it,Sure\n ,Sure\nDo that,Sure\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#, r#"2 en ["Do that"] Safe"#]);
        let text = "id,csrt\n0,Moja 请\n1,\n";
        assert_eq!(read("csrt", "c.csv", text).unwrap(), [r#"0 mixed ["Moja 请"] Safe"#]);
        let text = "id,prompt,type,label\n1,,homonyms,safe\n2,How?,homonyms,safe\n";
        assert_eq!(read("xstest", "x.csv", text).unwrap(), [r#"2 en ["How?"] Help"#]);
    }

    #[test]
    fn csrt_mixes_languages() {
        let text = "id,category,en,csrt\n0,['x'],One please,Moja 请\n";
        assert_eq!(read("csrt", "c.csv", text).unwrap(), [r#"0 mixed ["Moja 请"] Safe"#]);
    }

    #[test]
    fn advbench_is_english_or_has_a_column_a_language() {
        let text = "goal,target\nDo it,Sure\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#]);
        let text = "en,sw\nDo it,Fanya\n";
        assert_eq!(read("advbench", "a.csv", text).unwrap(), [r#"0 en ["Do it"] Safe"#, r#"0 sw ["Fanya"] Safe"#]);
        let error = read("advbench", "a.csv", "prompt\nDo it\n").unwrap_err();
        assert!(error.contains("goal"), "{error}");
    }

    #[test]
    fn of_xstest_the_safe_prompts_are_asked() {
        let text = "id,prompt,type,label,focus,note\n1,How do I kill a process?,homonyms,safe,kill,\n2,Bad,contrast,unsafe,x,\n";
        assert_eq!(read("xstest", "x.csv", text).unwrap(), [r#"1 en ["How do I kill a process?"] Help"#]);
    }

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
    fn mmlu_has_a_folder_a_language_too() {
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
    fn what_has_no_language_is_left_out_and_noted() {
        let table = "Question,A,B,C,D,Answer,Subject\nT?,1,2,3,4,A,art\n";
        let turns = "{\"question_id\": 1, \"category\": \"x\", \"turns\": [\"a\"]}\n";
        let (_dir, path) = files(&[
            ("mmlu_SW-KE.csv", table),
            ("questions.csv", table),
            ("klingonese/test/x.csv", "T,1,2,3,4,A\n"),
            ("notes/notes.txt", "mine"),
            ("bench/sw/question.jsonl", turns),
            ("bench/klingonese/question.jsonl", turns),
        ]);
        let read = |name: &str, path: &Path| benchmark(name).unwrap().items(path, &[], None).unwrap();
        let found = read("mmlu", &path);
        assert_eq!((found.len(), found.notes().len()), (1, 2));
        assert!(found.notes()[0].contains("klingonese: expected a name with a language's code"));
        assert!(found.notes()[1].contains("questions.csv"));
        let found = read("mt-bench", &path.join("bench"));
        assert_eq!((found.len(), found.notes().len()), (1, 1));
    }

    #[test]
    fn a_quote_that_is_not_closed_is_an_error_with_its_line() {
        for (name, file, text) in [
            ("multijail", "m.csv", "id,en\n1,a\n2,\"b\n3,c\n"),
            ("multijail", "m.csv", "id,en\n1,a\n2,\"b\n3,\"c\"\n4,d\n"),
            ("mmlu", "mmlu_SW-KE.csv", "Question,A,B,C,D,Answer,Subject\nT?,1,2,3,4,A,art\n\"U?,1,2,3,4,B,art\n"),
        ] {
            let error = read(name, file, text).unwrap_err();
            assert!(error.contains("line 3: expected a quote that is closed"), "{error}");
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

    #[test]
    fn mt_bench_has_two_turns_and_references() {
        let (_dir, path) = files(&[
            (
                "question.jsonl",
                "{\"question_id\": 81, \"category\": \"writing\", \"turns\": [\"Write.\", \"Again.\"]}\n{\"question_id\": 101, \"category\": \"math\", \"turns\": [\"1+1?\", \"And 2+2?\"]}\n",
            ),
            ("reference_answer_gpt-4.jsonl", "{\"question_id\": 101, \"choices\": [{\"turns\": [\"2\", \"4\"]}]}\n"),
        ]);
        let items = benchmark("mt-bench").unwrap().items(&path, &[], None).unwrap();
        assert_eq!(items[0].turns, ["Write.", "Again."]);
        assert_eq!(items[0].expected, Expected::Good(vec![]));
        assert!(matches!(&items[1].expected, Expected::Good(references) if references.len() == 2));
    }

    #[test]
    fn mt_bench_has_references_where_its_authors_put_them() {
        let (_dir, path) = files(&[
            ("question.jsonl", "{\"question_id\": 101, \"category\": \"math\", \"turns\": [\"1+1?\"]}\n"),
            ("reference_answer/gpt-4.jsonl", "{\"question_id\": 101, \"choices\": [{\"turns\": [\"2\"]}]}\n"),
        ]);
        let items = benchmark("mt-bench").unwrap().items(&path, &[], None).unwrap();
        assert_eq!(items[0].expected, Expected::Good(vec!["2".into()]));
    }

    #[test]
    fn a_conversation_without_turns_is_an_error() {
        let (_dir, path) = files(&[(
            "question.jsonl",
            "{\"question_id\": 1, \"category\": \"x\", \"turns\": [\"a\"]}\n{\"question_id\": 2, \"category\": \"x\", \"turns\": []}\n",
        )]);
        let error = benchmark("mt-bench").unwrap().items(&path, &[], None).unwrap_err().to_string();
        let problem = "question.jsonl: line 2: expected at least one turn, got none";
        assert!(error.contains(problem), "{error}");
    }

    #[test]
    fn xstest_without_labels_tells_by_its_types() {
        let text = "id_v1,id_v2,type,prompt,focus,note\nv1-1,v2-1,homonyms,How do I kill a process?,kill,\n,v2-2,contrast_homonyms,Bad,x,\n,,safe_targets,How do I beat an egg?,beat,\n";
        assert_eq!(
            read("xstest", "x.csv", text).unwrap(),
            [r#"v2-1 en ["How do I kill a process?"] Help"#, r#"2 en ["How do I beat an egg?"] Help"#]
        );
        let error = read("xstest", "x.csv", "id,type,prompt\n1,a,b\n").unwrap_err();
        assert!(error.contains("expected a column label, or types"), "{error}");
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
    fn mmlu_of_one_file_a_language_has_no_examples() {
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

    #[test]
    fn mt_bench_of_other_languages_has_ids_and_names_of_its_own() {
        let question = |id: &str| {
            format!(
                "{{\"question_id\": {id}, \"category\": \"writing\", \"turns\": [\"a\", \"b\"], \"reference\": []}}\n"
            )
        };
        let (_dir, path) = files(&[
            ("DE/question.jsonl", &question("\"81_DE\"")),
            ("ko/question_ko.jsonl", &question("81")),
            ("ko/judge_prompts_ko.jsonl", "{}\n"),
            ("ko/reference_answer_gpt-4.jsonl", "{\"question_id\": \"81\", \"choices\": [{\"turns\": [\"2\"]}]}\n"),
            ("ja/question.jsonl", &question("1")),
            ("ja/question_full.jsonl", &question("2")),
        ]);
        let items = |place: &str| benchmark("mt-bench").unwrap().items(&path.join(place), &[], None).unwrap();
        let lines: Vec<_> = items("").iter().map(line).collect();
        assert_eq!(
            lines,
            [r#"81_DE de ["a", "b"] Good([])"#, r#"1 ja ["a", "b"] Good([])"#, r#"81 ko ["a", "b"] Good(["2"])"#,]
        );
        assert_eq!(items("ko").len(), 1);
        assert_eq!(items("ja/question_full.jsonl")[0].id, "2");
        let error = benchmark("mt-bench").unwrap().items(&path.join("DE/.."), &[], Some(1));
        assert_eq!(error.unwrap().len(), 3);
    }

    #[test]
    fn files_are_known_by_their_content() {
        let utf_16 = |text: &str| -> Vec<u8> {
            let units = [0xFEFF].into_iter().chain(text.encode_utf16());
            units.flat_map(u16::to_le_bytes).collect()
        };
        let table = "id,en\r\n7,\"a, b\"\r\n";
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, table.as_bytes()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let items = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            let items = benchmark("multijail").unwrap().items(&path, &[], None);
            items.map(|items| line(&items[0]))
        };
        let expected = r#"7 en ["a, b"] Safe"#;
        assert_eq!(items("m.csv", table.as_bytes()).unwrap(), expected);
        assert_eq!(items("m.csv.gz", &packed.finish().unwrap()).unwrap(), expected);
        assert_eq!(items("m16.csv", &utf_16(table)).unwrap(), expected);
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
        let page = "<!DOCTYPE html><html><body>Sign in</body></html>";
        for (text, what, hint) in [
            (pointer.as_bytes(), "a Git LFS pointer", "git lfs pull"),
            (page.as_bytes(), "a web page", "/resolve/"),
            (b"PK\x03\x04zip", "a zip archive", "unpack"),
        ] {
            let error = items("other.csv", text).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{error:?}");
        }
        let error = items("bytes.csv", b"id,en\n1,a\n2,\xFF\n").unwrap_err().to_string();
        assert!(error.contains("line 3: expected text in UTF-8"), "{error}");
    }

    #[test]
    fn a_file_without_questions_and_one_of_megabytes_are_errors() {
        let error = read("multijail", "m.csv", "id,en\n").unwrap_err();
        assert!(error.contains("expected at least one question, got none"), "{error}");
        let text = format!("id,en\n1,a\n2,{}\n", "la ".repeat(400_000));
        let error = read("multijail", "m.csv", &text).unwrap_err();
        assert!(error.contains("m.csv: question 2: expected at most 1 MiB"), "{error}");
    }

    #[test]
    fn languages_and_limits() {
        let (_dir, path) = files(&[("m.csv", "id,en,sw\n1,a,b\n2,c,d\n3,e,f\n")]);
        let path = path.join("m.csv");
        let ids = |languages: &[&str], limit| {
            let languages: Vec<Language> = languages.iter().map(|code| code.parse().unwrap()).collect();
            let items = benchmark("multijail").unwrap().items(&path, &languages, limit);
            items.map(|items| items.iter().map(|item| item.turns.concat()).collect::<String>())
        };
        assert_eq!(ids(&[], Some(2)).unwrap(), "acbd");
        assert_eq!(ids(&["sw"], None).unwrap(), "bdf");
        assert!(ids(&["ko"], None).unwrap_err().hint().unwrap().contains("column"));
        let error = ids(&["ko"], None).unwrap_err().to_string();
        assert!(error.contains("expected at least one question in Korean, got those in English, Swahili"), "{error}");
        assert!(benchmark("glue").unwrap_err().to_string().contains("multijail, csrt"));
    }
}
