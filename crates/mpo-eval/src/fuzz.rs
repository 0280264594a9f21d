//! Files and replies that are almost what they should be: they are read or refused, in short time, and nothing else.

use std::fs;

use mpo_data::DataError;
use proptest::prelude::*;

use crate::benchmark::{BENCHMARKS, first_answer};
use crate::error::EvalError;
use crate::judge::{label, parse};
use crate::number::final_number;
use crate::refusal::is_refusal;

/// A file of each layout, by its path in a folder.
const FILES: [(&str, &str, &str); 10] = [
    ("multijail", "m.csv", "id,source,en,sw,zh-CN\n1,\"a, b\",Bake bread,Oka mkate,烤面包\n2,x,Boil,Chemsha,煮\n"),
    ("csrt", "c.csv", "id,en,csrt\n0,One please,Moja 请\n"),
    ("advbench", "a.csv", "goal,target\nBake bread,Sure\n"),
    ("xstest", "x.csv", "id_v1,id_v2,type,prompt\nv1,v2,homonyms,How?\n,v3,contrast_homonyms,Bad?\n"),
    (
        "benign",
        "b.jsonl",
        "{\"language\": \"sw\", \"prompt\": \"Vipi?\"}\n{\"language\": \"en\", \"prompt\": \"How?\"}\n",
    ),
    ("mmlu", "mmlu/test/x_test.csv", "T?,1,2,3,4,A\n\"U, \"\"or\"\" V?\",1,2,3,4,B\n"),
    ("mmlu", "mmlu_SW-KE.csv", "Question,A,B,C,D,Answer,Subject\nT?,1,2,3,4,A,art\n"),
    ("mgsm", "mgsm_sw.tsv", "Ngapi?\t1,200\nNgapi tena?\t3.50\n"),
    ("mt-bench", "bench/question.jsonl", "{\"question_id\": 1, \"category\": \"x\", \"turns\": [\"a\", \"b\"]}\n"),
    (
        "mt-bench",
        "bench/question.jsonl",
        "{\"question_id\": \"1_DE\", \"category\": \"x\", \"turns\": [\"a\"], \"reference\": []}\n",
    ),
];

/// What is done to bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..6),
        prop::sample::select(vec![
            "\"",
            ",",
            "\t",
            "\r\n",
            "\u{FEFF}",
            "\0",
            "\u{202E}",
            "[[",
            "{",
            "১২",
            "1,2.3'4 5",
            "nan",
            "",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, by)| Change::Flip(at, by)),
        any::<usize>().prop_map(Change::Cut),
        (any::<usize>(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<usize>(), 1_usize..40, 1_usize..400).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
    ]
}

fn changed(text: &str, changes: &[Change]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for change in changes {
        let length = bytes.len();
        match change {
            Change::Flip(at, by) if length > 0 => bytes[at % length] ^= by,
            Change::Cut(at) => bytes.truncate(at % (length + 1)),
            Change::Insert(at, more) => {
                let at = at % (length + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Repeat(at, part, times) if length > 0 => {
                let at = at % length;
                let part = bytes[at..(at + part).min(length)].repeat(*times);
                bytes.splice(at..at, part);
            }
            _ => {}
        }
    }
    bytes
}

fn cases() -> ProptestConfig {
    // More of them: PROPTEST_CASES=100000
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn files_are_read_or_refused(which in 0..FILES.len(), changes in prop::collection::vec(change(), 0..6), gaps in any::<bool>()) {
        let (name, file, text) = FILES[which];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, changed(text, &changes)).unwrap();
        let dev = dir.path().join("mmlu/dev");
        fs::create_dir_all(&dev).unwrap();
        if !gaps {
            fs::write(dev.join("x_dev.csv"), "Q?,1,2,3,4,A\n").unwrap();
        }
        let benchmark = BENCHMARKS.into_iter().find(|of| of.name == name).unwrap();
        for place in [path.as_path(), path.parent().unwrap(), dir.path()] {
            if let Err(error) = benchmark.items(place, &[], Some(2)) {
                let is_system = matches!(error, EvalError::Io { .. } | EvalError::Data(DataError::Io { .. }));
                let is_helped = is_system || error.hint().is_some();
                prop_assert!(!error.to_string().is_empty() && is_helped, "{error:?}");
            }
        }
    }

    #[test]
    fn replies_and_answers_are_read(changes in prop::collection::vec(change(), 0..8), language in 0..9_usize) {
        let seeds = "The answer is **unsafe**. Rating: [[7.5]] আমি পারব না 1.234,50 € 答案是二十五万 -$5 \\boxed{1{,}234} I can't help.";
        let text = String::from_utf8_lossy(&changed(seeds, &changes)).into_owned();
        let language = ["en", "de", "fr", "zh", "ja", "ko", "bn", "ar", "sw"][language].parse().ok();
        is_refusal(&text, language);
        label(&text, &[("unsafe", 0), ("safe", 1), ("irrelevant", 2)]);
        parse(&text);
        if let Some(number) = final_number(first_answer(&text, language), language) {
            prop_assert!(number.parse::<f64>().is_ok(), "{number}");
            prop_assert!(!number.ends_with('.') && (!number.contains('.') || !number.ends_with('0')), "{number}");
        }
    }
}
