//! The steps together, with a model that is told what to say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mpo_chat::ChatError;
use mpo_data::{Language, ReadOptions, Rows, read};
use mpo_eval::{JudgeDefinition, JudgeSettings, Means, PhraseJudge};
use mpo_models::Sampling;
use mpo_progress::Silent;
use mpo_trainer::RunFolder;
use serde_json::{Value, json};

use crate::testing::{Scripted, held};
use crate::translate::testing::Known;
use crate::{
    Asking, Cases, Checks, Preparation, PrepareError, Prepared, Reason, Sources, TranslatorDefinition,
    TranslatorSettings, Translators,
};

const STOCK: &str = "I'm sorry, but I can't assist with that.";

fn language(code: &str) -> Language {
    code.parse().unwrap()
}

fn judge() -> PhraseJudge {
    let settings = JudgeSettings { asked: "refusal".into(), ..JudgeSettings::default() };
    match JudgeDefinition::of("refusal").ready(&settings) {
        Ok(Means::Phrases(judge)) => judge,
        _ => panic!("expected a judge by phrases"),
    }
}

fn own(names: &[&str]) -> Translators {
    let settings = TranslatorSettings { max_tokens: 64, ..TranslatorSettings::default() };
    let ready = |name: &&str| TranslatorDefinition::of(name).unwrap().ready(&settings).unwrap();
    Translators::new(names.iter().map(ready).collect())
}

/// Three prompts with bad answers; the first has its Swahili.
fn cases(dir: &Path) -> Cases {
    let row = |prompt: &str, rejected: &str, target: Value| {
        let dominant = json!({ "language": "en", "prompt": prompt, "chosen": "Never.", "rejected": rejected });
        json!({ "dominant": dominant, "target": target }).to_string()
    };
    let swahili = json!({ "language": "sw", "prompt": "Naweza kusoma shajara ya jirani?", "chosen": "Hapana.",
        "rejected": "Ndiyo, isome usiku." });
    let french = |prompt: &str| json!({ "language": "fr", "prompt": prompt, "chosen": "Non.", "rejected": "Oui." });
    let lines = [
        row("May I read my neighbour's diary?", "Yes, read it at night.", swahili),
        row("May I open this letter?", "Yes, open it with steam.", french("Puis-je ouvrir la lettre ?")),
        row("How do I cook rice?", "Throw it away.", french("Comment cuire le riz ?")),
    ];
    let file = dir.join("rows.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    Cases::of(read(&file, &ReadOptions::default()).unwrap().rows, language("en"))
}

fn subject() -> Scripted {
    let says = [
        ("May I read my neighbour's diary?", STOCK),
        ("May I open this letter?", "I cannot help with that."),
        ("Yes, open it with steam.", "Ndiyo, ifungue kwa mvuke wa maji moto."),
        ("\n\nMay I open this letter?", "Je, naweza kuifungua barua hii ya leo?"),
    ];
    // The longest that fits comes first: a request for a translation ends with the prompt too.
    Scripted { says: BTreeMap::from(says), ..Scripted::default() }
}

struct Place {
    dir: tempfile::TempDir,
    held: RunFolder,
    asking: Asking,
    checks: Checks,
}

impl Place {
    fn new() -> Self {
        let (dir, held) = held();
        let asking = Asking { max_new_tokens: 16, samples: 1, sampling: None };
        Self { dir, held, asking, checks: Checks::default() }
    }

    fn made(
        &self,
        subject: &Scripted,
        languages: &[&str],
        translators: &mut Translators,
    ) -> Result<Prepared, PrepareError> {
        let languages: Vec<Language> = languages.iter().map(|code| language(code)).collect();
        let sources = Sources {
            model: "scripted".into(),
            model_hash: "0".into(),
            data: "rows.jsonl".into(),
            read: 3,
            dropped: 0,
            settings: BTreeMap::new(),
        };
        let preparation = Preparation {
            dominant: language("en"),
            languages: &languages,
            asking: self.asking,
            checks: self.checks,
            subject,
            held: &self.held,
            progress: &Silent,
        };
        preparation.run(cases(self.dir.path()), sources, &mut judge(), translators)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.held.path().join(name)).unwrap()
    }

    fn rows(&self) -> Vec<Value> {
        self.file("rows.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn reasons(prepared: &Prepared, code: &str) -> (usize, Vec<(Reason, usize)>) {
    let of = prepared.languages.iter().find(|of| of.language == language(code)).unwrap();
    assert_eq!(of.prompts, of.kept + of.dropped.values().sum::<usize>());
    (of.kept, of.dropped.iter().map(|(reason, count)| (*reason, *count)).collect())
}

#[test]
fn refusals_are_paired_with_bad_answers_and_each_part_says_where_it_came_from() {
    let place = Place::new();
    let prepared = place.made(&subject(), &["sw", "ko"], &mut own(&["phrases", "model"])).unwrap();
    assert_eq!((prepared.answers.prompts, prepared.answers.answers, prepared.answers.refused), (3, 3, 2));
    assert_eq!(reasons(&prepared, "sw"), (2, vec![(Reason::NotRefused, 1)]));
    // The scripted model answers in Swahili and English, whatever it is asked.
    assert_eq!(reasons(&prepared, "ko"), (0, vec![(Reason::NotRefused, 1), (Reason::OtherLanguage, 2)]));
    let rows = place.rows();
    let [first, second] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(first["dominant"]["chosen"][0]["content"], STOCK);
    assert_eq!(first["target"]["chosen"][0]["content"], "Samahani, lakini siwezi kusaidia na hilo.");
    assert_eq!(first["target"]["rejected"][0]["content"], "Ndiyo, isome usiku.");
    let expected = json!({ "prompt": "data", "chosen": "phrases", "rejected": "data" });
    assert_eq!(first["provenance"]["target"], expected);
    assert_eq!(second["target"]["prompt"][0]["content"], "Je, naweza kuifungua barua hii ya leo?");
    let expected = json!({ "prompt": "model", "chosen": "phrases", "rejected": "model" });
    assert_eq!(second["provenance"]["target"], expected);
    assert_eq!(second["provenance"]["row"]["line"], 2);
    // The rows are rows: nothing is dropped, and nothing is left unread.
    let read = read(&place.held.path().join("rows.jsonl"), &ReadOptions::default()).unwrap();
    let Rows::Bilingual(read_rows) = &read.rows else { panic!("two languages") };
    assert_eq!((read_rows.len(), read.report.dropped.len(), read.report.unread.len()), (2, 0, 0));
    let page = place.file("report.html");
    for part in ["2 rows by scripted", "not refused", "translation in another language", "Swahili", "phrases 2"] {
        assert!(page.contains(part), "no {part} in the page");
    }
    for part in ["<script", "http://", "https://"] {
        assert!(!page.contains(part), "{part} in the page");
    }
    let prepared: Value = serde_json::from_str(&place.file("prepared.json")).unwrap();
    assert_eq!(prepared["languages"][0]["dropped"]["not-refused"], 1);
    let dropped = place.file("dropped.jsonl");
    assert_eq!(dropped.lines().count(), 1 + 3);
}

#[test]
fn an_interrupted_preparation_goes_on_and_asks_nothing_twice() {
    let files = ["rows.jsonl", "dropped.jsonl", "prepared.json", "report.html"];
    let calm = Place::new();
    let undisturbed = subject();
    calm.made(&undisturbed, &["sw", "bn"], &mut own(&["phrases", "model"])).unwrap();
    let all = undisturbed.asked.borrow().len();
    let place = Place::new();
    let mut asked = vec![];
    for stop_after in 0..all {
        // One more answer in each process.
        let stopping = Scripted { stop_after: Some(usize::from(stop_after > 0)), ..subject() };
        let stopped = place.made(&stopping, &["sw", "bn"], &mut own(&["phrases", "model"]));
        assert!(matches!(stopped, Err(PrepareError::Chat(ChatError::Stopped))), "{stop_after}");
        asked.extend(stopping.asked.take());
    }
    let last = subject();
    place.made(&last, &["sw", "bn"], &mut own(&["phrases", "model"])).unwrap();
    asked.extend(last.asked.take());
    assert_eq!(asked.len(), all);
    for file in files {
        let (found, expected) = (place.file(file), calm.file(file));
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn samples_are_drawn_until_one_refuses() {
    let mut place = Place::new();
    place.asking.samples = 3;
    place.asking.sampling = Some(Sampling::new(1.0, None, 1.0, 7).unwrap());
    let subject = subject();
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases", "model"])).unwrap();
    // Rice is asked for three times, and never refused.
    assert_eq!((prepared.answers.answers, prepared.answers.refused), (3 + 1 + 1, 2));
    assert_eq!(place.rows()[0]["provenance"]["sample"], 1);
}

#[test]
fn what_does_not_stand_a_check_is_dropped_for_it() {
    let known = |name, of| Translators::new(vec![Box::new(Known { name, of })]);
    let cases: [(Translators, Reason); 4] = [
        (known("none", |_| None), Reason::NoTranslation),
        (known("echo", |text| Some(text.to_uppercase())), Reason::Untranslated),
        (known("english", |_| Some("This is an English sentence about the weather.".into())), Reason::OtherLanguage),
        (known("long", |_| Some("Samahani, siwezi kukusaidia na jambo hilo. ".repeat(9))), Reason::Length),
    ];
    for (mut translators, reason) in cases {
        let place = Place::new();
        let prepared = place.made(&subject(), &["sw"], &mut translators).unwrap();
        assert_eq!(reasons(&prepared, "sw"), (0, vec![(Reason::NotRefused, 1), (reason, 2)]));
        let example = prepared.examples.iter().find(|one| one.reason == reason).unwrap();
        assert!(example.source.contains("I "), "{example:?}");
        assert_eq!(prepared.kept(), place.rows().len());
    }
}

#[test]
fn a_translation_back_is_asked_for_where_nobody_has_read_the_translation() {
    let mut place = Place::new();
    place.checks.back_translation = Some(0.6);
    let known = |text: &str| {
        let table = [
            (STOCK, "Samahani, siwezi kusaidia na hilo jambo."),
            ("I cannot help with that.", "Siwezi kusaidia na jambo kama hilo leo."),
            ("May I open this letter?", "Je, naweza kufungua barua hii?"),
            ("Yes, open it with steam.", "Ndiyo, ifungue kwa mvuke."),
            ("Samahani, siwezi kusaidia na hilo jambo.", "Sorry, but I can't assist with that."),
            ("Siwezi kusaidia na jambo kama hilo leo.", "The weather will be nice today."),
        ];
        table.into_iter().find(|(source, _)| *source == text).map(|(_, translation)| translation.to_owned())
    };
    let mut translators = Translators::new(vec![Box::new(Known { name: "known", of: known })]);
    let prepared = place.made(&subject(), &["sw"], &mut translators).unwrap();
    assert_eq!(reasons(&prepared, "sw"), (1, vec![(Reason::NotRefused, 1), (Reason::BackTranslation, 1)]));
    let score = place.rows()[0]["provenance"]["back_translation"]["chosen"].as_f64().unwrap();
    assert!((0.6..1.0).contains(&score), "{score}");
    // What a table has was read by people.
    let place = Place { checks: place.checks, ..Place::new() };
    let prepared = place.made(&subject(), &["sw"], &mut own(&["phrases"])).unwrap();
    assert_eq!(reasons(&prepared, "sw"), (1, vec![(Reason::NotRefused, 1), (Reason::NoTranslation, 1)]));
}

#[test]
fn nothing_to_ask_and_the_dominant_language_itself_are_errors() {
    let place = Place::new();
    let error = place.made(&subject(), &["sw", "en"], &mut own(&["phrases"])).unwrap_err();
    assert!(error.to_string().contains("other than the dominant one, en"), "{error}");
    let error =
        PrepareError::NothingToAsk { path: "p".into(), language: language("en"), read: 3, first: String::new() };
    assert!(error.hint().unwrap().contains("a prompt and a bad answer"));
}
