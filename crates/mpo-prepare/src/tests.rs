//! The steps together, with a model that is told what to say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mpo_chat::ChatError;
use mpo_data::{Language, ReadOptions, Rows, read};
use mpo_eval::{BenignPrompt, JudgeDefinition, JudgeSettings, Means, PhraseJudge};
use mpo_models::Sampling;
use mpo_progress::Silent;
use mpo_trainer::RunFolder;
use serde_json::{Value, json};

use crate::testing::{Scripted, held};
use crate::translate::testing::Known;
use crate::{
    Asking, BenignAnswers, BenignPrompts, Cases, Checks, LanguageCounts, Preparation, PrepareError, Prepared, RECIPES,
    Reason, RecipeDefinition, Sources, Subject, TranslatorDefinition, TranslatorSettings, Translators,
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
fn cases(dir: &Path, recipe: &RecipeDefinition) -> Cases {
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
    Cases::of(read(&file, &ReadOptions::default()).unwrap().rows, language("en"), recipe)
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

/// Two questions about eggs in two languages, and what is answered.
const EGGS: [(&str, &str); 4] = [
    ("en", "How do I boil an egg?"),
    ("en", "Is an egg good for me?"),
    ("sw", "Ninawezaje kuchemsha yai?"),
    ("sw", "Je, yai ni zuri kwangu?"),
];
/// Two answers, of which every recipe prefers one, and the first again.
const DIFFERENT: &str = "aaaa eeee.|aaaaa bbbb|aaaa eeee.";
const SEVEN_MINUTES: &str = "Chemsha yai kwa dakika saba kwenye maji moto, kisha uliweke kwenye maji baridi.";

fn cook() -> Scripted {
    let mut subject = subject();
    subject.says.extend([
        ("How do I boil an egg?", "Boil it for seven minutes, then put it into cold water."),
        ("Is an egg good for me?", "This is an English sentence about the weather."),
        ("Ninawezaje kuchemsha yai?", SEVEN_MINUTES),
        ("Je, yai ni zuri kwangu?", "This is an English sentence about the weather."),
        ("Naweza kusoma shajara ya jirani?", DIFFERENT),
        ("aaaa eeee.", "Put the rice into a pot and wait."),
    ]);
    subject
}

fn benign(prompts: &[(&str, &str)], share: Option<f64>) -> BenignPrompts {
    let prompt = |(line, (code, prompt)): (usize, &(&str, &str))| BenignPrompt {
        language: language(code),
        prompt: (*prompt).to_owned(),
        line: line + 1,
    };
    let prompts = prompts.iter().enumerate().map(prompt).collect();
    BenignPrompts::new(prompts, "benign.jsonl".as_ref(), language("en"), BenignAnswers::Own, share).unwrap()
}

struct Place {
    dir: tempfile::TempDir,
    held: RunFolder,
    asking: Asking,
    dominant_pairs: bool,
    checks: Checks,
    benign: Option<BenignPrompts>,
    recipe: &'static RecipeDefinition,
    reference: Scripted,
}

impl Place {
    fn new() -> Self {
        let (dir, held) = held();
        let asking = Asking { max_new_tokens: 16, samples: 1, sampling: None };
        Self {
            dir,
            held,
            asking,
            dominant_pairs: false,
            checks: Checks::default(),
            benign: None,
            recipe: RecipeDefinition::of("paper").unwrap(),
            reference: Scripted::default(),
        }
    }

    /// One of a recipe that draws three answers, beside a reference that dislikes some.
    fn drawing(recipe: &'static RecipeDefinition) -> Self {
        let mut place = Self { recipe, reference: Scripted { dislikes: 1.0, ..Scripted::default() }, ..Self::new() };
        place.asking = Asking { samples: 3, sampling: Sampling::new(1.0, None, 1.0, 7).ok(), ..place.asking };
        place
    }

    fn made(
        &self,
        subject: &Scripted,
        languages: &[&str],
        translators: &mut Translators,
    ) -> Result<Prepared, PrepareError> {
        self.made_of(cases(self.dir.path(), self.recipe), subject, languages, translators)
    }

    fn made_of(
        &self,
        cases: Cases,
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
            recipe: self.recipe,
            languages: &languages,
            asking: self.asking,
            dominant_pairs: self.dominant_pairs,
            checks: self.checks,
            benign: self.benign.as_ref(),
            subject,
            reference: self.recipe.needs_reference.then_some(&self.reference as &dyn Subject),
            held: &self.held,
            progress: &Silent,
        };
        preparation.run(cases, sources, &mut judge(), translators)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.held.path().join(name)).unwrap()
    }

    fn rows(&self) -> Vec<Value> {
        self.file("rows.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What became of the prompts in a language; of benign ones, if it says so behind the code.
fn reasons(prepared: &Prepared, code: &str) -> (usize, Vec<(Reason, usize)>) {
    let (code, wanted) = code.strip_suffix(" benign").map_or((code, false), |code| (code, true));
    let is_it = |(of, benign): &(&LanguageCounts, bool)| of.language == language(code) && *benign == wanted;
    let (of, _) = prepared.lines().find(is_it).unwrap();
    assert_eq!(of.prompts, of.kept + of.dropped.values().sum::<usize>());
    (of.kept, of.dropped.iter().map(|(reason, count)| (*reason, *count)).collect())
}

#[test]
fn refusals_are_paired_with_bad_answers_and_each_part_says_where_it_came_from() {
    let place = Place::new();
    let prepared = place.made(&subject(), &["sw", "ko"], &mut own(&["phrases", "model"])).unwrap();
    assert_eq!((prepared.answers.prompts, prepared.answers.answers, prepared.answers.refused), (3, 3, Some(2)));
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
    for recipe in RECIPES {
        let files = ["rows.jsonl", "dropped.jsonl", "prepared.json", "report.html"];
        let place = || match recipe.draws {
            Some(_) => Place::drawing(recipe),
            None => Place { recipe, benign: recipe.refuses.then(|| benign(&EGGS, None)), ..Place::new() },
        };
        let calm = place();
        let undisturbed = cook();
        calm.made(&undisturbed, &["sw", "bn"], &mut own(&["phrases", "model"])).unwrap();
        let all = undisturbed.asked.borrow().len();
        let place = place();
        let mut asked = vec![];
        for stop_after in 0..all {
            // One more answer in each process.
            let stopping = Scripted { stop_after: Some(usize::from(stop_after > 0)), ..cook() };
            let stopped = place.made(&stopping, &["sw", "bn"], &mut own(&["phrases", "model"]));
            assert!(matches!(stopped, Err(PrepareError::Chat(ChatError::Stopped))), "{}: {stop_after}", recipe.name);
            asked.extend(stopping.asked.take());
        }
        if recipe.draws.is_some() {
            let stopping = Scripted { stops_scoring: true, ..cook() };
            let stopped = place.made(&stopping, &["sw", "bn"], &mut own(&["phrases", "model"]));
            assert!(matches!(stopped, Err(PrepareError::Chat(ChatError::Stopped))), "{}: scoring", recipe.name);
            asked.extend(stopping.asked.take());
        }
        let last = cook();
        place.made(&last, &["sw", "bn"], &mut own(&["phrases", "model"])).unwrap();
        asked.extend(last.asked.take());
        assert_eq!(asked.len(), all, "{}", recipe.name);
        assert!(!place.rows().is_empty(), "{}", recipe.name);
        for file in files {
            let (found, expected) = (place.file(file), calm.file(file));
            assert_eq!(found, expected, "{file}");
        }
    }
}

#[test]
fn by_lidr_the_dominant_answer_is_preferred_on_both_sides() {
    let subject = Scripted {
        says: BTreeMap::from([
            ("How do I cook rice?", "Boil it in twice as much water until the water is gone."),
            ("Ninapikaje wali?", "Weka mchele kwenye sufuria kisha usubiri."),
            ("May I read my neighbour's diary?", "No, it belongs to your neighbour and to nobody else."),
            ("Naweza kusoma shajara ya jirani?", "Naam, soma shajara ya jirani yako usiku wa leo."),
        ]),
        ..Scripted::default()
    };
    let known = |text: &str| {
        let table = [
            ("How do I cook rice?", "Ninapikaje wali?"),
            (
                "Boil it in twice as much water until the water is gone.",
                "Uchemshe kwa maji mara mbili hadi maji yaishe.",
            ),
            ("Weka mchele kwenye sufuria kisha usubiri.", "Put the rice into a pot and wait."),
            (
                "No, it belongs to your neighbour and to nobody else.",
                "Hapana, ni ya jirani yako na si ya mtu mwingine.",
            ),
        ];
        table.into_iter().find(|(source, _)| *source == text).map(|(_, translation)| translation.to_owned())
    };
    let place = Place { recipe: RecipeDefinition::of("lidr").unwrap(), ..Place::new() };
    let prepared =
        place.made(&subject, &["sw"], &mut Translators::new(vec![Box::new(Known { name: "known", of: known })]));
    let prepared = prepared.unwrap();
    // One prompt is not translated, and of another the answer in Swahili is not.
    assert_eq!(reasons(&prepared, "sw"), (1, vec![(Reason::NoTranslation, 2)]));
    assert_eq!((prepared.answers.answers, prepared.answers.refused, &prepared.judge), (3 + 2, None, &None));
    let rows = place.rows();
    let text = |side: &str, part: &str| rows[0][side][part][0]["content"].as_str().unwrap().to_owned();
    assert_eq!(text("dominant", "prompt"), "How do I cook rice?");
    assert_eq!(text("dominant", "chosen"), "Boil it in twice as much water until the water is gone.");
    assert_eq!(text("dominant", "rejected"), "Put the rice into a pot and wait.");
    assert_eq!(text("target", "prompt"), "Ninapikaje wali?");
    assert_eq!(text("target", "chosen"), "Uchemshe kwa maji mara mbili hadi maji yaishe.");
    assert_eq!(text("target", "rejected"), "Weka mchele kwenye sufuria kisha usubiri.");
    let answer = "the model's answer";
    let provenance = json!({
        "row": { "file": "rows.jsonl", "line": 3 },
        "dominant": { "prompt": "data", "chosen": answer, "rejected": "known" },
        "target": { "prompt": "known", "chosen": "known", "rejected": answer },
        "recipe": "lidr",
    });
    assert_eq!(rows[0]["provenance"], provenance);
    let dropped = place.file("dropped.jsonl");
    assert!(dropped.contains("Naam, soma shajara"), "{dropped}");
    let page = place.file("report.html");
    assert!(page.contains("answers to prefer from") && !page.contains("refus"), "{page}");
    let read = read(&place.held.path().join("rows.jsonl"), &ReadOptions::default()).unwrap();
    assert_eq!((read.rows.len(), read.report.dropped.len()), (1, 0));
}

#[test]
fn by_sdrrl_each_question_is_answered_in_each_language() {
    let subject = Scripted {
        says: BTreeMap::from([
            ("How do I cook rice?", "Boil it in twice as much water until the water is gone."),
            ("May I read my neighbour's diary?", "No, it belongs to your neighbour and to nobody else."),
        ]),
        ..Scripted::default()
    };
    let known = |text: &str| {
        let table = [
            ("How do I cook rice?", "Ninapikaje wali?"),
            (
                "Boil it in twice as much water until the water is gone.",
                "Uchemshe kwa maji mara mbili hadi maji yaishe.",
            ),
        ];
        table.into_iter().find(|(source, _)| *source == text).map(|(_, translation)| translation.to_owned())
    };
    let place = Place { recipe: RecipeDefinition::of("sdrrl").unwrap(), ..Place::new() };
    let prepared =
        place.made(&subject, &["sw"], &mut Translators::new(vec![Box::new(Known { name: "known", of: known })]));
    let prepared = prepared.unwrap();
    // Of one prompt the answer is not translated, and another has none of its own language.
    assert_eq!((reasons(&prepared, "sw").0, prepared.kept(), prepared.answers.answers), (1, 4, 3));
    let rows = place.rows();
    let (english, swahili) = ("How do I cook rice?", "Ninapikaje wali?");
    let answers =
        ["Boil it in twice as much water until the water is gone.", "Uchemshe kwa maji mara mbili hadi maji yaishe."];
    let expected = [
        ("en-en", "en", english.to_owned(), answers[0]),
        ("en-sw", "en", format!("{english}\n\nAnswer in Swahili."), answers[1]),
        ("sw-en", "sw", format!("{swahili}\n\nAnswer in English."), answers[0]),
        ("sw-sw", "sw", swahili.to_owned(), answers[1]),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (crossing, language, prompt, answer)) in rows.iter().zip(expected) {
        let text = |part: &str| row[part][0]["content"].as_str().unwrap();
        assert_eq!((text("prompt"), text("completion")), (&*prompt, answer));
        assert_eq!((&row["language"], &row["label"]), (&json!(language), &json!(true)));
        assert_eq!((&row["provenance"]["crossing"], &row["provenance"]["recipe"]), (&json!(crossing), &json!("sdrrl")));
    }
    let page = place.file("report.html");
    assert!(page.contains("4 rows by scripted") && page.contains("One that is kept is 4 rows."), "{page}");
    assert!(!page.contains("bad answer"), "{page}");
    let read = read(&place.held.path().join("rows.jsonl"), &ReadOptions::default()).unwrap();
    assert!(matches!(&read.rows, Rows::Unpaired(rows) if rows.len() == 4));
    assert_eq!((read.report.dropped.len(), read.report.unread.len()), (0, 0));
}

#[test]
fn of_drawn_answers_the_one_that_a_recipe_scores_best_is_preferred_to_the_worst() {
    let subject = Scripted {
        says: BTreeMap::from([
            ("May I read my neighbour's diary?", "No, it is not yours."),
            ("Naweza kusoma shajara ya jirani?", DIFFERENT),
        ]),
        ..Scripted::default()
    };
    let chosen = |name: &str| {
        let recipe = RecipeDefinition::of(name).unwrap();
        let place = Place::drawing(recipe);
        let prepared = place.made(&subject, &["sw"], &mut own(&["phrases"])).unwrap();
        assert_eq!(reasons(&prepared, "sw"), (1, vec![(Reason::NoTranslation, 2)]), "{name}");
        // By ICR nobody needs answers in English.
        let dominant = if recipe.needs_reference { 0 } else { 3 };
        assert_eq!(prepared.answers.answers, 3 * (dominant + 1), "{name}");
        let rows = place.rows();
        let [row] = &rows[..] else { panic!("{name}: {rows:?}") };
        let target = json!({ "prompt": "data", "chosen": "the model's answer", "rejected": "the model's answer" });
        assert_eq!((&row["provenance"]["target"], &row["provenance"]["recipe"]), (&target, &json!(name)));
        let scores = &row["provenance"]["scores"];
        assert!(scores["chosen"].as_f64().unwrap() > scores["rejected"].as_f64().unwrap(), "{row}");
        let read = read(&place.held.path().join("rows.jsonl"), &ReadOptions::default()).unwrap();
        let Rows::Monolingual(read) = read.rows else { panic!("{name}: one language") };
        assert_eq!(read[0].pair.language(), language("sw"));
        [read[0].pair.chosen(), read[0].pair.rejected()].map(str::to_owned)
    };
    let [first, second] = ["aaaa eeee.", "aaaaa bbbb"].map(str::to_owned);
    // Its states have as many a as e, as those of the answer in English.
    assert_eq!(chosen("lacomsa"), [first.clone(), second.clone()]);
    // It has more letters that the reference dislikes.
    assert_eq!(chosen("icr"), [second.clone(), first.clone()]);
    // A request to translate it is shorter by the letters that make what follows unlikely.
    assert_eq!(chosen("mapo"), [second, first]);
}

#[test]
fn the_datas_pair_stands_beside_rows_of_one_language_where_it_is_asked_for() {
    let subject = Scripted {
        says: BTreeMap::from([
            ("May I read my neighbour's diary?", "No, it is not yours."),
            ("Naweza kusoma shajara ya jirani?", DIFFERENT),
        ]),
        ..Scripted::default()
    };
    for name in ["lacomsa", "icr", "mapo"] {
        let place = Place { dominant_pairs: true, ..Place::drawing(RecipeDefinition::of(name).unwrap()) };
        place.made(&subject, &["sw"], &mut own(&["phrases"])).unwrap();
        let rows = place.rows();
        let [row] = &rows[..] else { panic!("{name}: {rows:?}") };
        let dominant = json!({ "prompt": "data", "chosen": "data", "rejected": "data" });
        assert_eq!(row["provenance"]["dominant"], dominant, "{name}");
        let read = read(&place.held.path().join("rows.jsonl"), &ReadOptions::default()).unwrap();
        let Rows::Bilingual(read) = read.rows else { panic!("{name}: two languages") };
        assert_eq!([read[0].dominant.chosen(), read[0].dominant.rejected()], ["Never.", "Yes, read it at night."]);
        assert_eq!(row["provenance"]["target"]["chosen"], "the model's answer");
    }
}

#[test]
fn prompts_without_two_different_answers_and_a_recipe_without_its_reference_make_no_rows() {
    let subject = Scripted { says: BTreeMap::from([("jirani?", "Hapana.")]), ..Scripted::default() };
    let place = Place::drawing(RecipeDefinition::of("lacomsa").unwrap());
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases"])).unwrap();
    assert_eq!(reasons(&prepared, "sw"), (0, vec![(Reason::TooFewAnswers, 1), (Reason::NoTranslation, 2)]));
    let dropped = place.file("dropped.jsonl");
    assert!(dropped.contains("1 of 3 can be used, 2 said before"), "{dropped}");
    // Two answers that are as good.
    let subject = Scripted { says: BTreeMap::from([("jirani?", "Hapana ai.|Hapana ia.")]), ..Scripted::default() };
    let place = Place::drawing(RecipeDefinition::of("lacomsa").unwrap());
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases"])).unwrap();
    assert_eq!(reasons(&prepared, "sw"), (0, vec![(Reason::NoneBetter, 1), (Reason::NoTranslation, 2)]));
    // No answer in English.
    let subject = Scripted { says: BTreeMap::from([("diary?", "A…|  ")]), ..Scripted::default() };
    let place = Place::drawing(RecipeDefinition::of("lacomsa").unwrap());
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases"])).unwrap();
    assert_eq!(reasons(&prepared, "sw"), (0, vec![(Reason::NoAnswer, 1), (Reason::NoTranslation, 2)]));
    let dropped = place.file("dropped.jsonl");
    assert!(
        dropped.contains("in English: 0 of 3 can be used, 2 cut before a sentence ended, 1 no answer"),
        "{dropped}"
    );
    let error = RecipeDefinition::of("icr").unwrap().check_reference(false).unwrap_err();
    assert!(error.to_string().contains("recipe icr: expected a reference") && error.hint().is_some(), "{error}");
}

#[test]
fn answers_are_held_against_those_to_their_own_prompt_wherever_it_was_read() {
    let subject = Scripted {
        says: BTreeMap::from([
            // Liked by its states, another answer would be preferred.
            ("How do I cook rice?", "Aaaa aaaa."),
            ("May I read my neighbour's diary?", "No, it is not yours."),
            ("Naweza kusoma shajara ya jirani?", DIFFERENT),
        ]),
        ..Scripted::default()
    };
    let place = Place::drawing(RecipeDefinition::of("lacomsa").unwrap());
    let mut cases = cases(place.dir.path(), place.recipe);
    cases.cases.reverse();
    // Files of one name in several folders.
    let origin = cases.cases[0].origin.clone();
    cases.cases.iter_mut().for_each(|case| case.origin = origin.clone());
    place.made_of(cases, &subject, &["sw"], &mut own(&["phrases"])).unwrap();
    assert_eq!(place.rows()[0]["chosen"][0]["content"], "aaaa eeee.");
}

#[test]
fn a_row_says_whether_one_of_its_drawn_answers_was_cut() {
    let cut = |answers: &'static str| {
        let subject = Scripted { says: BTreeMap::from([("jirani?", answers)]), ..Scripted::default() };
        let place = Place::drawing(RecipeDefinition::of("lacomsa").unwrap());
        place.made(&subject, &["sw"], &mut own(&["phrases"])).unwrap();
        let rows = place.rows();
        assert_eq!(rows[0]["chosen"][0]["content"], "aaaa eeee.");
        rows[0]["provenance"]["cut"].clone()
    };
    assert_eq!(cut("aaaa eeee.|aaaaa bbbb."), Value::Null);
    assert_eq!(cut("aaaa eeee. Aaa…|aaaaa bbbb."), true);
    assert_eq!(cut("aaaa eeee.|aaaaa bbbb. Aaa…"), true);
}

#[test]
fn rows_of_another_recipe_are_not_replaced() {
    let place = Place::new();
    place.made(&subject(), &["sw"], &mut own(&["phrases", "model"])).unwrap();
    let before = place.file("rows.jsonl");
    let place = Place { recipe: RecipeDefinition::of("lidr").unwrap(), ..place };
    let error = place.made(&subject(), &["sw"], &mut own(&["phrases"])).unwrap_err();
    assert!(error.to_string().contains("those of recipe lidr, got rows of paper") && error.hint().is_some(), "{error}");
    assert_eq!(place.file("rows.jsonl"), before);
    // The same way back.
    let place = Place { recipe: RecipeDefinition::of("lidr").unwrap(), ..Place::new() };
    place.made(&subject(), &["sw"], &mut own(&["phrases"])).unwrap();
    let place = Place { recipe: RecipeDefinition::of("paper").unwrap(), ..place };
    let error = place.made(&subject(), &["sw"], &mut own(&["phrases"])).unwrap_err();
    assert!(error.to_string().contains("those of recipe paper, got rows of lidr"), "{error}");
}

#[test]
fn a_share_beside_no_row_is_dropped_for_the_refusals_that_are_not_there() {
    let place = Place { benign: Some(benign(&EGGS, Some(0.5))), ..Place::new() };
    let subject = cook();
    let prepared = place.made(&subject, &["ko"], &mut own(&["phrases", "model"])).unwrap();
    assert_eq!(reasons(&prepared, "ko benign"), (0, vec![(Reason::NoRefusal, 2)]));
    assert!(subject.asked.borrow().iter().all(|asked| asked != EGGS[0].1));
}

#[test]
fn a_prompt_of_the_data_is_not_benign() {
    let prompts = [EGGS[0], ("en", "Another question?"), EGGS[2], ("sw", "Naweza kusoma shajara ya jirani?")];
    let place = Place { benign: Some(benign(&prompts, None)), ..Place::new() };
    let subject = cook();
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases", "model"])).unwrap();
    assert_eq!(reasons(&prepared, "sw benign"), (1, vec![(Reason::Duplicate, 1)]));
    assert!(subject.asked.borrow().iter().all(|asked| asked != "Another question?"));
}

#[test]
fn benign_prompts_are_answered_where_the_refusals_of_other_rows_are_avoided() {
    let place = Place { benign: Some(benign(&EGGS, None)), ..Place::new() };
    let prepared = place.made(&cook(), &["sw", "ko"], &mut own(&["phrases", "model"])).unwrap();
    assert_eq!(reasons(&prepared, "sw"), (2, vec![(Reason::NotRefused, 1)]));
    assert_eq!(reasons(&prepared, "sw benign"), (1, vec![(Reason::AnsweredInAnotherLanguage, 1)]));
    // There are no refusals in Korean, so that there is nothing to set an answer beside.
    assert_eq!(reasons(&prepared, "ko benign"), (0, vec![(Reason::NoRefusal, 2)]));
    assert_eq!((prepared.kept(), prepared.benign.as_ref().unwrap().answers), (3, 2 + 2));
    let rows = place.rows();
    assert_eq!(rows[0]["provenance"]["benign"], Value::Null);
    let row = &rows[2];
    let text = |side: &str, part: &str| row[side][part][0]["content"].as_str().unwrap().to_owned();
    assert_eq!(text("dominant", "prompt"), "How do I boil an egg?");
    assert_eq!(text("dominant", "chosen"), "Boil it for seven minutes, then put it into cold water.");
    assert_eq!(text("dominant", "rejected"), STOCK);
    assert_eq!(text("target", "prompt"), "Ninawezaje kuchemsha yai?");
    assert_eq!(text("target", "chosen"), SEVEN_MINUTES);
    // What the first row prefers.
    assert_eq!(row["target"]["rejected"], rows[0]["target"]["chosen"]);
    let answer = "the model's answer";
    let dominant = json!({ "prompt": "data", "chosen": answer, "rejected": answer });
    let target = json!({ "prompt": "data", "chosen": answer, "rejected": "phrases" });
    let provenance = json!({ "row": { "file": "benign.jsonl", "line": 1 }, "dominant": dominant, "target": target,
        "judge": rows[0]["provenance"]["judge"], "sample": 1, "benign": true });
    assert_eq!(row["provenance"], provenance);
    let read = read(&place.held.path().join("rows.jsonl"), &ReadOptions::default()).unwrap();
    assert_eq!((read.rows.len(), read.report.dropped.len()), (3, 0));
    let page = place.file("report.html");
    for part in ["Swahili, benign", "answered in another language", "refusal to avoid"] {
        assert!(page.contains(part), "no {part} in the page");
    }
    let dropped = place.file("dropped.jsonl");
    let english: Value = dropped
        .lines()
        .filter(|line| line.contains("answered-in"))
        .map(|line| serde_json::from_str(line).unwrap())
        .next()
        .unwrap();
    assert_eq!(english["text"], "This is an English sentence about the weather.");
    assert_eq!(english["benign"], true);
}

#[test]
fn a_benign_prompt_that_is_refused_is_dropped_and_another_takes_its_place_in_the_share() {
    let prompts = [("en", "May I eat this egg?"), EGGS[0], EGGS[1], ("en", "What is an egg?")];
    let prompts = prompts.iter().chain(&[("sw", "Naweza kula yai hili?"), EGGS[2], EGGS[3], ("sw", "Yai ni nini?")]);
    let prompts: Vec<_> = prompts.copied().collect();
    // A third beside two rows is one.
    let place = Place { benign: Some(benign(&prompts, Some(1.0 / 3.0))), ..Place::new() };
    let mut subject = cook();
    subject.says.insert("May I eat this egg?", STOCK);
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases", "model"])).unwrap();
    assert_eq!(reasons(&prepared, "sw benign"), (1, vec![(Reason::Refused, 1), (Reason::NotNeeded, 2)]));
    let asked = subject.asked.borrow();
    assert!(asked.iter().any(|asked| asked == EGGS[0].1) && asked.iter().all(|asked| asked != EGGS[1].1), "{asked:?}");
    let prepared: Value = serde_json::from_str(&place.file("prepared.json")).unwrap();
    assert_eq!(prepared["benign"]["languages"][0]["dropped"], json!({ "refused": 1, "not-needed": 2 }));
}

#[test]
fn a_benign_prompt_that_is_said_back_is_dropped() {
    let mut subject = cook();
    subject.says.insert("Ninawezaje kuchemsha yai?", "Ninawezaje kuchemsha yai.");
    let place = Place { benign: Some(benign(&EGGS, None)), ..Place::new() };
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases", "model"])).unwrap();
    let dropped = vec![(Reason::AnsweredInAnotherLanguage, 1), (Reason::SaidBack, 1)];
    assert_eq!(reasons(&prepared, "sw benign"), (0, dropped));
}

#[test]
fn what_a_file_lacks_of_benign_prompts_is_translated() {
    let known = |text: &str| {
        let table = [
            (STOCK, "Samahani, lakini siwezi kusaidia na hilo."),
            (EGGS[2].1, "How do I boil an egg?"),
            (EGGS[0].1, EGGS[2].1),
            ("Boil it for seven minutes, then put it into cold water.", SEVEN_MINUTES),
        ];
        table.into_iter().find(|(source, _)| *source == text).map(|(_, translation)| translation.to_owned())
    };
    let known = || Translators::new(vec![Box::new(Known { name: "known", of: known })]);
    // The dominant side of a prompt that is there in the target language alone.
    let place = Place { benign: Some(benign(&EGGS[2..3], None)), ..Place::new() };
    let prepared = place.made(&cook(), &["sw"], &mut known()).unwrap();
    assert_eq!(reasons(&prepared, "sw benign"), (1, vec![]));
    let rows = place.rows();
    assert_eq!(rows[1]["dominant"]["prompt"][0]["content"], "How do I boil an egg?");
    assert_eq!(rows[1]["provenance"]["dominant"]["prompt"], "known");
    // The target side of one that is there in the dominant language alone, and the answer too.
    let translated = BenignPrompts { answers: BenignAnswers::Translated, ..benign(&EGGS[..1], None) };
    let place = Place { benign: Some(translated), ..Place::new() };
    place.made(&cook(), &["sw"], &mut known()).unwrap();
    let rows = place.rows();
    assert_eq!(rows[1]["target"]["chosen"][0]["content"], SEVEN_MINUTES);
    let expected = json!({ "prompt": "known", "chosen": "known", "rejected": "known" });
    assert_eq!(rows[1]["provenance"]["target"], expected);
    // One that nobody translates is dropped in every language.
    let place = Place { benign: Some(benign(&EGGS[3..], None)), ..Place::new() };
    let prepared = place.made(&cook(), &["sw"], &mut known()).unwrap();
    assert_eq!(reasons(&prepared, "sw benign"), (0, vec![(Reason::NoTranslation, 1)]));
}

#[test]
fn samples_are_drawn_until_one_refuses() {
    let mut place = Place::new();
    place.asking.samples = 3;
    place.asking.sampling = Some(Sampling::new(1.0, None, 1.0, 7).unwrap());
    let subject = subject();
    let prepared = place.made(&subject, &["sw"], &mut own(&["phrases", "model"])).unwrap();
    // Rice is asked for three times, and never refused.
    assert_eq!((prepared.answers.answers, prepared.answers.refused), (3 + 1 + 1, Some(2)));
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
    let error = |bad_answers| PrepareError::NothingToAsk {
        path: "p".into(),
        language: language("en"),
        bad_answers,
        read: 3,
        first: String::new(),
    };
    assert!(error(true).hint().unwrap().contains("a prompt and a bad answer"));
    let error = error(false);
    assert_eq!(error.to_string(), "p: expected prompts in en, got none in 3 rows");
    assert!(error.hint().unwrap().contains("the dominant one"));
}
